"""Any program: it is given a prompt and writes an image. So closed services and other people's code come in.

The words of the command are passed as they are, without a shell. Places in braces are filled in:
``{prompt}``, ``{prompt_id}``, ``{k}``, ``{seed}``, ``{image}`` and ``{output}`` for one image a call, or
``{requests}``: a file of JSON lines with these names, one line an image, for a batch a call.
"""

from __future__ import annotations

import json
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clipsieve.errors import UserError
from clipsieve.generation.making import Made, Maker, Request, Settings, local_weights
from clipsieve.images.decode import ImageProblem, decode
from clipsieve.io.files import sha256_of

_PLACES = ("prompt", "prompt_id", "k", "seed", "image", "output", "requests")


def command(settings: Settings) -> Maker:
    """Check that the program is there."""
    return _Command(settings)


class _Command:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.words = list(settings["command"])
        program = shutil.which(self.words[0])
        if program is None:
            raise UserError(f"{settings.key('command')}: no program {self.words[0]!r} is found")
        # the scripts that the words name are what made the images, so their hashes are kept
        files = [program, *(word for word in self.words[1:] if Path(word).is_file())]
        self.facts: dict[str, Any] = {
            "device": platform.machine(),
            "python": platform.python_version(),
            "program": {Path(file).name: sha256_of(file) for file in files},
        }
        if settings["model"]:
            self.facts["model"] = local_weights(Path(settings["model"])).facts

    def make(self, requests: Sequence[Request]) -> list[Made]:
        """Call the program once; what it wrote is decoded and checked."""
        with tempfile.TemporaryDirectory(prefix="clipsieve-") as folder:
            outputs = [Path(folder) / f"{r.prompt_id}_{r.k}.png" for r in requests]
            rows = [_row(r, output) for r, output in zip(requests, outputs, strict=True)]
            values = {name: str(rows[0][name]) for name in rows[0]}
            values["requests"] = str(Path(folder) / "requests.jsonl")
            lines = "".join(json.dumps(row) + "\n" for row in rows)
            Path(values["requests"]).write_text(lines, encoding="utf-8")
            self._call([_filled(word, values) for word in self.words])
            return [self._read(output) for output in outputs]

    def _call(self, words: list[str]) -> None:
        try:
            done = subprocess.run(
                words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
            )
        except OSError as error:
            raise UserError(
                f"{self.settings.key('command')}: {words[0]} cannot be run ({error.strerror})"
            ) from None
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise UserError(
                f"{self.settings.key('command')}: {words[0]} ended with status {done.returncode}"
                + (f": {said[-1][:200]}" if said else "")
            )

    def _read(self, path: Path) -> Made:
        """Return the picture in a file; one that is missing was refused, one that is damaged is an error."""
        if not path.exists():
            return Made(None, "filtered")
        try:
            return Made(decode(path))
        except ImageProblem as problem:
            raise UserError(
                f"{self.settings.key('command')}: it wrote {path.name}, which is no usable image"
                f" ({problem.reason})"
            ) from None


def _row(request: Request, output: Path) -> dict[str, Any]:
    return {
        "prompt": request.text,
        "prompt_id": request.prompt_id,
        "k": request.k,
        "seed": request.seed,
        "image": str(request.image or ""),
        "output": str(output),
    }


def _filled(word: str, values: dict[str, str]) -> str:
    """Fill in the places of one word; braces in what is filled in stay as they are."""
    return re.sub(r"\{(" + "|".join(_PLACES) + r")\}", lambda m: values[m[1]], word)
