"""Small mistakes in the source, each of which some unit test must notice.

`make mutations` makes each of them in a copy of the source, runs the tests named beside it, and
lists the mistakes that no test noticed (exit status 1 if there are any). Arguments are parts of
names: `python tests/mutations.py search tune` tries only those mistakes. A mistake is one change of
text that must occur exactly once in its file; where the source moves on, move the mistake with it.
Add one for each new rule about which rows a stage may see, and for each new statistic.
"""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "src/clipsieve"


@dataclass(frozen=True)
class Mutation:
    """One mistake.

    Attributes
    ----------
    name
        What is wrong with the changed source.
    file
        Below the package.
    old, new
        The text and what takes its place.
    tests
        Arguments of pytest: the tests that are to notice, below tests/unit.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


FITTING = '("train", "val", "test")'

MUTATIONS = (
    # roles: which rows a stage may see
    Mutation(
        "search scores groups that it trained on",
        "cli/search.py",
        "    scored = scored.without_groups_of(train)\n",
        "",
        ("cli/test_search.py",),
    ),
    Mutation(
        "search scores test rows",
        "cli/search.py",
        "args.val_splits, FITTING, what",
        f"args.val_splits, {FITTING}, what",
        ("cli/test_search.py",),
    ),
    Mutation(
        "search trains on val rows",
        "cli/search.py",
        'args.train_splits, ("train",), what',
        "args.train_splits, FITTING, what",
        ("cli/test_search.py",),
    ),
    Mutation(
        "rank-heads scores groups that it trained on",
        "cli/rank_heads.py",
        "FITTING, what).without_groups_of(train)",
        "FITTING, what)",
        ("cli/test_rank_heads.py",),
    ),
    Mutation(
        "rank-heads scores test rows",
        "cli/rank_heads.py",
        "splits, FITTING, what",
        f"splits, {FITTING}, what",
        ("cli/test_rank_heads.py",),
    ),
    Mutation(
        "rank-heads trains on val rows",
        "cli/rank_heads.py",
        'args.train_splits, ("train",), f"heads',
        'args.train_splits, FITTING, f"heads',
        ("cli/test_rank_heads.py",),
    ),
    Mutation(
        "fit chooses by test rows",
        "cli/fit.py",
        'rows.of("train"), rows.of("val")',
        'rows.of("train"), read_rows(args.embeddings, args.splits, ("val", "test"), what)',
        ("cli/test_fit.py",),
    ),
    Mutation(
        "fit tunes heads on test rows",
        "cli/fit.py",
        'FITTING, f"{what}: rows to tune on"',
        f'{FITTING}, f"{{what}}: rows to tune on"',
        ("cli/test_fit.py",),
    ),
    Mutation(
        "fit tunes heads on groups that it trained on",
        "selection/set_probes.py",
        "TuneRows(X, self.tune.label, group, self.tune.apart_from(self.train))",
        "TuneRows(X, self.tune.label, group, self.tune.label >= 0)",
        ("cli/test_fit.py",),
    ),
    Mutation(
        "fit trains generators that the selection was given",
        "cli/fit.py",
        "            if generator in feature_set.excluded:\n                continue\n",
        "",
        ("cli/test_fit.py",),
    ),
    Mutation(
        "fit shuffles labels without their groups",
        "selection/set_probes.py",
        "seed=own, groups=rows.group)[0]",
        "seed=own)[0]",
        ("cli/test_fit.py",),
    ),
    Mutation(
        "fit gives every draw the same permutation of labels",
        "selection/set_probes.py",
        "own = seed_of(seed, draw, data.generator)",
        "own = seed_of(seed, data.generator)",
        ("cli/test_fit.py",),
    ),
    Mutation(
        "select reads test rows",
        "cli/select.py",
        'args.splits, FITTING, f"select',
        f'args.splits, {FITTING}, f"select',
        ("cli/test_select.py",),
    ),
    Mutation(
        "transfer applies to val rows",
        "cli/transfer.py",
        '[splits], EVALUATION, f"transfer',
        '[splits], ("val", "test"), f"transfer',
        ("probes/test_apply.py",),
    ),
    Mutation(
        "apply lets probes see rows of any split",
        "probes/apply.py",
        '    require_splits(rows.split, EVALUATION, "transfer", ids=rows.image_id)\n',
        "",
        ("probes/test_apply.py",),
    ),
    Mutation(
        "apply accepts a probe trained on what its selection was given",
        "probes/apply.py",
        "        require_excluded([probe.train], excluded[probe.feature_set], probe.feature_set)\n",
        "",
        ("probes/test_apply.py",),
    ),
    Mutation(
        "apply scores the generators that a selection was given",
        "probes/apply.py",
        "if not real and image_set in excluded[probe.feature_set]:",
        "if False:",
        ("probes/test_apply.py",),
    ),
    Mutation(
        "evaluation accepts generators that the selection was given",
        "evaluation/feature_set_tables.py",
        "require_excluded([*one.train, *applied], entry.excluded,",
        "require_excluded([*one.train, *applied], (),",
        ("evaluation/test_evaluate.py",),
    ),
    Mutation(
        "evaluation reads scores of val rows",
        "io/tested_images.py",
        'require_splits(columns["split"], EVALUATION,',
        'require_splits(columns["split"], ("train", "val", "test"),',
        ("io/test_scores.py",),
    ),
    Mutation(
        "interpretation reads test rows",
        "interpretation/material.py",
        "embeddings, splits, FITTING, what",
        f"embeddings, splits, {FITTING}, what",
        ("cli/test_interpret.py",),
    ),
    Mutation(
        "export fits its likeness on test rows",
        "detector/training_material.py",
        'splits, FITTING, "detector"',
        f'splits, {FITTING}, "detector"',
        ("detector/test_detector.py",),
    ),
    Mutation(
        "random sets are evaluated on one generator of their own pair",
        "families/__init__.py",
        "        return pair[1:]\n    return pair\n",
        "        return pair[1:]\n    return pair[:1]\n",
        ("cli/test_select.py",),
    ),
    Mutation(
        "shortcuts are trained on test images",
        "audits/shortcuts.py",
        "_forest_shares(X[~in_test], label[~in_test], tests, seed)",
        "_forest_shares(X, label, tests, seed)",
        ("audits/test_shortcuts.py",),
    ),
    # splits and groups
    Mutation(
        "split divides images, not groups",
        "cli/split.py",
        'source["group"], images["group"], seed',
        'source["image_id"], images["image_id"], seed',
        ("cli/test_split.py",),
    ),
    Mutation(
        "split ignores the seed",
        "images/splits.py",
        "seed_of(seed, group)",
        "seed_of(0, group)",
        ("images/test_splits.py",),
    ),
    Mutation(
        "split gives the command's seed to nothing",
        "cli/split.py",
        "seed=args.seed, test",
        "seed=0, test",
        ("cli/test_split.py",),
    ),
    Mutation(
        "equal group names of two sources are one group",
        "io/dataset.py",
        "        if not self.shares_groups_with(other):\n"
        "            return np.ones(len(self), dtype=bool)\n",
        "",
        ("io/test_dataset.py",),
    ),
    Mutation(
        "labels are shuffled without their groups",
        "selection/filters.py",
        "np.arange(len(labels)) if groups is None else np.asarray(groups)",
        "np.arange(len(labels))",
        ("selection/test_filters.py",),
    ),
    Mutation(
        "draws of a pair ignore the run's seed",
        "cli/select.py",
        "seed_of(args.seed, *pair)",
        "seed_of(0, *pair)",
        ("cli/test_select.py",),
    ),
    Mutation(
        "folds divide groups",
        "probes/thresholds.py",
        "np.unique(groups, return_inverse=True)",
        "np.unique(np.arange(len(groups)), return_inverse=True)",
        ("probes/test_thresholds.py",),
    ),
    Mutation(
        "thresholds come from fits that saw the rows",
        "probes/thresholds.py",
        "        kept = fit_fold != left_out\n        coef",
        "        kept = fit_fold >= 0\n        coef",
        ("probes/test_thresholds.py",),
    ),
    Mutation(
        "operating points come from the logits of one fit on what it was fitted on",
        "probes/thresholds.py",
        "    if folds is None:\n        return thresholds_of(*otherwise",
        "    if True:\n        return thresholds_of(*otherwise",
        ("probes/test_thresholds.py",),
    ),
    Mutation(
        "transfer forgets the thresholds of val",
        "probes/apply.py",
        "[probe.threshold for probe in mine]",
        "[0.0 for probe in mine]",
        ("probes/test_apply.py",),
    ),
    Mutation(
        "a detector is calibrated by the images that it is judged on",
        "detector/calibration.py",
        "seen = others & (part != fold)",
        "seen = others & (part >= 0)",
        ("detector/test_calibration.py",),
    ),
    # resamples, intervals and tests
    Mutation(
        "resamples draw n of n groups",
        "evaluation/bootstrap.py",
        "rng.multinomial(n - 1, np.full(n, 1 / n), size=resamples)\n"
        "        weights[rows] = counts.T * (n / (n - 1))",
        "rng.multinomial(n, np.full(n, 1 / n), size=resamples)\n        weights[rows] = counts.T",
        ("evaluation/test_bootstrap.py",),
    ),
    Mutation(
        "resamples ignore the seed",
        "evaluation/bootstrap.py",
        "rng = np.random.default_rng(seed)",
        "rng = np.random.default_rng(0)",
        ("evaluation/test_bootstrap.py",),
    ),
    Mutation(
        "resamples mix sources",
        "evaluation/bootstrap.py",
        "keys[group] = (source, stratum)",
        "keys[group] = (0, stratum)",
        ("evaluation/test_bootstrap.py",),
    ),
    Mutation(
        "intervals are not widened by Student's t",
        "evaluation/bootstrap.py",
        "ndtri(tail) if freedom is None else stdtrit(freedom, tail)",
        "ndtri(tail)",
        ("evaluation/test_bootstrap.py",),
    ),
    Mutation(
        "the sign-flip test has one side",
        "evaluation/significance.py",
        "sums = np.abs(shares.astype(np.float32) @ signs)",
        "sums = shares.astype(np.float32) @ signs",
        ("evaluation/test_significance.py",),
    ),
    Mutation(
        "p values can be 0",
        "evaluation/significance.py",
        "p[known] = (1 + reached) / (1 + self.flips)",
        "p[known] = reached / self.flips",
        ("evaluation/test_significance.py",),
    ),
    Mutation(
        "Holm's rule without the running maximum",
        "evaluation/significance.py",
        "np.maximum.accumulate(p[order] * factors)",
        "(p[order] * factors)",
        ("evaluation/test_significance.py",),
    ),
    Mutation(
        "the rank's p value does not count the selection itself",
        "evaluation/ranks.py",
        "return 1 + at_least, (1 + at_least) / (1 + len(draws))",
        "return 1 + at_least, at_least / len(draws)",
        ("evaluation/test_evaluate.py", "evaluation/test_significance.py"),
    ),
    Mutation(
        "ties with a draw count for the selection",
        "evaluation/ranks.py",
        "(draws >= value).sum()",
        "(draws > value).sum()",
        ("evaluation/test_evaluate.py", "evaluation/test_significance.py"),
    ),
    Mutation(
        "controls are ranked as if more were better of every metric",
        "evaluation/comparisons.py",
        "rank_among(value, drawn, less=not RECORDS[metric].higher_is_better)",
        "rank_among(value, drawn)",
        ("evaluation/test_evaluate.py",),
    ),
    Mutation(
        "a generator is left out as row alone",
        "evaluation/generators.py",
        "kept = np.array([[name not in cell for cell in cells] for name in names], dtype=float)\n"
        "        if not kept.any(axis=1).all():\n            return None\n        of_role",
        "kept = np.array([[name != cell[0] for cell in cells] for name in names], dtype=float)\n"
        "        if not kept.any(axis=1).all():\n            return None\n        of_role",
        ("evaluation/test_generators.py",),
    ),
    Mutation(
        "the jackknife forgets its factor (n - 1) / n",
        "evaluation/generators.py",
        "np.sqrt((n - 1) / n) * (without",
        "(without",
        ("evaluation/test_generators.py",),
    ),
    Mutation(
        "the variance between search pairs is left out",
        "evaluation/pairs.py",
        "spread**2 / len(pairs), len(pairs) - 1)",
        "0 * spread, len(pairs) - 1)",
        ("evaluation/test_pairs.py",),
    ),
    Mutation(
        "seeds count as independent samples",
        "evaluation/seeds.py",
        "np.sqrt(1 / seeds + share / (1 - share)) * deviation",
        "np.sqrt(1 / seeds) * deviation",
        ("evaluation/test_seeds.py",),
    ),
    # nulls of the interpretation
    Mutation(
        "random directions have no covariance",
        "interpretation/nulls.py",
        "root = vectors * np.sqrt(np.clip(values, 0.0, None))",
        "root = np.eye(len(values))",
        ("interpretation/test_interpretation.py",),
    ),
    Mutation(
        "p values of cosines can be 0",
        "interpretation/nulls.py",
        "(1.0 + len(ordered) - below) / (1.0 + len(ordered))",
        "(len(ordered) - below) / len(ordered)",
        ("interpretation/test_interpretation.py",),
    ),
    Mutation(
        "p values forget that every text was looked at",
        "interpretation/nulls.py",
        "share_at_least(ranked[:, 0], ours)",
        "share_at_least(ranked[:, -1], ours)",
        ("interpretation/test_interpretation.py",),
    ),
    Mutation(
        "probes are refitted on fewer shuffled labels",
        "interpretation/null_directions.py",
        "draws = -(-REFITS // len(refits))",
        "draws = 1",
        ("interpretation/test_interpretation.py",),
    ),
    Mutation(
        "shuffled residuals forget groups",
        "interpretation/null_directions.py",
        "self.draws, seed=seed, groups=rows.group) == 0",
        "self.draws, seed=seed) == 0",
        ("interpretation/test_interpretation.py",),
    ),
    Mutation(
        "a text stands out against random directions alone",
        "interpretation/nulls.py",
        "        marks &= shuffled.p",
        "        shuffled.p",
        ("interpretation/test_interpretation.py",),
    ),
    Mutation(
        "the correlation's p value has one side",
        "interpretation/correlation.py",
        "reached = np.abs(right[orders] @ left) / scale >= limit",
        "reached = (right[orders] @ left) / scale >= limit",
        ("interpretation/test_correlation.py",),
    ),
    # audits
    Mutation(
        "shortcuts are judged by accuracy",
        "audits/shortcuts.py",
        'row["auc"] >= SEPARATING_AUC and row["auc_low"] > 0.5',
        'row["accuracy"] >= SEPARATING_AUC and row["low"] > 0.5',
        ("audits/test_shortcuts.py",),
    ),
    Mutation(
        "near-duplicates in two splits are no finding",
        "audits/leakage.py",
        'close = _near(rows["perceptual_hash"], splits, near_duplicate_bits)',
        "close: list[tuple[int, int, float]] = []",
        ("audits/test_leakage.py",),
    ),
    Mutation(
        "audit-leakage forgets how near near-duplicates are",
        "cli/audit_leakage.py",
        "near_duplicate_bits=args.near_duplicate_bits)",
        "near_duplicate_bits=0)",
        ("audits/test_leakage.py",),
    ),
    Mutation(
        "a leak stops nothing",
        "cli/audit_leakage.py",
        "        leakage.stop_on_leaks(leaks, str(beside))\n",
        "",
        ("audits/test_leakage.py",),
    ),
)


def copied(folder: Path) -> Path:
    """Copy the package to a folder; return the copy."""
    return Path(shutil.copytree(ROOT / PACKAGE, folder / "clipsieve"))


def import_libraries() -> None:
    """Import what nearly every test needs, once for all forked children; nothing of the package."""
    os.environ["OMP_NUM_THREADS"] = "1"
    for name in ("h5py", "pandas", "pyarrow.parquet", "scipy.stats", "sklearn.ensemble"):
        importlib.import_module(name)


def status_of(source: Path, tests: tuple[str, ...]) -> int:
    """Run unit tests on a copy of the source, in a forked child; return pytest's exit status.

    1 means that a test failed, 0 that all passed.
    """
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    status = 70
    try:
        with open(os.devnull, "w") as nothing:
            os.dup2(nothing.fileno(), 1)
            os.dup2(nothing.fileno(), 2)
        sys.dont_write_bytecode = True
        sys.path[:0] = [str(source.parent), str(ROOT)]
        os.environ["PYTHONPATH"] = os.pathsep.join(sys.path[:2])
        os.chdir(ROOT)
        paths = [str(ROOT / "tests/unit" / test) for test in tests]
        status = int(pytest.main(["-q", "-x", "-p", "no:cacheprovider", *paths]))
        if Path(sys.modules["clipsieve"].__file__ or "").parent != source:
            status = 71  # another copy was tested
    finally:
        os._exit(status)


def tried(mutation: Mutation, source: Path) -> str:
    """Make one mistake in the copy, run its tests, mend it; return how it went."""
    path = source / mutation.file
    text = path.read_text()
    if text.count(mutation.old) != 1:
        return f"BROKEN: its text occurs {text.count(mutation.old)} times in {mutation.file}"
    try:
        path.write_text(text.replace(mutation.old, mutation.new))
        status = status_of(source, mutation.tests)
    finally:
        path.write_text(text)
    if status == 0:
        return "NOT CAUGHT"
    return "caught" if status == 1 else f"BROKEN: pytest ended with status {status}"


def main(words: list[str]) -> int:
    """Try every mistake whose name or file has one of the words; return 1 unless all are caught."""
    chosen = [m for m in MUTATIONS if not words or any(w in f"{m.name} {m.file}" for w in words)]
    import_libraries()
    with tempfile.TemporaryDirectory() as folder:
        source = copied(Path(folder))
        passes: dict[tuple[str, ...], bool] = {}
        found = []
        for mutation in chosen:
            tests = mutation.tests
            if tests not in passes:
                passes[tests] = status_of(source, tests) == 0
            found.append(
                tried(mutation, source)
                if passes[tests]
                else f"BROKEN: {' '.join(tests)} fails without any mistake"
            )
            print(f"{found[-1]}: {mutation.name} ({mutation.file})", flush=True)
    missed = len(found) - found.count("caught")
    print(f"{found.count('caught')} of {len(found)} mistakes caught")
    return int(missed > 0 or not found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
