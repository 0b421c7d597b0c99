"""Every example in a docstring runs and prints what it says."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import clipsieve


def modules_with_examples() -> list[str]:
    """Return the modules whose text holds an example, found without importing them."""
    found = []
    for info in pkgutil.walk_packages(clipsieve.__path__, "clipsieve."):
        spec = info.module_finder.find_spec(info.name, None)
        # these examples need a run or a detector; test_run.py and test_api.py make them and run the examples
        if info.name in ("clipsieve.run", "clipsieve.detector.api"):
            continue
        if spec and spec.origin and ">>> " in Path(spec.origin).read_text(encoding="utf-8"):
            found.append(info.name)
    return found


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_run(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted
    assert not result.failed
