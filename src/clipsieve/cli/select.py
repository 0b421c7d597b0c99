"""Make the feature sets of one family: lists of columns or heads from searches, rankings or a seed.

The inputs and settings of each family are listed below and in its record (clipsieve.families); all
other options must be left out. Test rows are never read.
"""

from __future__ import annotations

import argparse
import logging
import textwrap
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from clipsieve import families
from clipsieve.cli.options import add_image_sets, add_sources, count, words_by_generator
from clipsieve.config import default
from clipsieve.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import pandas as pd

    from clipsieve.families import Family, Pair
    from clipsieve.selection.choose import Everyone, Given, Head, Searched

HELP = "make the feature sets of one family"

log = logging.getLogger("clipsieve")


def _names(*, reads: str = "", setting: str = "", pairs: str = "") -> str:
    """Return the families that read something, have a setting, or are selected on such pairs."""
    names = ", ".join(
        name
        for name, one in families.FAMILIES.items()
        if (not reads or reads in one.reads)
        and (not setting or setting in families.settings_of(one))
        and (not pairs or one.pairs == pairs)
    )
    return textwrap.fill(names, 90, subsequent_indent="  ")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = (
        "example:\n  clipsieve select --family components --pairs biggan--sd \\\n"
        "    --searches biggan--sd.parquet sd--biggan.parquet --output components.json"
    )
    parser.add_argument(
        "--family",
        required=True,
        choices=tuple(families.FAMILIES),
        metavar="FAMILY",
        help="one of: %(choices)s",
    )
    parser.add_argument("--output", required=True, metavar="JSON", help="the feature sets")
    group = parser.add_argument_group(
        "families selected on pairs",
        f"unordered: {_names(pairs='unordered')}\nordered, train--val: {_names(pairs='ordered')}",
    )
    group.add_argument("--pairs", nargs="*", default=[], metavar="A--B", help="pairs of generators")
    group = parser.add_argument_group("families made from searches", _names(reads="searches"))
    group.add_argument(
        "--searches", nargs="*", default=[], metavar="PARQUET", help="both directions of each pair"
    )
    group = parser.add_argument_group("families made from rankings", _names(reads="rankings"))
    group.add_argument("--rankings", nargs="*", default=[], metavar="PARQUET", help="head rankings")
    group = parser.add_argument_group(
        "families made from rankings of layers", _names(reads="layer_rankings")
    )
    group.add_argument(
        "--layer-rankings", nargs="*", default=[], metavar="PARQUET", help="layer rankings"
    )
    group = parser.add_argument_group("families made from images too", _names(reads="rows"))
    add_image_sets(
        group, "of the pairs' generators and sources", nargs="*", required=False, default=[]
    )
    add_sources(group)
    parser.add_argument_group(
        "families made from real images",
        f"{_names(reads='reals')}\n--embeddings and --splits are then those of every source; train"
        " rows alone are read",
    )
    parser.add_argument_group(
        "families chosen by transfer between generators",
        f"{_names(reads='everyone')}\n--embeddings, --splits and --sources are then those of every generator"
        " and\nsource; train and val rows are read",
    )
    group = parser.add_argument_group(
        "settings",
        "Each is for the families named, which need it where it has no default; others refuse it.",
    )
    group.add_argument(
        "--best",
        type=count,
        help=f"how many heads or layers make a set; for {_names(setting='best')}",
    )
    group.add_argument(
        "--exclude",
        choices=["validation", "both"],
        help="which generators of an ordered pair are excluded from the evaluation; for"
        f" {_names(setting='exclude')}",
    )
    group.add_argument(
        "--alpha",
        choices=["first", "log_loss", "last", "one_se"],
        help="where a search stops removing: first or last maximum of its score, least log-loss, or"
        " the smallest set within one standard error of the best score (default"
        f" {default('search.alpha')}); for {_names(setting='alpha')}",
    )
    group.add_argument(
        "--draws", type=count, help=f"how many sets are drawn; for {_names(setting='draws')}"
    )
    group.add_argument(
        "--components",
        type=count,
        help=f"how many principal components are removed; for {_names(setting='components')}",
    )
    group.add_argument(
        "--seed", type=int, default=0, help="seed of the draws (default %(default)s)"
    )


