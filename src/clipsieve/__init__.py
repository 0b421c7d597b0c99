"""Find which parts of a frozen CLIP image encoder tell generated images from real ones, and transfer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clipsieve.detector import Detector
    from clipsieve.run import open_run

__version__ = "0.1.0"
__all__ = ["Detector", "__version__", "open_run"]


def __getattr__(name: str) -> Any:
    """Import `open_run` and `Detector` when first asked for, so that importing stays cheap."""
    if name == "Detector":
        from clipsieve.detector import Detector

        return Detector
    if name == "open_run":
        from clipsieve.run import open_run

        return open_run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
