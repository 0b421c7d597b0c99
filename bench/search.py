"""Greedy elimination against the plain loop of scikit-learn fits and against its SequentialFeatureSelector, growth with
columns and rows, and time by phase against the machine's matrix-product rate, on seeded synthetic embeddings.

    python -m bench.search [--quick]

The plain loop is sampled: fits of the widths that the search passes through are timed in the same run, under the same
threads, and the mean time at each width is multiplied by the fits that the loop makes there. Both are given in seconds
by the wall clock and in seconds of processor time, which other work on the machine disturbs less; and, as lbfgs may
lose time to threads that wait for each other, the loop and the search are given on one thread too.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Data = tuple[Floats, NDArray[np.int64], Floats, NDArray[np.int64]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, for a check in seconds")
    print(json.dumps(run(parser.parse_args().quick), indent=2, default=float))


def run(quick: bool) -> dict[str, Any]:
    """Measure everything; `quick` takes small sizes."""
    import os

    import scipy.linalg  # noqa: F401  (its thread pool is to be counted)
    from threadpoolctl import threadpool_info

    columns, rows, scoring = (48, 300, 100) if quick else (768, 1396, 600)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = [against_loop(kind, columns, rows, scoring, quick) for kind in KINDS]
        found: dict[str, Any] = {
            "threads": max((p["num_threads"] for p in threadpool_info()), default=1),
            "load_average_before": os.getloadavg()[0],
            "against_the_plain_loop": [row for row, _ in whole],
            "time_by_phase": [phases for _, phases in whole],
            "two_searches": two_searches(columns, rows, scoring),
            "against_sequential_feature_selector": against_selector(8 if quick else 20),
        }
        widths = (16, 32) if quick else (64, 128, 256, 512, 768, 1024)
        found["growth_with_columns"] = [growth(d, 300 if quick else 1396) for d in widths]
        sizes = (100, 200) if quick else (500, 1000, 2000, 5000, 10_000, 20_000)
        found["growth_with_training_rows"] = [growth(32 if quick else 256, n) for n in sizes]
        if not quick:
            found["the_largest_size"] = growth(1024, 20_000, 2000, 3)
        found["load_average_after"] = os.getloadavg()[0]
    return found


KINDS = ("raw", "unit")  # and "standardised"


def embeddings(kind: str, columns: int, rows: int, scoring: int, seed: int = 0) -> Data:
    """Return training and scoring rows of two generators that differ from real images alike in part.

    Like CLIP's: a decaying spectrum in a random basis (within-class norm 5), a strong mean with a few
    outlying columns (norm about 10); raw, or divided by each row's norm, or standardised.
    """
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((columns, columns)))[0]
    spread = 1 / np.sqrt(1 + np.arange(columns))
    spread *= 5 / np.linalg.norm(spread)
    mean = 0.3 * rng.standard_normal(columns) * np.sqrt(768 / columns)
    mean[rng.integers(0, columns, 3)] = [4, -3, 5]
    shared, *own = (0.15 * basis @ (rng.standard_normal(columns) * spread) for _ in range(3))
    found: list[Any] = []
    for n, shift in zip((rows, scoring), own, strict=True):
        y = np.arange(n) % 2
        X = (rng.standard_normal((n, columns)) * spread) @ basis.T + mean
        X[y == 0] += shared + shift
        found += [X, y]
    X, y, V, yv = found
    if kind == "unit":
        X, V = (r / np.linalg.norm(r, axis=1, keepdims=True) for r in (X, V))
    elif kind == "standardised":
        centre, scale = X.mean(axis=0), X.std(axis=0)
        X, V = (X - centre) / scale, (V - centre) / scale
    return X.astype(np.float32), y, V.astype(np.float32), yv


def clocked(call: Callable[[], Any]) -> tuple[float, Any]:
    begin = time.perf_counter()
    value = call()
    return time.perf_counter() - begin, value


def against_loop(
    kind: str, columns: int, rows: int, scoring: int, quick: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Time a whole search and sampled fits of the plain loop; return both and the phases."""
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    from clipsieve.selection import greedy_elimination

    data = embeddings(kind, columns, rows, scoring)
    X, y, V, yv = data
    clock = Phases()
    busy = time.process_time()
    with clock:
        seconds, found = clocked(lambda: greedy_elimination(*data))
    busy = time.process_time() - busy
    alone = clocked(lambda: greedy_elimination(*data, threads=1))[0]
    # fits at widths spread over the search, on the columns that it had there, one of them left out
    widths = np.unique(np.linspace(2, columns, 5 if quick else 16).astype(int))
    rng = np.random.default_rng(1)
    means: dict[str, list[float]] = {"same": [], "same_busy": [], "one": []}
    sampled = 0
    for width in widths:
        left = np.setdiff1d(np.arange(columns), found.removed[: columns - width])
        rests = [
            left[left != j] for j in rng.choice(left, min(len(left), 2 if quick else 4), False)
        ]
        sampled += len(rests)

        def fits(rests: list[NDArray[np.int64]] = rests) -> None:
            for rest in rests:
                probe = LogisticRegression(fit_intercept=False, max_iter=10_000)
                probe.fit(X[:, rest], y).score(V[:, rest], yv)

        begun = time.process_time()
        means["same"].append(clocked(fits)[0] / len(rests))
        means["same_busy"].append((time.process_time() - begun) / len(rests))
        with threadpool_limits(1):
            means["one"].append(clocked(fits)[0] / len(rests))
    every = np.arange(2, columns + 1)
    loop = {k: float(np.sum(every * np.interp(every, widths, v))) for k, v in means.items()}
    certified = {c: int((found.certified == c).sum()) for c in ("bound", "refined", "tie_rule")}
    row = {
        "embeddings": kind,
        "columns": columns,
        "training_rows": rows,
        "scoring_rows": scoring,
        "search_seconds": seconds,
        "search_processor_seconds": busy,
        "search_on_one_thread_seconds": alone,
        "fits_of_the_plain_loop": int(np.sum(every)),
        "sampled_fits": sampled,
        "milliseconds_a_fit_least": 1e3 * min(means["same"]),
        "milliseconds_a_fit_most": 1e3 * max(means["same"]),
        "plain_loop_seconds_extrapolated": loop["same"],
        "plain_loop_processor_seconds_extrapolated": loop["same_busy"],
        "plain_loop_on_one_thread_seconds_extrapolated": loop["one"],
        "times_faster": loop["same"] / seconds,
        "times_less_processor_time": loop["same_busy"] / busy,
        "times_faster_both_on_one_thread": loop["one"] / alone,
        "initial_score": found.initial_score,
        "best_score": float(found.scores.max()),
        "kept": len(found.kept),
        **{f"steps_{name}": count for name, count in certified.items()},
        "refinements_of_a_candidate": int(found.refinements.sum()),
    }
    return row, {"embeddings": kind, **clock.table(columns, rows, scoring, row, seconds)}