def run(args: argparse.Namespace) -> None:
    """Select, and write the feature sets."""
    from clipsieve.io.feature_sets import write_feature_sets
    from clipsieve.io.files import seed_of
    from clipsieve.selection import choose

    family = families.get(args.family)
    _check_options(args, family)
    pairs = [_pair(text) for text in args.pairs]
    alpha = args.alpha or default("search.alpha")
    searched = _searched(args.searches, pairs, alpha) if "searches" in family.reads else {}
    ranked = _ranked(args.rankings, pairs) if "rankings" in family.reads else {}
    layers = {}
    if "layer_rankings" in family.reads:
        layers = _ranked_layers(args.layer_rankings, pairs)
    rows = _pair_rows(args, pairs) if "rows" in family.reads else {}
    settings: dict[str, Any] = {
        name: getattr(args, name)
        for name in ("best", "draws", "components")
        if name in families.settings_of(family)
    }
    given: dict[Pair | None, Given] = {}
    for pair in pairs:
        # by name, so that a pair's draws do not follow its place in the list
        parts: dict[str, Any] = {"seed": seed_of(args.seed, *pair) >> 32, **settings}
        if pair in searched:
            parts["searched"] = searched[pair]
        if pair in ranked:
            parts["ranked"] = ranked[pair]
        if pair in layers:
            parts["ranked_layers"] = layers[pair]
        if pair in rows:
            parts["X"], parts["y"] = rows[pair]
        given[pair] = choose.Given(**parts)
    if family.pairs == "none":
        read: dict[str, Any] = _real_rows(args) if "reals" in family.reads else {}
        if "everyone" in family.reads:
            read["everyone"] = _everyone(args, family)
        given[None] = choose.Given(seed=args.seed, **settings, **read)
    found = choose.select(family, given, args.exclude)
    write_feature_sets(args.output, found)
    log.info("select %s: %d feature sets", family.name, len(found))


def _check_options(args: argparse.Namespace, family: Family) -> None:
    """Refuse a family without what it needs, and options that it would not read."""
    wanted = {
        "pairs": family.pairs != "none",
        **{name: name in family.reads for name in ("searches", "rankings", "layer_rankings")},
        **dict.fromkeys(
            ("embeddings", "splits"), bool({"rows", "reals", "everyone"} & {*family.reads})
        ),
        **{name: name in families.settings_of(family) for name in families.SETTINGS},
    }
    for name, needed in wanted.items():
        value = getattr(args, name)
        if needed and value in (None, []) and name != "alpha":  # that has a default
            raise UserError(f"--{_option(name)}: the family {family.name} needs it")
        if not needed and value not in (None, []):
            raise UserError(
                f"--{_option(name)}: the family {family.name} does not use it; leave it out"
            )


def _option(name: str) -> str:
    return name.replace("_", "-")


def _pair(text: str) -> Pair:
    try:
        return families.generators_of(text)
    except UserError as error:
        raise UserError(f"--pairs: {error}") from None


def _searched(paths: Sequence[str], pairs: Sequence[Pair], alpha: str) -> dict[Pair, Searched]:
    from clipsieve.io.tables import read_table
    from clipsieve.selection.choose import Searched
    from clipsieve.selection.greedy.stop import kept_at, warnings_of

    read = [read_table(path, ("step", "removed")) for path in paths]
    searches = {f"{note.get('train')}--{note.get('val')}": (table, note) for table, note in read}
    found = {}
    for pair in pairs:
        there, back = families.pair_id(*pair), families.pair_id(*pair[::-1])
        for direction in (there, back):
            if direction not in searches:
                raise UserError(f"--searches: no search {direction}, which pair {there} needs")
        found[pair] = Searched(
            (kept_at(*searches[there], alpha), kept_at(*searches[back], alpha)),
            searches[there][1]["columns"],
            alpha=alpha,
            warnings={
                direction: said
                for direction in (there, back)
                if (said := warnings_of(searches[direction][1], alpha))
            },
        )
    return found


