"""The phrases that ship with this package."""

from __future__ import annotations

from importlib.resources import files


def own_phrases() -> list[str]:
    """Return the phrases that ship with this package, in the order of its lists."""
    folder = files("clipsieve") / "data" / "phrases"
    lists = sorted((f for f in folder.iterdir() if f.name.endswith(".txt")), key=lambda f: f.name)
    return [line for f in lists for line in f.read_text(encoding="utf-8").splitlines() if line]
