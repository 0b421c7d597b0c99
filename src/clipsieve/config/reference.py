"""The page docs/config.md, made from the schema."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from clipsieve.config.schema import dereferenced


def reference(schema: Mapping[str, Any]) -> str:
    """Return the page docs/config.md: every key of the schema with its default and what it allows."""
    lines = [
        "# Every config key",
        "",
        "Made from `src/clipsieve/data/config.schema.yaml` by `clipsieve config --reference`; `*` is any id.",
        "",
        "Your own file is merged over `config.yaml` and inherits its catalogues: `sources`, `generators` and",
        "`encoders`. The section `demo` of that file holds the demo's own choices, which apply only if no other",
        "file is given. Every key that your file does not set has the default below.",
        "",
        "| key | default | allowed | what it is |",
        "|---|---|---|---|",
    ]
    for path, key in _keys(schema, schema, ()):
        default = json.dumps(key["default"]) if "default" in key else "needed"
        lines.append(
            f"| `{'.'.join(path)}` | `{default}` | {_allowed(key)} | {' '.join(key['description'].split())} |"
        )
    return "\n".join(lines) + "\n"


def _keys(
    schema: Mapping[str, Any], root: Mapping[str, Any], path: tuple[str, ...]
) -> Iterable[tuple[tuple[str, ...], dict[str, Any]]]:
    children = dict(schema.get("properties", {}))
    if isinstance(schema.get("additionalProperties"), Mapping):
        children["*"] = schema["additionalProperties"]
    for name, child in children.items():
        key = dereferenced(child, root)
        if "properties" not in key and not isinstance(key.get("additionalProperties"), Mapping):
            yield (*path, name), key
        yield from _keys(key, root, (*path, name))


def _allowed(key: Mapping[str, Any]) -> str:
    if "enum" in key:
        return ", ".join(map(str, key["enum"]))
    if "enum" in key.get("items", {}):
        return "list of " + ", ".join(key["items"]["enum"])
    kind = key.get("type", "see right")
    words = kind if isinstance(kind, str) else " or ".join(kind)
    limits = {"minimum": ">=", "maximum": "<=", "exclusiveMinimum": ">", "exclusiveMaximum": "<"}
    return " ".join([words, *(f"{sign} {key[k]}" for k, sign in limits.items() if k in key)])
