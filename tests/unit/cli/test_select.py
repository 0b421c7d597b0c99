"""The verb select on small files: which rows, searches and rankings each family is made from."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from clipsieve import families
from clipsieve.cli import main
from clipsieve.io import store
from clipsieve.io.feature_sets import read_feature_sets
from clipsieve.io.tables import write_table
from clipsieve.selection import filters as controls
from tests.helpers.data_sets import write_image_set

PAIRS = [("a", "bb"), ("ccc", "dddd")]
SOURCES = {"a": "real_one", "bb": "real_one", "ccc": "real_three", "dddd": "real_three"}
KEPT = {"a--bb": [1, 4], "bb--a": [4, 9], "ccc--dddd": [0], "dddd--ccc": [0]}


def write_search(path, kept):
    """A search of 12 columns whose least log-loss leaves `kept`, and whose last maximum leaves one."""
    removed = [c for c in range(12) if c not in kept] + kept[:-1]
    stops = {"first": 1, "log_loss": 12 - len(kept), "last": 11, "one_se": 11}
    train, val = path.stem.split("--")
    note = {"train": train, "val": val, "columns": 12, "steps": 11, "at_ceiling": 7}
    note["stops"] = {
        alpha: {"step": step, "kept": 12 - step, "share": 1 - step / 12}
        for alpha, step in stops.items()
    }
    write_table(pd.DataFrame({"step": range(1, 12), "removed": removed}), path, note)


@pytest.fixture
def files(tmp_path):
    found = {"embeddings": [], "splits": [], "searches": [], "rankings": [], "layer_rankings": []}
    for shift, name in enumerate([*SOURCES, "real_one", "real_three"]):
        h5, splits = write_image_set(
            tmp_path, name, label=int(name.startswith("real")), shift=3.0 * shift
        )
        found["embeddings"].append(str(h5))
        found["splits"].append(str(splits))
    for direction, kept in KEPT.items():
        path = tmp_path / "searches" / f"{direction}.parquet"
        write_search(path, kept)
        found["searches"].append(str(path))
    for train, val in [*PAIRS, ("bb", "a")]:
        rank = pd.DataFrame(
            {
                **{"train": train, "val": val},
                **{"layer": [0, 1, 1, 0], "head": [0, 2, 0, 1], "rank": [3, 1, 2, 4]},
            }
        )
        path = tmp_path / "rankings" / f"{train}.parquet"
        write_table(rank, path)
        found["rankings"].append(str(path))
        layers = pd.DataFrame(
            {**{"train": train, "val": val}, "layer": [-1, 0, 1, 2], "rank": [0, 3, 1, 2]}
        )
        path = tmp_path / "layer_rankings" / f"{train}.parquet"
        write_table(layers, path)
        found["layer_rankings"].append(str(path))
    return found


def select(tmp_path, family, *options):
    path = tmp_path / f"{family}.json"
    status = main(["select", "--family", family, *options, "--output", str(path)])
    return read_feature_sets(path) if status == 0 else status


def pairs():
    return ["--pairs", *(f"{a}--{b}" for a, b in PAIRS)]


def rows_of_pair(files, pair):
    """Embeddings and labels of a pair and its source on train and val, read one by one."""
    X, y = [], []
    for name in dict.fromkeys([*pair, *(SOURCES[g] for g in pair)]):
        h5 = next(f for f in files["embeddings"] if f.endswith(f"/{name}.h5"))
        table = pd.read_parquet(next(f for f in files["splits"] if f.endswith(f"/{name}.parquet")))
        seen = (table["split"] != "test").to_numpy()
        X.append(store.read_embeddings(h5).embedding[seen])
        y.append(np.full(seen.sum(), int(name.startswith("real"))))
    return np.concatenate(X), np.concatenate(y)


@pytest.mark.parametrize("family", ["fisher", "variance", "l1"])
def test_filters_see_the_pairs_own_sources_alone(tmp_path, files, family):
    found = select(
        tmp_path, family, *pairs(), "--searches", *files["searches"], "--embeddings",
        *files["embeddings"], "--splits", *files["splits"], "--sources", json.dumps(SOURCES),
    )  # fmt: skip
    for item, pair in zip(found, PAIRS, strict=True):
        X, y = rows_of_pair(files, pair)
        size = len({*KEPT["--".join(pair)], *KEPT["--".join(pair[::-1])]})
        assert item.draws == (getattr(controls, family)(X, y, size).tolist(),)
        assert item.excluded == pair


def test_without_sources_all_real_images_count_and_it_is_said(tmp_path, files, caplog):
    with caplog.at_level("WARNING"):
        select(
            tmp_path, "variance", *pairs(), "--searches", *files["searches"],
            "--embeddings", *files["embeddings"], "--splits", *files["splits"],
        )  # fmt: skip
    assert "--sources does not name that of a" in caplog.text


def test_components_are_the_union_of_both_directions(tmp_path, files):
    found = select(tmp_path, "components", *pairs(), "--searches", *files["searches"])
    assert [item.draws for item in found] == [([1, 4, 9],), ([0],)]


def test_heads_are_the_best_of_the_ranking(tmp_path, files):
    found = select(
        tmp_path, "heads", "--pairs", "bb--a", "--rankings", *files["rankings"], "--best", "2",
        "--exclude", "both",
    )  # fmt: skip
    assert [(item.feature_set, item.draws) for item in found] == [
        ("heads/bb--a", ([[1, 2], [1, 0]],))
    ]


#: Families that exist where there are two sources of real images, as here.
OF_TWO_SOURCES = {name for name, one in families.FAMILIES.items() if one.sources <= 2}
SETTINGS = {"best": "2", "draws": "3", "alpha": "log_loss", "components": "2"}


def select_everything(tmp_path, files, family, exclude):
    """The feature sets of a family on both pairs, with whatever its record says it needs."""
    record = families.get(family)
    options = pairs() if record.pairs != "none" else []
    for name in ("searches", "rankings", "layer_rankings"):
        words = [f"--{name.replace('_', '-')}", *files[name]]
        options += words if name in record.reads else []
    if "rows" in record.reads:
        options += ["--embeddings", *files["embeddings"], "--splits", *files["splits"]]
        options += ["--sources", json.dumps(SOURCES)]
    if "everyone" in record.reads:
        options += ["--embeddings", *files["embeddings"], "--splits", *files["splits"]]
        options += ["--sources", json.dumps(SOURCES)]
    if "reals" in record.reads:
        for option in ("embeddings", "splits"):
            options += [f"--{option}", *(f for f in files[option] if "/real_" in f)]
    for name in families.settings_of(record):
        options += [f"--{name}", {**SETTINGS, "exclude": exclude}[name]]
    return select(tmp_path, family, *options)


@pytest.mark.parametrize("exclude", ["validation", "both"])
@pytest.mark.parametrize("family", sorted(OF_TWO_SOURCES))
def test_every_family_gives_up_the_generators_that_it_was_selected_on(
    tmp_path, files, family, exclude
):
    ordered = {name for name, one in families.FAMILIES.items() if one.pairs == "ordered"}
    alone = {name for name, one in families.FAMILIES.items() if one.pairs == "none"}
    for item in select_everything(tmp_path, files, family, exclude):
        if family in alone:
            assert (item.feature_set, item.pair, item.excluded) == (family, None, ())
            continue
        first, second = item.feature_set.removeprefix(f"{family}/").split("--")
        assert item.pair == (first, second)
        only = family in ordered and exclude == "validation"
        assert item.excluded == ((second,) if only else (first, second))


@pytest.mark.parametrize("exclude", ["validation", "both"])
@pytest.mark.parametrize("control", families.CONTROLS)
def test_every_control_excludes_what_its_method_excludes(tmp_path, files, control, exclude):
    mine = select_everything(tmp_path, files, control, exclude)
    assert mine
    for method in OF_TWO_SOURCES & {*families.get(control).control_of}:
        theirs = select_everything(tmp_path, files, method, exclude)
        assert [(m.pair, m.excluded) for m in mine] == [(t.pair, t.excluded) for t in theirs]
        # each method set is compared with exactly this control of its pair
        for item, other in zip(mine, theirs, strict=True):
            assert item.feature_set in families.controls_of(other.feature_set)


@pytest.mark.parametrize("family", ["random", "fisher", "variance", "l1", "random_heads"])
def test_every_selecting_control_is_as_large_as_its_methods_set(tmp_path, files, family):
    (method,) = families.get(family).control_of
    mine = select_everything(tmp_path, files, family, "both")
    theirs = select_everything(tmp_path, files, method, "both")
    for item, other in zip(mine, theirs, strict=True):
        assert len(item.draws) == (3 if "random" in family else 1)
        for draw in item.draws:
            assert len({str(one) for one in draw}) == len(draw) == len(other.draws[0])


def test_draws_follow_the_names_of_a_pair_and_not_its_place(tmp_path, files):
    options = ["--searches", *files["searches"], "--draws", "4"]
    (alone,) = select(tmp_path, "random", "--pairs", "a--bb", *options)
    first, second = select(tmp_path, "random", *pairs(), *options)
    _, last = select(tmp_path, "random", *pairs()[:1], *pairs()[:0:-1], *options)
    assert alone == first == last
    assert first.draws != second.draws
    (other,) = select(tmp_path, "random", "--pairs", "a--bb", *options, "--seed", "1")
    assert other.draws != alone.draws


@pytest.mark.parametrize(
    ("family", "options", "said"),
    [
        ("components", ["--pairs", "a-b", "--searches", "x"], "--pairs: 'a-b' is not a pair A--B"),
        ("components", ["--pairs", "a--bb", "--searches", "SEARCH"], "no search bb--a"),
        (
            "heads",
            ["--pairs", "a--ccc", "--rankings", "RANKING", "--best", "1", "--exclude", "both"],
            "no ranking of a on ccc",
        ),
        ("components", [], "--pairs: the family components needs it"),
        ("components", ["--pairs", "a--bb"], "--searches: the family components needs it"),
        ("fisher", ["--pairs", "a--bb", "--searches", "x"], "--embeddings: the family fisher needs"),
        ("random", ["--pairs", "a--bb", "--searches", "x"], "--draws: the family random needs it"),
        ("shuffled", [], "--draws: the family shuffled needs it"),
        ("all", ["--draws", "3"], "--draws: the family all does not use it; leave it out"),
        ("all", ["--pairs", "a--bb"], "--pairs: the family all does not use it"),
        ("random", ["--pairs", "a--b", "--searches", "x", "--draws", "2", "--exclude", "both"],
         "--exclude: the family random does not use it"),
    ],
)  # fmt: skip
def test_what_is_missing_or_needless_is_named(tmp_path, files, capsys, family, options, said):
    known = {"SEARCH": files["searches"][0], "RANKING": files["rankings"][0]}
    assert select(tmp_path, family, *(known.get(o, o) for o in options)) == 2
    assert said in capsys.readouterr().err


def test_alpha_says_where_a_search_stops(tmp_path, files):
    common = (*pairs(), "--searches", *files["searches"])
    least = select(tmp_path, "components", *common, "--alpha", "log_loss")
    assert [item.draws for item in least] == [([1, 4, 9],), ([0],)]
    last = select(tmp_path, "components", *common, "--alpha", "last")
    assert [item.draws for item in last] == [([4, 9],), ([0],)]
    first = select(tmp_path, "components", *common, "--alpha", "first")
    assert [item.facts["kept"] for item in first] == [[11, 11]] * 2
    assert first[0].facts["alpha"] == "first"
    said = first[0].facts["warnings"]
    assert set(said) == {"a--bb", "bb--a"}
    assert said["a--bb"][0] == "the score sat at its ceiling for 7 of 11 steps"
    assert said["a--bb"][1].startswith("92 % of the columns were kept")
    random = select(tmp_path, "random", *common, "--alpha", "last", "--draws", "2")
    assert [len(draw) for item in random for draw in item.draws] == [2, 2, 1, 1]