def two_searches(columns: int, rows: int, scoring: int) -> dict[str, Any]:
    """Time two searches after one another on all threads, and side by side on one thread each."""
    from joblib import Parallel, delayed

    from clipsieve.selection import greedy_elimination

    pair = [embeddings("raw", columns, rows, scoring, seed) for seed in (0, 1)]
    after, one = clocked(lambda: [greedy_elimination(*data).removed for data in pair])
    with Parallel(n_jobs=2) as workers:
        workers(delayed(time.sleep)(0.5) for _ in pair)  # both processes are up
        beside, other = clocked(
            lambda: workers(delayed(greedy_elimination)(*data, threads=1) for data in pair)
        )
    return {
        "columns": columns,
        "training_rows": rows,
        "scoring_rows": scoring,
        "seconds_after_one_another": after,
        "seconds_side_by_side": beside,
        "ratio": after / beside,
        "same_lists": all(np.array_equal(a, b.removed) for a, b in zip(one, other, strict=True)),
    }


class Phases:
    """Time the parts of a search by wrapping the functions that it calls."""

    def __init__(self) -> None:
        from clipsieve.selection.greedy import (
            newton as greedy_newton,
        )
        from clipsieve.selection.greedy import (
            search as greedy,
        )
        from clipsieve.selection.greedy import (
            step as greedy_step,
        )

        self.places = {
            "metric": (greedy_newton.Metric, "at"),
            "fit": (greedy, "fit"),
            "approach": (greedy, "approach"),
            "screen": (greedy_step, "screen"),
            "refine": (greedy_step, "refine"),
        }
        self.seconds = dict.fromkeys(self.places, 0.0)

    def __enter__(self) -> Phases:
        self.kept = {name: owner.__dict__[at] for name, (owner, at) in self.places.items()}
        for name, (owner, at) in self.places.items():
            call = getattr(owner, at)

            def timed(*args: Any, name: str = name, call: Any = call, **options: Any) -> Any:
                took, value = clocked(lambda: call(*args, **options))
                self.seconds[name] += took
                return value

            setattr(owner, at, timed)
        return self

    def __exit__(self, *_: object) -> None:
        for name, (owner, at) in self.places.items():
            setattr(owner, at, self.kept[name])

    def table(
        self, columns: int, rows: int, scoring: int, row: dict[str, Any], seconds: float
    ) -> dict[str, Any]:
        """Return seconds by phase, and the seconds that its products alone would take."""
        double, single = product_rates()
        widths = np.arange(2, columns + 1, dtype=float)
        part = self.seconds
        return {
            "products_double_gigaflops": double / 1e9,
            "products_single_gigaflops": single / 1e9,
            "hessian_and_inverse": part["metric"],
            "of_that_arithmetic": float((rows * widths**2 + widths**3).sum()) / double,
            "rest_of_the_incumbents_fit": part["fit"] + part["approach"] - part["metric"],
            "screen": part["screen"],
            "of_screen_arithmetic": float((2 * (rows + scoring) * widths**2).sum()) / single,
            "refine": part["refine"],
            "all_else": seconds - sum(part.values()) + part["metric"],
            "seconds": seconds,
        }