def _ranked(paths: Sequence[str], pairs: Sequence[Pair]) -> dict[Pair, list[Head]]:
    from clipsieve.io.tables import read_table

    needed = ("train", "val", "layer", "head", "rank")
    read = [read_table(path, needed)[0] for path in paths]
    tables = {str(table["train"].iloc[0]): table for table in read if len(table)}
    found = {}
    for train, val in pairs:
        table = _ranking(tables, train, val, "--rankings")
        found[train, val] = list(zip(table["layer"], table["head"], strict=True))
    return found


def _ranked_layers(paths: Sequence[str], pairs: Sequence[Pair]) -> dict[Pair, list[int]]:
    from clipsieve.io.tables import read_table

    read = [read_table(path, ("train", "val", "layer", "rank"))[0] for path in paths]
    # the final embedding, which is scored beside them, has no rank
    tables = {
        str(table["train"].iloc[0]): table[table["layer"] >= 0] for table in read if len(table)
    }
    return {
        (train, val): _ranking(tables, train, val, "--layer-rankings")["layer"].tolist()
        for train, val in pairs
    }


def _ranking(tables: dict[str, pd.DataFrame], train: str, val: str, option: str) -> pd.DataFrame:
    """Return the rows of an ordered pair, the best first."""
    if train not in tables or not (tables[train]["val"] == val).any():
        raise UserError(f"{option}: no ranking of {train} on {val}")
    return tables[train][tables[train]["val"] == val].sort_values("rank")


def _real_rows(args: argparse.Namespace) -> dict[str, np.ndarray]:
    """Return the embeddings of real train images and the source of each; refuse generated ones."""
    from clipsieve.io.dataset import read_rows

    rows = read_rows(args.embeddings, args.splits, ("train",), f"select {args.family}")
    if not (rows.label == 1).all():
        generated = rows.image_set[rows.label != 1][0]
        raise UserError(
            f"--embeddings: {generated} is a generator; the family {args.family} is made from real"
            " images alone"
        )
    return {"X": rows.embedding, "source": rows.image_set}


def _everyone(args: argparse.Namespace, family: Family) -> Everyone:
    """Return the train and val rows of every generator and source; blocks are read when asked for."""
    import numpy as np

    from clipsieve.io.dataset import read_rows
    from clipsieve.io.roles import FITTING
    from clipsieve.probes.features import head_features
    from clipsieve.selection.choose import Everyone

    rows = read_rows(args.embeddings, args.splits, FITTING, f"select {family.name}")
    sources = words_by_generator(args.sources, "--sources") if args.sources else {}
    for generator in np.unique(rows.image_set[rows.label == 0]).tolist():
        if generator not in sources:
            raise UserError(f"--sources: does not name the generator {generator}")
    basis = rows.head_basis() if family.needs_heads else None
    layers, heads = (0, 0) if basis is None else basis.shape[:2]

    @lru_cache(maxsize=4)
    def block(layer: int) -> np.ndarray:
        assert basis is not None
        chosen = [(layer, head) for head in range(heads)]
        return head_features(rows.heads(chosen), basis[layer])

    return Everyone(
        rows.embedding.astype(np.float64), rows.label, rows.image_set, rows.group,
        rows.split == "train", sources, block, layers, heads,
    )  # fmt: skip


def _pair_rows(
    args: argparse.Namespace, pairs: Sequence[Pair]
) -> dict[Pair, tuple[np.ndarray, np.ndarray]]:
    import numpy as np

    from clipsieve.io.dataset import read_rows
    from clipsieve.io.roles import FITTING

    rows = read_rows(args.embeddings, args.splits, FITTING, f"select {args.family}")
    sources = words_by_generator(args.sources, "--sources") if args.sources else {}
    real = np.unique(rows.image_set[rows.label == 1]).tolist()
    found = {}
    for pair in pairs:
        missing = [generator for generator in pair if generator not in sources]
        if missing and len(real) > 1:
            log.warning("select: --sources does not name that of %s: all real images", missing[0])
        theirs = real if missing else [sources[generator] for generator in pair]
        mine = rows.take(np.isin(rows.image_set, [*pair, *theirs]))
        found[pair] = (mine.embedding, mine.label)
    return found
