"""The joint row over search pairs: plain loops over each pair, and its size."""

from __future__ import annotations

import numpy as np
import pytest

from clipsieve.evaluation.comparisons import Comparer
from clipsieve.evaluation.generators import generator_spread, t_interval
from clipsieve.evaluation.matrix import layout_of, transfer_matrix
from clipsieve.evaluation.means import Means, cell_groups, mean_over_cells, restricted
from clipsieve.evaluation.metrics import METRICS
from clipsieve.evaluation.pairs import Compared, _over_pairs, pair_table
from clipsieve.evaluation.significance import SignFlips
from clipsieve.io.scores import Images, Scores

GENERATORS = [f"g{k}" for k in range(8)]
PAIRS = [("g0", "g1"), ("g2", "g3"), ("g4", "g5")]
FAMILIES = dict.fromkeys(GENERATORS, "gan")
N = 40


@pytest.fixture(scope="module")
def evaluated() -> tuple[Comparer, dict[str, list[Means]], dict[str, Means | None]]:
    rows = [
        (f"{s}/{k}", s, "s", f"{k}", int(s == "s")) for s in ("s", *GENERATORS) for k in range(N)
    ]
    columns = [np.array(one) for one in zip(*rows, strict=True)]
    images = Images(*columns[:4], label=columns[4].astype(int))
    layout = layout_of(images, resamples=300, seed=0)
    rng = np.random.default_rng(1)
    sign = np.where(images.label == 1, 1, -1)

    def matrix(shift: float, *, replicate: bool = True):
        logits = sign * shift + rng.normal(size=(len(GENERATORS), len(sign)))
        scores = Scores("all", 0, list(GENERATORS), logits, np.zeros(len(GENERATORS)))
        return transfer_matrix(scores, layout, replicate=replicate)

    def means(one) -> Means:
        return mean_over_cells(one, cell_groups(one.train, one.test, FAMILIES), layout)

    base = matrix(0.6)
    by_set: dict[str, list[Means]] = {"all": [means(base)]}
    baselines: dict[str, Means | None] = {"all": None}
    for k, pair in enumerate(PAIRS):
        left = [name for name in GENERATORS if name not in pair]
        for order in ("--".join(pair), "--".join(reversed(pair))):
            for name in (f"components/{order}", f"random/{order}"):
                if name.endswith(f"{pair[1]}--{pair[0]}") and k != 0:
                    continue  # the first pair has both of its orders
                count = 9 if name.startswith("random") else 1
                shift = 0.6 if count > 1 else 0.7 + k / 5
                drawn = [
                    restricted(matrix(shift, replicate=count == 1), left, left)
                    for _ in range(count)
                ]
                by_set[name] = [means(one) for one in drawn if one is not None]
                own = restricted(base, left, left)
                assert own is not None
                baselines[name] = means(own)
    comparer = Comparer(layout, SignFlips(layout.strata, 999, 0), "studentized", 0.95)
    return comparer, by_set, baselines


def test_a_family_is_the_mean_of_its_pairs_each_counted_once(evaluated) -> None:
    comparer, by_set, baselines = evaluated
    table = pair_table(comparer, by_set, baselines, lambda *_: Compared())
    m = METRICS.index("auc")
    row = table.query("family == 'components' and against == 'all' and metric == 'auc'")
    row = row[row["cells"] == "all"].iloc[0]
    gains = {
        name: by_set[name][0].values[m, 0] - baselines[name].values[m, 0]
        for name in by_set
        if name.startswith("components")
    }
    first = (gains["components/g0--g1"] + gains["components/g1--g0"]) / 2
    by_pair = [first, gains["components/g2--g3"], gains["components/g4--g5"]]
    assert row["pairs"] == 3
    assert row["difference"] == pytest.approx(np.mean(by_pair))
    assert row["sd_between_pairs"] == pytest.approx(np.std(by_pair, ddof=1))
    assert row["better"] == 3
    assert row["difference_low"] < row["difference"] < row["difference_high"]
    assert row["generators_low"] < row["difference"] < row["generators_high"]
    assert row["generators_se"] ** 2 > np.var(by_pair, ddof=1) / 3
    assert row["p_holm"] >= row["p"]


def test_the_joint_rank_is_of_means_over_pairs_of_draws(evaluated) -> None:
    comparer, by_set, baselines = evaluated
    m = METRICS.index("auc")
    table = pair_table(comparer, by_set, baselines, lambda *_: Compared())
    row = table.query("against == 'random' and metric == 'auc' and cells == 'all'").iloc[0]
    weight = {"g0--g1": 1 / 6, "g1--g0": 1 / 6, "g2--g3": 1 / 3, "g4--g5": 1 / 3}
    value = sum(w * by_set[f"components/{p}"][0].values[m, 0] for p, w in weight.items())
    draws = [
        sum(w * by_set[f"random/{p}"][d].values[m, 0] for p, w in weight.items()) for d in range(9)
    ]
    assert row["rank"] == 1 + sum(draw >= value for draw in draws) == 1
    assert row["p"] == pytest.approx(0.1)
    assert np.isnan(row["generators_p"])

    def unlike(name, control):
        return Compared(alike=name != "components/g2--g3")

    other = pair_table(comparer, by_set, baselines, unlike).query("against == 'random'")
    assert other["p"].isna().all()

    def twinned(name, control):  # the first draw in place of the selected set
        return Compared(by_set[control][0])

    twin = pair_table(comparer, by_set, baselines, twinned)
    twin = twin.query("against == 'random' and metric == 'auc' and cells == 'all'").iloc[0]
    assert twin["value"] == row["value"]
    assert twin["rank"] == 1 + sum(draw >= draws[0] - 1e-12 for draw in draws)
    assert twin["difference"] == pytest.approx(draws[0] - np.mean(draws))


def test_a_family_that_is_no_better_over_pairs_and_generators_is_rarely_called_so() -> None:
    n, repeats = 14, 3000
    rng = np.random.default_rng(0)
    names = [f"g{k:02d}" for k in range(n)]
    pairs = [(2 * k, 2 * k + 1) for k in range(5)]
    cells = [
        [(i, j) for i in range(n) for j in range(n) if i != j and not {i, j} & set(pair)]
        for pair in pairs
    ]
    named = [tuple((names[i], names[j]) for i, j in part) for part in cells]
    maps = _over_pairs(
        [(part, 1 / 5) for part in named], tuple(sorted({c for p in named for c in p}))
    )
    assert maps is not None
    for of_pair, of_generator in ((0.0, 1.0), (0.7, 0.5), (1.0, 0.0)):
        effect = of_generator * rng.normal(size=(2, repeats, n))
        shared = rng.normal(size=(repeats, n, n))
        parts = []
        for part in cells:
            i, j = np.array(part).T
            own = of_pair * rng.normal(size=(repeats, 1)) + rng.normal(size=(repeats, len(part)))
            parts.append(effect[0][:, i] + effect[1][:, j] + shared[:, i, j] + own)
        means = np.stack([part.mean(axis=1) for part in parts])
        spread = generator_spread(
            maps,
            np.concatenate(parts, axis=1),
            between=means.var(axis=0, ddof=1) / 5,
            between_freedom=4,
        )
        p = t_interval(means.mean(axis=0), spread.error(), spread.freedom, 0.95)[2]
        assert 0.01 < (p <= 0.05).mean() < 0.075, (of_pair, of_generator)
