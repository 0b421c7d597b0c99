"""Probes and head ranking against scikit-learn: seconds in one run, on seeded synthetic embeddings.

    python -m bench.probes [--quick]

Every comparison uses one thread of the matrix library on both sides; that of heads uses two as well.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, for a check in seconds")
    print(json.dumps(run(parser.parse_args().quick), indent=2))


def run(quick: bool) -> dict[str, Any]:
    """Measure everything; `quick` takes small sizes."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            "grid": grid(quick),
            "fast": fast(quick),
            "draws": draws(quick),
            "fast_on_the_demo": fast_on_the_demo(),
            "heads": heads(quick),
        }


def embeddings(
    rng: np.random.Generator, sizes: list[int], D: int, norm: float, shift: float
) -> list[Any]:
    """Return X and y for each size: rows of one norm, a decaying spectrum, two outlying columns."""
    basis = np.linalg.qr(rng.standard_normal((D, D)))[0]
    mean = rng.standard_normal(D)
    mean[[D // 200, D // 20]] *= 6.0
    mean *= 2.0 / np.linalg.norm(mean)
    direction = rng.standard_normal(D)
    direction *= shift / np.linalg.norm(direction)
    found: list[Any] = []
    for n in sizes:
        y = np.arange(n) % 2
        X = (rng.standard_normal((n, D)) / np.sqrt(np.arange(1, D + 1))) @ basis
        X += mean + (y - 0.5)[:, None] * direction
        found += [X * (norm / np.linalg.norm(X, axis=1, keepdims=True)), y]
    return found


def seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    begin = time.perf_counter()
    value = call()
    return time.perf_counter() - begin, value


def grid(quick: bool) -> list[dict[str, Any]]:
    """The 96 points: `fit_probe` against the plain loop, with equal parameters and coefficients."""
    from sklearn.linear_model import LogisticRegression

    from clipsieve.probes import fit_probe, log_loss
    from clipsieve.probes.contest import SOLVERS
    from clipsieve.probes.grid import CS, MAX_ITERS

    n, n_val, D = (200, 100, 48) if quick else (1396, 600, 768)
    rows = []
    for norm, shift in ((10.0, 0.15), (10.0, 1.0)):
        X, y, V, v = embeddings(np.random.default_rng(1), [n, n_val], D, norm, shift)
        fit_probe(X[:20], y[:20], V[:20], v[:20])  # compiled code is loaded outside the measurement

        def plain(X=X, y=y, V=V, v=v) -> Any:  # type: ignore[no-untyped-def]
            best: Any = None
            for solver in SOLVERS:
                for C in CS:
                    for max_iter in MAX_ITERS:
                        model = LogisticRegression(
                            solver=solver, C=C, max_iter=max_iter, fit_intercept=False,
                            random_state=0,
                        ).fit(X, y)  # fmt: skip
                        score, loss = model.score(V, v), log_loss(model.decision_function(V), v)
                        if best is None or (-score, loss, C) < (-best[0], best[4], best[2]):
                            best = score, solver, C, max_iter, loss
            model = LogisticRegression(
                solver=best[1], C=best[2], max_iter=best[3], fit_intercept=False, random_state=0
            )
            return best, model.fit(np.concatenate([X, V]), np.concatenate([y, v]))

        ours, probe = seconds(lambda d=(X, y, V, v): fit_probe(*d))
        theirs, (best, model) = seconds(plain)
        rows.append(
            {
                "n": n, "n_val": n_val, "D": D, "norm": norm, "val_accuracy": probe.val_accuracy,
                "chosen": list(best[1:4]), "fits": probe.params["fits"],
                "seconds": ours, "plain_seconds": theirs, "ratio": theirs / ours,
                "same": bool(
                    np.array_equal(model.coef_[0], probe.coef)
                    and best[1:4] == tuple(probe.params[k] for k in ("solver", "C", "max_iter"))
                ),
            }
        )  # fmt: skip
    return rows


def fast(quick: bool) -> dict[str, Any]:
    """The fast grid against the paper's: time, choice of C, accuracy on rows of neither."""
    from clipsieve.probes import accuracy, fit_probe

    n, n_val, D, draws = (200, 100, 48, 4) if quick else (1396, 600, 768, 12)
    times: dict[str, list[float]] = {"paper": [], "fast": []}
    different, gains = 0, []
    for draw in range(draws):
        rng = np.random.default_rng([2, draw])
        shift = float(rng.uniform(0.05, 0.25))
        X, y, V, v, T, t = embeddings(rng, [n, n_val, 600], D, 10.0, shift)
        probes = {}
        for name in times:
            took, probes[name] = seconds(lambda g=name, d=(X, y, V, v): fit_probe(*d, grid=g))
            times[name].append(took)
        different += probes["paper"].params["C"] != probes["fast"].params["C"]
        test = {name: accuracy(probe.logits(T), t) for name, probe in probes.items()}
        gains.append(test["fast"] - test["paper"])
    return {
        "n": n, "n_val": n_val, "D": D, "draws": draws,
        "paper_seconds": float(np.median(times["paper"])),
        "fast_seconds": float(np.median(times["fast"])),
        "ratio": float(np.median(times["paper"]) / np.median(times["fast"])),
        "different_C": different,
        "test_accuracy_fast_minus_paper_mean": float(np.mean(gains)),
        "test_accuracy_fast_minus_paper_worst": float(np.min(gains)),
    }  # fmt: skip


def draws(quick: bool) -> list[dict[str, Any]]:
    """Random subsets fitted with shared work, alone, and alone with thresholds: processor seconds of each."""
    from clipsieve.probes import fit_probe
    from clipsieve.probes.batch import fit_probes

    n, n_val, D = (150, 60, 48) if quick else (1120, 280, 768)
    shapes = [(12, 4)] if quick else [(192, 16), (400, 12), (600, 8)]
    X, y, V, v = embeddings(np.random.default_rng(1), [n, n_val], D, 10.0, 0.15)
    rows = []
    for k, count in shapes:
        rng = np.random.default_rng([4, k])
        subsets = [np.sort(rng.choice(D, k, replace=False)) for _ in range(count)]
        found = fit_probes(X, y, V, v, subsets)
        times: dict[str, list[float]] = {"shared": [], "alone": [], "with_thresholds": []}
        gap, same = 0.0, True
        for c in subsets:
            begin = time.process_time()
            ours = next(found)
            times["shared"].append(time.process_time() - begin)
            for name in ("alone", "with_thresholds"):
                begin = time.process_time()
                one = fit_probe(
                    X[:, c], y, V[:, c], v, grid="fast", cross_fit=name == "with_thresholds"
                )
                times[name].append(time.process_time() - begin)
            gap = max(gap, float(np.abs(ours.logits(V[:, c]) - one.logits(V[:, c])).max()))
            same &= ours.params["C"] == one.params["C"]
        each = {name: float(np.median(took)) for name, took in times.items()}
        rows.append(
            {
                "n": n, "n_val": n_val, "D": D, "k": k, "draws": count,
                "seconds_first": times["shared"][0], "seconds_each": each["shared"],
                "seconds_each_alone": each["alone"],
                "seconds_each_with_thresholds": each["with_thresholds"],
                "ratio_to_alone": each["alone"] / each["shared"],
                "ratio_to_with_thresholds": each["with_thresholds"] / each["shared"],
                "largest_logit_gap": gap, "same_C": bool(same),
            }
        )  # fmt: skip
    return rows


def fast_on_the_demo() -> list[dict[str, Any]]:
    """Both grids on the embeddings of a finished `make demo`, one row an encoder; none where there is none.

    A generator's probe on all columns is applied to the test rows of every generator.
    """
    from clipsieve import config
    from clipsieve.io.dataset import read_rows
    from clipsieve.probes import accuracy, fit_probe

    if not Path("results").is_dir():
        return []
    study = config.Run.of(config.resolve(config.read_run([])))
    run, seed = study.config["run"], study.config["seeds"][0]
    root = Path("results") / run
    rows = []
    for encoder in study.encoders:
        folder = root / "embeddings" / encoder
        if not all((folder / f"{name}.h5").exists() for name in study.image_sets):
            continue
        sets = []
        for generator in study.generators:
            parts = (generator, study.source_of(generator))
            files = [folder / f"{part}.h5" for part in parts]
            splits = [root / f"seed{seed}" / "splits" / f"{part}.parquet" for part in parts]
            sets.append(read_rows(files, splits, ("train", "val", "test"), "bench"))
        different, gains = 0, []
        for found in sets:
            train, val = found.of("train"), found.of("val")
            data = (train.embedding, train.label, val.embedding, val.label)
            paper, fast = (fit_probe(*data, grid=grid) for grid in ("paper", "fast"))
            different += paper.params["C"] != fast.params["C"]
            for other in sets:
                test = other.of("test")
                scores = [accuracy(p.logits(test.embedding), test.label) for p in (fast, paper)]
                gains.append((other is found, scores[0] - scores[1]))
        own = [gain for same, gain in gains if same]
        transfer = [gain for same, gain in gains if not same]
        rows.append(
            {
                "encoder": encoder, "generators": len(sets), "different_C": different,
                "own_test_accuracy_fast_minus_paper_mean": float(np.mean(own)),
                "transfer_accuracy_fast_minus_paper_mean": float(np.mean(transfer)),
                "transfer_accuracy_fast_minus_paper_worst": float(np.min(transfer)),
                "transfer_accuracy_fast_minus_paper_best": float(np.max(transfer)),
            }
        )  # fmt: skip
    return rows


def heads(quick: bool) -> dict[str, Any]:
    """Head ranking against scikit-learn on the full-width outputs E (sampled heads, scaled up)."""
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    from clipsieve.selection import rank_heads

    layers, count, d, width, n, n_val = (3, 4, 16, 64, 200, 100) if quick else (
        24, 16, 64, 1024, 1396, 600,
    )  # fmt: skip
    rng = np.random.default_rng(3)
    y, v = np.arange(n) % 2, np.arange(n_val) % 2
    scale = rng.uniform(0.1, 1.5, (layers, count, 1)).astype(np.float32)
    mix = rng.standard_normal((layers, count, d, d), dtype=np.float32) / np.float32(np.sqrt(d))
    direction = rng.standard_normal((layers, count, d)) * rng.uniform(0, 0.15, (layers, count, 1))

    def contexts(labels: NDArray[np.int64]) -> NDArray[np.float32]:
        z = rng.standard_normal((layers, count, len(labels), d), dtype=np.float32) @ mix
        z = z.transpose(2, 0, 1, 3) + ((labels - 0.5)[:, None, None, None] * direction + 0.3)
        return np.ascontiguousarray(z * scale, dtype=np.float32)

    Z, Zv = contexts(y), contexts(v)
    W = rng.standard_normal((layers, count, width, d)) / np.sqrt(width)
    R = np.linalg.qr(W, mode="r")
    one = sorted(seconds(lambda: rank_heads(Z, y, Zv, v, R))[0] for _ in range(3))[1]
    two = sorted(seconds(lambda: rank_heads(Z, y, Zv, v, R, threads=2))[0] for _ in range(3))[1]
    ranking = rank_heads(Z, y, Zv, v, R)
    places = [(i, h) for i in range(layers) for h in range(count)]
    sample = [places[i] for i in rng.choice(len(places), min(24, len(places)), replace=False)]
    took: dict[int, list[float]] = {1: [], 2: []}
    loss_gap, iterations = 0.0, []
    for layer, head in sample:
        E, Ev = (z[:, layer, head].astype(np.float64) @ W[layer, head].T for z in (Z, Zv))
        model = LogisticRegression(fit_intercept=False, max_iter=10000)
        for threads, times in took.items():
            with threadpool_limits(threads):
                times.append(seconds(lambda m=model, e=(E, y): m.fit(*e))[0])
        iterations.append(int(model.n_iter_[0]))
        logits = model.decision_function(Ev)
        loss = np.mean(np.logaddexp(0, np.where(v == 1, -logits, logits)))
        loss_gap = max(loss_gap, abs(loss - ranking.log_loss[layer, head]))
    theirs = {threads: float(np.mean(times)) * len(places) for threads, times in took.items()}
    return {
        "layers": layers, "heads": count, "d_head": d, "width": width, "n": n, "n_val": n_val,
        "seconds_1_thread": one, "seconds_2_threads": two,
        "sklearn_seconds_1_thread": theirs[1], "sklearn_seconds_2_threads": theirs[2],
        "sklearn_heads_sampled": len(sample),
        "sklearn_median_iterations": float(np.median(iterations)),
        "ratio_both_on_1_thread": theirs[1] / one, "ratio_both_on_2_threads": theirs[2] / two,
        "ratio_2_threads_against_1": theirs[1] / two,
        "largest_log_loss_gap": float(loss_gap),
    }  # fmt: skip


if __name__ == "__main__":
    main()
