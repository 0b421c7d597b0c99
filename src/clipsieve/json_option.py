"""An option whose value is a JSON object: its text, or `@` and the path of a file that holds it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from clipsieve.errors import UserError


def json_object(text: str, option: str) -> dict[str, Any]:
    """Return the object that an option names.

    Parameters
    ----------
    text
        JSON, or `@` and the path of a UTF-8 file.
    option
        Name of the option, for messages.

    Raises
    ------
    UserError
        The file can't be read, or what is given is no JSON object.
    """
    if text.startswith("@"):
        path = Path(text[1:])
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise UserError(f"{option}: no file {path}") from None
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{option}: {path} can't be read ({error})") from None
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{option}: not JSON: {error.msg} at character {error.pos}") from None
    if not isinstance(value, dict):
        raise UserError(f"{option}: a JSON object is wanted, not {text.strip()[:40]}")
    return value
