"""The schema: it checks a config, fills in its defaults, and tells the commands theirs."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from clipsieve import families
from clipsieve.config.merging import read_yaml
from clipsieve.errors import UserError
from clipsieve.images.layouts import LAYOUTS
from clipsieve.images.perturbations.records import RECORDS as PERTURBATIONS

if TYPE_CHECKING:
    import jsonschema

SCHEMA = Path(__file__).parents[1] / "data" / "config.schema.yaml"


@cache
def _schema() -> Any:
    # the C reader, where there is one, takes a tenth of the time: commands ask for defaults as they start
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return _with_records(yaml.load(SCHEMA.read_text(encoding="utf-8"), Loader=loader))


def default(key: str) -> Any:
    """Return the default of a key of the config.

    Examples
    --------
    >>> default("evaluation.resamples")
    2000
    """
    found: Any = _schema()
    for part in key.split("."):
        found = found["properties"][part]
    return found["default"] if "default" in found else dereferenced(found, _schema())["default"]


def read_schema(path: str | Path = SCHEMA) -> dict[str, Any]:
    """Read the schema; the names of feature sets, layouts and perturbations that it allows come from their records."""
    return _with_records(read_yaml(path))


def _with_records(schema: dict[str, Any]) -> dict[str, Any]:
    """Fill in what the records of families, layouts and perturbations allow."""
    use = schema["properties"]["use"]["properties"]
    for key, names in (("feature_sets", families.METHODS), ("controls", families.CONTROLS)):
        use[key]["items"] = {"enum": list(names)}
        use[key]["default"] = list(names)
    schema["$defs"]["image_set"]["layout"]["enum"] = list(LAYOUTS)
    schema["$defs"]["perturbation"]["enum"] = list(PERTURBATIONS)
    return schema


def resolve(raw: Mapping[str, Any], schema_path: str | Path = SCHEMA) -> dict[str, Any]:
    """Check a merged config against the schema and return it with every default filled in.

    Raises
    ------
    UserError
        One line that names the first wrong key, its value and what is allowed.
    """
    import jsonschema

    schema = read_schema(schema_path)
    config = _with_defaults(dict(raw), schema, schema)
    validator = jsonschema.Draft202012Validator(schema)
    error = jsonschema.exceptions.best_match(validator.iter_errors(config))
    if error is not None:
        raise UserError(f"config: {_one_line(error)}")
    return config


def complete(part: Mapping[str, Any], definition: str, where: str) -> dict[str, Any]:
    """Check a part of a config by itself and return it with every default filled in.

    Parameters
    ----------
    part
        What stands there.
    definition
        Name of its definition in the schema.
    where
        Key of the config where it stands, for messages.

    Raises
    ------
    UserError
        One line that names the first wrong key, its value and what is allowed.
    """
    import jsonschema

    schema = read_schema()
    alone = {"$defs": schema["$defs"], "$ref": f"#/$defs/{definition}"}
    filled: dict[str, Any] = _with_defaults(dict(part), alone, alone)
    errors = jsonschema.Draft202012Validator(alone).iter_errors(filled)
    error = jsonschema.exceptions.best_match(errors)
    if error is not None:
        raise UserError(f"{where}: {_one_line(error).removeprefix('top level: ')}")
    return filled


def dereferenced(schema: Mapping[str, Any], root: Mapping[str, Any]) -> dict[str, Any]:
    """Return a part of the schema with what its `$ref` points to filled in."""
    if "$ref" not in schema:
        return dict(schema)
    target: Any = root
    for part in schema["$ref"].removeprefix("#/").split("/"):
        target = target[part]
    return {**target, **{key: value for key, value in schema.items() if key != "$ref"}}


def _with_defaults(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    schema = dereferenced(schema, root)
    if not isinstance(value, dict):
        return value
    filled = dict(value)
    properties = schema.get("properties", {})
    for key, child in properties.items():
        child = dereferenced(child, root)
        if key not in filled and "default" in child:
            filled[key] = child["default"]
        if key in filled:
            filled[key] = _with_defaults(filled[key], child, root)
    others = schema.get("additionalProperties")
    if isinstance(others, Mapping):
        for key in filled.keys() - properties.keys():
            filled[key] = _with_defaults(filled[key], others, root)
    return filled


def _one_line(error: jsonschema.ValidationError) -> str:
    where = ".".join(str(part) for part in error.absolute_path) or "top level"
    if error.validator == "additionalProperties":
        known = sorted(error.schema["properties"])
        unknown = sorted(set(error.instance) - set(known))[0]
        close = difflib.get_close_matches(unknown, known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        return f"{where}: unknown key {unknown!r}{hint} Allowed: {', '.join(known)}"
    if error.validator == "required":
        missing = sorted(set(error.validator_value) - set(error.instance))[0]
        return f"{where}: key {missing!r} is missing"
    if error.validator == "uniqueItems":
        repeated = [item for item in error.instance if error.instance.count(item) > 1]
        return f"{where}: {repeated[0]!r} is listed twice"
    if error.validator == "enum":
        allowed = ", ".join(map(str, error.validator_value))
        return f"{where}: {error.instance!r} is not allowed; one of: {allowed}"
    if error.validator == "oneOf" and where.startswith("pairs"):
        return f"{where}: write a list of two-item lists, all, or {{random: n, seed: s}}"
    rule = {
        "pattern": "must match",
        "minimum": "must be at least",
        "maximum": "must be at most",
        "exclusiveMinimum": "must be above",
        "exclusiveMaximum": "must be below",
        "type": "must be of type",
        "minItems": "needs at least this many items:",
    }.get(str(error.validator), f"breaks the rule {error.validator}:")
    return f"{where}: {error.instance!r} {rule} {error.validator_value}"
