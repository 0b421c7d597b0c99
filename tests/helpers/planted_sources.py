"""Image sets with planted truth: sources that differ in a direction, generators that share a trace."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from clipsieve.cli import main
from clipsieve.io import store
from clipsieve.io.feature_sets import FeatureSet, write_feature_sets
from clipsieve.io.tables import write_table

D = 16
SOURCE_OF = {"a": "coco", "b": "coco", "c": "laion", "d": "laion", "e": "laion"}
FAMILY_OF = {"a": "gan", "b": "gan", "c": "gan", "d": "diffusion", "e": "diffusion"}
SIZES = {"coco": 80, "laion": 120, "a": 80, "b": 40, "c": 120, "d": 60, "e": 120}


class Planted:
    """Files of five generators of two sources below a folder.

    A generated image lies at `trace` along axis 1. Its subjects are nobody's, so that it lies half-way
    between the sources along axis 0, where the real images of a source lie at -`bias` or `bias`.
    """

    def __init__(self, folder: Path, *, bias: float = 3.0, trace: float = 1.5, seed: int = 0):
        self.folder = folder
        for name, groups in SIZES.items():
            rng = np.random.default_rng([seed, len(name), ord(name[0])])
            X = rng.normal(size=(groups, D))
            real = name in SOURCE_OF.values()
            if real:
                X[:, 0] += bias if name == "coco" else -bias
            else:
                X[:, 1] += trace
            self.write(name, X)

    def file(self, name: str) -> Path:
        return self.folder / "embeddings" / f"{name}.h5"

    def split(self, name: str) -> Path:
        return self.folder / "splits" / f"{name}.parquet"

    def write(self, name: str, X: np.ndarray) -> None:
        ids = [f"{name}/g{i}.png" for i in range(len(X))]
        store.write_embeddings(self.file(name), image_id=ids, embedding=X.astype(np.float32))
        real = name in SOURCE_OF.values()
        frame = pd.DataFrame({
            "image_id": ids,
            "group": [f"g{i}" for i in range(len(X))],
            "label": int(real),
            "generator": None if real else name,
            "split": [("train", "train", "val", "test")[i % 4] for i in range(len(X))],
        })  # fmt: skip
        write_table(frame, self.split(name))

    def shift(self, name: str, split: str | None, by: float = 50.0) -> None:
        """Move the images of a set in one split (None: all) a long way, along no axis."""
        X = store.read_embeddings(self.file(name)).embedding.astype(float)
        place = np.arange(len(X)) % 4
        wanted = {"train": place < 2, "val": place == 2, "test": place == 3, None: place >= 0}
        X[wanted[split]] += by * np.random.default_rng(9).normal(size=D)
        self.write(name, X)

    def select(self, *sets: FeatureSet) -> Path:
        path = self.folder / "features.json"
        write_feature_sets(path, sets)
        return path

    def image_sets(self, *generators: str) -> list[str]:
        names = dict.fromkeys([*generators, *(SOURCE_OF[g] for g in generators)])
        return [
            "--embeddings", *(str(self.file(name)) for name in names),
            "--splits", *(str(self.split(name)) for name in names),
        ]  # fmt: skip

    def fit(self, features: Path, train: str, *members: str, kind: str = "", tested: str = ""):
        """Fit on a generator, or on a training set of `members`; return the file."""
        output = self.folder / "probes" / f"{train}.npz"
        options = [*self.image_sets(*(members or (train,))), "--grid", "fast", "--score", "auc"]
        if members:
            sources = json.dumps({g: SOURCE_OF[g] for g in members})
            options += ["--train-set", train, "--kind", kind, "--sources", sources]
            options += ["--tested", tested] if tested else []
        assert main(["fit", "--features", str(features), *options, "--output", str(output)]) == 0
        return output

    def fit_everything(self, features: Path, sets: tuple[str, ...] = ()) -> list[Path]:
        """Fit on each generator and on all but each; `sets` are further ones, "name=a,b"."""
        found = [self.fit(features, g) for g in SOURCE_OF]
        for g in SOURCE_OF:
            rest = [other for other in SOURCE_OF if other != g]
            found.append(self.fit(features, f"all_but_{g}", *rest, kind="all_but_one", tested=g))
        for text in sets:
            name, _, members = text.partition("=")
            found.append(self.fit(features, name, *members.split(","), kind="set"))
        return found

    def transfer(self, features: Path, probes: list[Path], name: str = "scores") -> Path:
        output = self.folder / f"{name}.h5"
        command = [
            "transfer", "--features", str(features), "--probes", *map(str, probes),
            *self.image_sets(*SOURCE_OF), "--run", "r", "--encoder", "e", "--seed", "0",
            "--families", json.dumps(FAMILY_OF), "--sources", json.dumps(SOURCE_OF),
            "--output", str(output),
        ]  # fmt: skip
        assert main(command) == 0
        return output

    def evaluate(self, features: list[Path], scores: list[Path]) -> dict[str, pd.DataFrame]:
        tables = ("cells", "means", "controls", "optimism", "pairs", "ranking", "operating")
        outputs = [x for t in tables for x in (f"--{t}", str(self.folder / f"{t}.parquet"))]
        command = [
            "evaluate", "--scores", *map(str, scores), "--features", *map(str, features),
            "--resamples", "100", "--flips", "200", *outputs,
        ]  # fmt: skip
        assert main(command) == 0
        return {t: pd.read_parquet(self.folder / f"{t}.parquet") for t in tables}
