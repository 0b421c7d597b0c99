"""A small run on disk that a detector can be exported from, and pictures that it tells apart."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from clipsieve.cli import main
from clipsieve.encoders import load_encoder
from clipsieve.images.facts import file_facts
from clipsieve.io import store
from clipsieve.io.probes import StoredProbe, write_probes
from clipsieve.io.tables import write_table
from clipsieve.probes import fit_probe, residual, residual_feature
from tests.helpers.score_files import write_score_table

SETS = ("real", "one", "two", "three")
N = 40
SPLITS = np.array(["train"] * 14 + ["val"] * 6 + ["test"] * 20)
HEADS = [[0, 1], [1, 0]]
SPEC = {"model": "tiny", "weights": None, "seed": 0}


def picture(rng: np.random.Generator, kind: str) -> Image.Image:
    """A smooth random picture; generated ones carry a lattice as decoders leave it."""
    small = rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)
    image = np.asarray(Image.fromarray(small).resize((64, 64), Image.Resampling.BICUBIC))
    if kind != "real":
        lattice = np.indices((64, 64)).sum(axis=0) % 2
        image = np.clip(
            image + (lattice * {"one": 60, "two": 50, "three": 20}[kind])[..., None], 0, 255
        )
    return Image.fromarray(image.astype(np.uint8))


class Run:
    """A small run on disk, made with the public functions of the earlier stages."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.run = root / "results/small"
        self.base = self.run / "seed0/tiny"
        rng = np.random.default_rng(0)
        self.encoder = load_encoder(SPEC)
        self.embedding, self.heads = {}, {}
        for name in SETS:
            folder = root / "images" / name
            folder.mkdir(parents=True)
            for i in range(N):
                picture(rng, name).save(folder / f"{i:02}.png")
            self.embed(name)
        self.fit()

    def embed(self, name: str) -> None:
        files = sorted((self.root / "images" / name).iterdir())
        X, Z = self.encoder.encode_images([Image.open(p).convert("RGB") for p in files])
        self.embedding[name], self.heads[name] = X, Z
        ids = [f"{name}/{p.name}" for p in files]
        store.write_embeddings(
            self.run / f"embeddings/tiny/{name}.h5", image_id=ids, embedding=X, heads=Z,
            head_basis=self.encoder.head_basis(), attributes={**self.encoder.attributes(), "background": [0, 0, 255]},
        )  # fmt: skip
        real = name == "real"
        facts = pd.DataFrame([vars(file_facts(path)) for path in files])
        table = facts.assign(
            image_id=ids, image_set=name, generator=None if real else name, source="real",
            label=int(real), group=[f"g{i}" for i in range(N)],
        )  # fmt: skip
        write_table(table, self.run / f"images/{name}.parquet")
        columns = ["image_id", "group", "label", "generator"]
        write_table(table[columns].assign(split=SPLITS), self.run / f"seed0/splits/{name}.parquet")

    def features(self, kind: str, train: str) -> dict[str, np.ndarray]:
        if kind == "all":
            return {name: X.astype(np.float64) for name, X in self.embedding.items()}
        if kind == "residual":
            rows = SPLITS == "train"
            X = np.concatenate([self.embedding[train][rows], self.embedding["real"][rows]])
            self.gap = residual(X, np.repeat([0, 1], rows.sum()))
            return {name: residual_feature(X, self.gap) for name, X in self.embedding.items()}
        basis = self.encoder.head_basis()
        return {
            name: np.concatenate([Z[:, i, h] @ basis[i, h].T for i, h in HEADS], axis=1)
            for name, Z in self.heads.items()
        }

    def words(self) -> None:
        """Embed a few texts, as made-up vectors."""
        rng = np.random.default_rng(1)
        vectors = rng.normal(size=(30, self.embedding["real"].shape[1])).astype(np.float32)
        store.write_texts(
            self.run / "texts/tiny/phrases.h5",
            text=[f"text {k}" for k in range(30)],
            embedding=vectors,
            duplicate_of=np.full(30, -1),
            attributes={"encoder": "tiny"},
        )

    def fit(self) -> None:
        (self.run / "config.json").write_text(json.dumps({"run": "small", "align": None}))
        self.words()
        self.logits: dict[tuple[str, str, str], np.ndarray] = {}
        for kind in ("all", "residual", "heads"):
            rows = []
            feature_set = "heads/one--two" if kind == "heads" else kind
            for train in SETS[1:]:
                X = self.features(kind, train)
                masks = SPLITS == "train", SPLITS == "val"
                parts = [np.concatenate([X[train][m], X["real"][m]]) for m in masks]
                ys = [np.repeat([0, 1], len(part) // 2) for part in parts]
                probe = fit_probe(parts[0], ys[0], parts[1], ys[1], grid="fast", fit_intercept=True)
                stored = StoredProbe(
                    feature_set, 0, train, "embedding" if kind == "all" else kind,
                    HEADS if kind == "heads" else None, probe.coef, probe.intercept,
                    probe.threshold, probe.params, {"residual_kind": "cosine"},
                    self.gap if kind == "residual" else None,
                )  # fmt: skip
                write_probes(self.base / f"probes/{kind}/{train}.npz", [stored])
                for name in SETS:
                    z = probe.logits(X[name])
                    self.logits[kind, train, name] = z
                    for i in np.flatnonzero(SPLITS == "test"):
                        rows.append(
                            ("tiny", 0, feature_set, 0, train, name,
                             None if name == "real" else name, f"{name}/{i:02}.png", f"g{i}",
                             int(name == "real"), "test", z[i], probe.threshold)
                        )  # fmt: skip
            columns = [
                "encoder", "seed", "feature_set", "draw", "train", "image_set", "generator",
                "image_id", "group", "label", "split", "logit", "threshold",
            ]  # fmt: skip
            write_score_table(
                self.base / f"scores/{kind}.h5", pd.DataFrame(rows, columns=columns),
                sources=dict.fromkeys(SETS[1:], "real"), families=dict.fromkeys(SETS[1:], "gan"),
            )  # fmt: skip

    def export(self, kind: str, *trains: str, options: tuple[str, ...] = ()) -> Path:
        output = self.root / f"detectors/{kind}-{'-'.join(trains)}"
        feature_set = "heads/one--two" if kind == "heads" else kind
        status = main(
            ["export", str(self.run), "--feature-set", feature_set,
             *(["--train", *trains] if trains else []),
             "--resamples", "200", "--output", str(output), *options]
        )  # fmt: skip
        assert status == 0
        return output

    def test_logits(self, kind: str, trains: tuple[str, ...], name: str) -> np.ndarray:
        return np.mean([self.logits[kind, t, name] for t in trains], axis=0)[SPLITS == "test"]
