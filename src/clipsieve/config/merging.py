"""Config files as Snakemake merges them, with the demo's own section put in or left out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from clipsieve.errors import UserError
from clipsieve.io.files import replacing

# what every run starts from: the catalogues, and the demo's choices in a section of their own
BASE = Path("config.yaml")

DEMO = "demo"


class _StrictLoader(yaml.SafeLoader):
    """YAML that refuses a key written twice (plain YAML silently keeps the second)."""


def _mapping_without_repeats(loader: _StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":  # `<<: *other`, which may be overridden
            continue
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            line = key_node.start_mark.line + 1
            raise UserError(f"key {key!r} in line {line} is not text; write it in quotes")
        if key in seen:
            raise UserError(f"key {key!r} occurs twice (again in line {node.start_mark.line + 1})")
        seen.add(key)
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


_StrictLoader.add_constructor(
    yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping_without_repeats
)


def read_yaml(path: str | Path) -> Any:
    """Read a YAML file, refusing keys that occur twice.

    Raises
    ------
    UserError
        The file is missing, is not YAML, or repeats a key; the line names the file.
    """
    try:
        with open(path, encoding="utf-8") as handle:
            return yaml.load(handle, Loader=_StrictLoader)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (UserError, yaml.YAMLError) as error:
        raise UserError(f"{path}: {' '.join(str(error).split())}") from None


def read_configs(paths: Iterable[str | Path]) -> dict[str, Any]:
    """Merge config files as Snakemake does: mappings are merged, lists and values are replaced."""
    merged: dict[str, Any] = {}
    for path in paths:
        read = read_yaml(path) or {}
        if not isinstance(read, dict):
            raise UserError(
                f"{path}: holds a {type(read).__name__}; it must be a mapping of keys to values"
            )
        _update(merged, read)
    return merged


def read_run(
    paths: Sequence[str | Path], values: Mapping[str, Any] | None = None, base: str | Path = BASE
) -> dict[str, Any]:
    """Read a run's config as the workflow does: config files merged over the base, then single values.

    Parameters
    ----------
    paths
        What Snakemake's --configfile is given; the base is implied.
    values
        What its --config is given.
    base
        The file that they are merged over (default config.yaml).

    Returns
    -------
    dict
        The merged config, unchecked: `resolve` checks it and fills in defaults.

    Raises
    ------
    UserError
        A file is missing, is not YAML, repeats a key or holds no keys.
    """
    merged = read_configs([base, *paths] if Path(base).exists() or not paths else paths)
    _update(merged, values or {})
    return chosen(merged, paths, base)


def chosen(
    merged: Mapping[str, Any], paths: Sequence[str | Path], base: str | Path = BASE
) -> dict[str, Any]:
    """Return a merged config with the choices of the demo put in or left out.

    The section `demo` of the base holds what only the demo has chosen. It counts when no other
    config file is given, so a run of one's own starts from the catalogues and the defaults.

    Parameters
    ----------
    merged
        The base, other files and single values, merged in this order.
    paths
        The other files, to see whether there are any.
    base
        The file that has the section.
    """
    config = dict(merged)
    demo = config.pop(DEMO, {})
    others = [path for path in paths if Path(path).resolve() != Path(base).resolve()]
    for path in others:
        if DEMO in (read_yaml(path) or {}):
            raise UserError(f"{path}: key {DEMO!r} is for {base} only")
    if others:
        return config
    whole: dict[str, Any] = {}
    _update(whole, demo)
    _update(whole, config)
    return whole


def _update(base: dict[str, Any], other: Mapping[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, Mapping):
            inner = base.get(key)
            base[key] = dict(inner) if isinstance(inner, dict) else {}
            _update(base[key], value)
        else:
            base[key] = value


def write_resolved(config: Mapping[str, Any], path: str | Path) -> None:
    """Write a resolved config as JSON, unless the file holds just that already."""
    text = json.dumps(config, indent=1, sort_keys=True) + "\n"
    if Path(path).exists() and Path(path).read_text(encoding="utf-8") == text:
        return
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
