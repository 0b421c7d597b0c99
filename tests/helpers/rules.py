"""The rules of the workflow that run a command, as text."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def rules_with_command() -> dict[str, str]:
    """Rule -> its text, for every rule of `workflow/rules` that has a shell command."""
    found = {}
    for path in sorted((ROOT / "workflow/rules").glob("*.smk")):
        parts = re.split(r"(?m)^ *rule (\w+):$", path.read_text())
        found.update(zip(parts[1::2], parts[2::2], strict=True))
    return {name: text for name, text in found.items() if re.search(r"(?m)^ +shell:$", text)}
