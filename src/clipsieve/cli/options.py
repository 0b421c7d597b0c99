"""Options that several commands share, declared once so that their meaning and help are the same everywhere."""

from __future__ import annotations

import argparse
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from clipsieve.config import default
from clipsieve.errors import UserError

_ROW_NAMES: dict[str, tuple[type, Any, str]] = {
    "run": (str, "", "id of the run, for the rows"),
    "encoder": (str, "", "id of the encoder, for the rows"),
    "seed": (int, 0, "seed of the splits, for the rows"),
}


def count(text: str) -> int:
    """Return an option's whole number of 1 or more (the `type` of an argument)."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return number


def add_image_sets(
    parser: argparse._ActionsContainer, of: str, *, side: str = "", **options: Any
) -> None:
    """Add --embeddings and --splits (with a side, as in --train-embeddings), by default needed."""
    options = {"nargs": "+", "required": True, **options}
    none = "" if options["required"] else " (default: none)"
    prefix = f"--{side}-" if side else "--"
    parser.add_argument(
        f"{prefix}embeddings", metavar="H5", help=f"embedding files {of}{none}", **options
    )
    parser.add_argument(
        f"{prefix}splits",
        metavar="PARQUET",
        help=f"split tables of the same image sets, in the same order{none}",
        **options,
    )


def add_row_names(parser: argparse.ArgumentParser, *names: str, required: bool) -> None:
    """Add those of --run, --encoder and --seed that are written into every row."""
    for name in names:
        kind, default, text = _ROW_NAMES[name]
        if required:
            parser.add_argument(f"--{name}", type=kind, required=True, help=text)
        else:
            shown = "%(default)s" if default != "" else "empty"
            text = f"{text} (default {shown})"
            parser.add_argument(f"--{name}", type=kind, default=default, help=text)


def identity_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return those of --run, --encoder and --seed that were given, for the key `of` of a note."""
    given = {name: getattr(args, name, None) for name in _ROW_NAMES}
    return {name: value for name, value in given.items() if value not in (None, "")}


def add_spec(parser: argparse.ArgumentParser) -> None:
    """Add --spec."""
    parser.add_argument(
        "--spec",
        required=True,
        metavar="JSON",
        help="the encoder's entry in the config, as JSON or @FILE",
    )


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add --configfile and --config, which are Snakemake's; `read_config` reads them."""
    parser.add_argument(
        "--configfile",
        "--configfiles",
        nargs="+",
        default=[],
        metavar="YAML",
        help="config files, merged in this order over config.yaml (default: the demo of config.yaml)",
    )
    parser.add_argument(
        "--config",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="single values that override those of all files (default: none)",
    )


def read_config(args: argparse.Namespace) -> dict[str, Any]:
    """Return the checked config, with every default, that Snakemake would make of the same options."""
    from clipsieve.config import read_run, resolve

    values = {}
    for text in args.config:
        key, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--config {text}: write KEY=VALUE")
        values[key] = _value(key, value)
    return resolve(read_run(args.configfile, values))


def _value(key: str, text: str) -> Any:
    """Read a value of --config as Snakemake does: a number, True or False, or YAML with texts only."""
    import yaml

    for read in (int, float, {"True": True, "False": False}.__getitem__):
        with suppress(ValueError, KeyError):
            return read(text)
    try:
        return yaml.load(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        raise UserError(f"--config {key}: {' '.join(str(error).split())}") from None


def add_threads(
    parser: argparse.ArgumentParser, what: str = "threads of the matrix library"
) -> None:
    """Add --threads."""
    parser.add_argument("--threads", type=count, default=1, help=f"{what} (default %(default)s)")


def add_profiles(parser: argparse.ArgumentParser) -> None:
    """Add --colour-profiles."""
    from clipsieve.images.colour import TREATMENTS

    parser.add_argument(
        "--colour-profiles",
        choices=TREATMENTS,
        default=default("embed.colour_profiles"),
        help="take the numbers of a file with a colour profile (ICC) as they are, or convert its colours to"
        " sRGB (default %(default)s)",
    )


def add_encoder_place(parser: argparse.ArgumentParser) -> None:
    """Add --weights and --device, of a detector's encoder."""
    parser.add_argument(
        "--weights",
        metavar="FILE",
        help="file of the encoder's weights, where it has moved (default: as exported)",
    )
    parser.add_argument(
        "--device",
        choices=["auto", "cpu", "cuda"],
        default="auto",
        help="where the encoder runs (default %(default)s: cuda where there is one)",
    )


def add_own_pair(parser: argparse.ArgumentParser, what: str) -> None:
    """Add --own-pair."""
    parser.add_argument(
        "--own-pair",
        action="store_true",
        help=f"{what} the two generators that a feature set was selected on, and no other; the result is for"
        " the optimism of the search alone (clipsieve evaluate --own-pair)",
    )


def add_generator_facts(parser: argparse.ArgumentParser) -> None:
    """Add --families and --sources; `words_by_generator` reads them."""
    parser.add_argument(
        "--families",
        required=True,
        metavar="JSON",
        help="family of each generator, as a JSON object or @FILE",
    )
    parser.add_argument(
        "--sources",
        required=True,
        metavar="JSON",
        help="source of each generator, as a JSON object or @FILE",
    )


def add_sources(parser: argparse._ActionsContainer) -> None:
    """Add --sources; `words_by_generator` reads it."""
    parser.add_argument(
        "--sources",
        metavar="JSON",
        help="source of each generator, as a JSON object or @FILE; needed where there is more than"
        " one source",
    )


def words_by_generator(text: str, option: str) -> dict[str, str]:
    """Return an option's JSON object of one word a generator."""
    found = json_object(text, option)
    if not all(isinstance(value, str) for value in found.values()):
        raise UserError(f"{option}: must be a JSON object that maps generators to names")
    return found


def add_bootstrap(parser: argparse.ArgumentParser, *, kinds: bool = True) -> None:
    """Add --resamples, --confidence and, where there are several kinds, --interval."""
    add = parser.add_argument
    add(
        "--resamples",
        type=int,
        default=default("evaluation.resamples"),
        help="bootstrap resamples (default %(default)s)",
    )
    if kinds:
        add(
            "--interval",
            choices=("percentile", "bca", "studentized"),
            default=default("evaluation.interval"),
            help="kind of bootstrap interval (default %(default)s, which covers best)",
        )
    add(
        "--confidence",
        type=float,
        default=default("evaluation.confidence"),
        help="coverage of the intervals, above 0 and below 1 (default %(default)s)",
    )


def check_bootstrap(args: argparse.Namespace) -> None:
    """Refuse resamples and coverages that give no interval."""
    if args.resamples < 100:
        raise UserError(f"--resamples: {args.resamples} is too few; at least 100 are needed")
    if not 0 < args.confidence < 1:
        raise UserError(f"--confidence: {args.confidence} must lie between 0 and 1")


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
        The file can't be read, or what is given is not a JSON object.
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
        raise UserError(f"{option}: must be a JSON object, not {text.strip()[:40]}")
    return value