def product_rates() -> tuple[float, float]:
    """Return floating-point operations a second of a large matrix product, double and single."""
    from scipy.linalg import blas

    rates = []
    for multiply, kind in ((blas.dgemm, np.float64), (blas.sgemm, np.float32)):
        a = np.ones((1024, 1024), dtype=kind, order="F")
        best = min(clocked(lambda m=multiply, a=a: m(1.0, a, a))[0] for _ in range(8))  # type: ignore[misc]
        rates.append(2 * 1024**3 / best)
    return rates[0], rates[1]


def against_selector(columns: int) -> dict[str, Any]:
    """Time scikit-learn's backward selection to one column, scored on the same rows; compare lists."""
    from sklearn.feature_selection import SequentialFeatureSelector
    from sklearn.linear_model import LogisticRegression

    from clipsieve.selection import greedy_elimination

    X, y, V, yv = embeddings("unit", columns, 300, 200)
    X, V = 10 * X, 10 * V
    seconds, found = clocked(lambda: greedy_elimination(X, y, V, yv, tie="first"))
    split = [(np.arange(len(X)), np.arange(len(X), len(X) + len(V)))]
    probe = LogisticRegression(fit_intercept=False, tol=1e-8, max_iter=10_000)
    both, labels = np.r_[X, V], np.r_[y, yv]

    def select(left: int) -> set[int]:
        selector = SequentialFeatureSelector(
            probe, direction="backward", n_features_to_select=left, scoring="accuracy", cv=split
        )
        return set(np.flatnonzero(~selector.fit(both, labels).get_support()).tolist())

    slow, _ = clocked(lambda: select(1))
    checked = range(1, columns, max(1, columns // 5))
    return {
        "columns": columns,
        "training_rows": 300,
        "scoring_rows": 200,
        "search_seconds": seconds,
        "selector_seconds": slow,
        "times_faster": slow / seconds,
        "same_columns_at_every_checked_length": all(
            select(left) == set(found.removed[: columns - left].tolist()) for left in checked
        ),
    }


def growth(columns: int, rows: int, scoring: int = 600, steps: int = 8) -> dict[str, Any]:
    """Time the first steps of a search of raw embeddings of one size, the first fit among them."""
    import resource

    from clipsieve.selection import greedy_elimination

    data = embeddings("raw", columns, rows, scoring)
    busy = time.process_time()
    marks: list[float] = []
    found = greedy_elimination(
        *data, stop_at=columns - steps, progress=lambda *_: marks.append(time.process_time())
    )
    return {
        "columns": columns,
        "training_rows": rows,
        "scoring_rows": scoring,
        "steps": steps,
        "processor_milliseconds_to_the_end_of_the_first": 1e3 * (marks[0] - busy),
        "processor_milliseconds_of_each_further": 1e3 * (marks[-1] - marks[0]) / (steps - 1),
        "refinements_a_step": float(found.refinements.mean()),
        "peak_memory_gib_so_far": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


if __name__ == "__main__":
    main()
