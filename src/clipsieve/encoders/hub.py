"""Whether the model hub may be asked: random weights and files never wait for a network."""

from __future__ import annotations

import os
import sys

_FLAG = "HF_HUB_OFFLINE"
_ours = False


def allow(wanted: bool) -> None:
    """Let this process ask the Hugging Face hub, or keep it from that.

    What the environment variable HF_HUB_OFFLINE says already, for `HF_HUB_OFFLINE=0` too, is left
    as it is: with 0, a tokenizer is fetched even where the weights are a file.
    """
    global _ours
    if _FLAG in os.environ and not _ours:
        return
    _ours = True
    os.environ[_FLAG] = "0" if wanted else "1"
    # huggingface_hub reads the variable once, when it is imported
    constants = sys.modules.get("huggingface_hub.constants")
    if constants is not None:
        constants.HF_HUB_OFFLINE = not wanted  # type: ignore[attr-defined]
