"""What an encoder gave for the images of one shard, while the shard grows."""

from __future__ import annotations

from typing import Any

import numpy as np

from clipsieve.encoders.encoder import Encoded, Encoder
from clipsieve.errors import UserError


class Collected:
    """The rows of one shard while it grows."""

    def __init__(self, heads_dtype: str, layers_dtype: str = "none") -> None:
        self.dtypes = {"heads": heads_dtype, "layers": layers_dtype}
        self.keys: list[str] = []
        self.embedding: list[np.ndarray] = []
        self.more: dict[str, list[np.ndarray]] = {"heads": [], "layers": []}
        self.problems: dict[str, str] = {}

    def take(self, keys: list[str], encoded: Encoded) -> None:
        """Add one batch; numbers that are not finite stop the run."""
        if not np.isfinite(encoded.embedding).all():
            raise UserError(
                "the encoder gave NaN or infinity; a lower precision than float32 may be the cause"
            )
        self.keys += keys
        self.embedding.append(encoded.embedding)
        for name, dtype in self.dtypes.items():
            array = getattr(encoded, name)
            if array is None or dtype == "none":
                continue
            narrow = array.astype(dtype)
            if not np.isfinite(narrow).all():
                raise UserError(f"--{name}-dtype float16: a number is too large; use float32")
            self.more[name].append(narrow)

    def arrays(self, encoder: Encoder) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        """All rows as arrays, of heads and layers where they are kept (none, if no image decoded)."""
        found: list[Any] = [
            np.concatenate([np.empty((0, encoder.embedding_size), np.float32), *self.embedding])
        ]
        for name, shape in (("heads", encoder.heads_shape), ("layers", encoder.layers_shape)):
            kept = self.dtypes[name] != "none" and shape is not None
            empty = np.empty((0, *(shape or ())), self.dtypes[name] if kept else np.float32)
            found.append(np.concatenate([empty, *self.more[name]]) if kept else None)
        return found[0], found[1], found[2]
