"""Calls of `clipsieve generate`, as the rule makes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from clipsieve import cli
from clipsieve.io.tables import read_table, write_table

SD = {"num_inference_steps": 2, "height": 16, "width": 16}


def write_prompts(path: Path, number: int = 4, images: list[str] | None = None) -> Path:
    words = ["a red car", "a blue bird on a tree", "a house", "the sea at night, oil painting"]
    rows = [
        {
            "prompt_id": f"p{i}",
            "text": f"{words[i % 4]} {i}",
            "url": None,
            "image": images[i] if images else None,
        }
        for i in range(number)
    ]
    write_table(pd.DataFrame(rows), path)
    return path


def options(folder: Path, recipe: dict[str, Any], name: str = "0", **more: Any) -> list[str]:
    """The words of a call whose shard lies in folder/<name>."""
    given = {
        "generator": "tiny",
        "recipe": json.dumps({"device": "cpu", **recipe}),
        "prompts": folder / "prompts.parquet",
        "output_dir": folder / name,
        "output": folder / f"{name}.parquet",
        **more,
    }
    words = ["generate"]
    for key, value in given.items():
        words += [f"--{key.replace('_', '-')}", str(value)]
    return words


def generate(folder: Path, recipe: dict[str, Any], name: str = "0", **more: Any) -> Any:
    """Run the command; return the table and its note."""
    assert cli.main(options(folder, recipe, name, **more)) == 0
    return read_table(folder / f"{name}.parquet")


def pictures(folder: Path) -> dict[str, bytes]:
    # a leading dot marks a picture that is still being written
    return {path.name: path.read_bytes() for path in sorted(folder.glob("[!.]*.png"))}
