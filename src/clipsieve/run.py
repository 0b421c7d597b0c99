"""A run's results in a notebook: data frames and arrays, read from its files when they are asked for."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipsieve.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from clipsieve.io.feature_sets import FeatureSet
    from clipsieve.io.probes import StoredProbe

#: The resolved config in a run's folder, written when the workflow starts.
CONFIG_NAME = "config.json"
#: Where runs have it that were finished before there was such a file.
_RECORD_NAME = "provenance.json"


def open_run(path: str | os.PathLike[str]) -> RunResults:
    """Open a run, finished or not.

    Parameters
    ----------
    path
        The run's folder, `results/<run>`.

    Raises
    ------
    UserError
        The folder is missing or is not a run of this workflow.

    Examples
    --------
    >>> import clipsieve
    >>> run = clipsieve.open_run("results/demo")
    >>> run
    RunResults('results/demo')
    >>> run.encoders
    ['clip_b16', 'tiny']
    """
    return RunResults(Path(path))


class RunResults:
    """What a run found; made by `open_run`.

    Nothing is read before it is asked for, so a run that is still at work opens too: what is not
    there yet is named in a `UserError` when it is asked for. Labels are 0 = generated and 1 = real;
    a large logit says real.

    Attributes
    ----------
    path : Path
        The run's folder.
    config : dict
        The resolved config: every key, with defaults filled in.

    Examples
    --------
    >>> run = open_run("results/demo")
    >>> run.config["run"], run.seeds
    ('demo', [0])
    >>> run.generators[:2]
    ['cyclegan_vintage', 'style_mosaic']
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config: dict[str, Any] = _read_config(path)

    def __repr__(self) -> str:
        return f"RunResults({str(self.path)!r})"

    @property
    def encoders(self) -> list[str]:
        """Ids of the encoders, in the config's order."""
        return list(self.config["use"]["encoders"])

    @property
    def generators(self) -> list[str]:
        """Ids of the generators, in the config's order."""
        return list(self.config["use"]["generators"])

    @property
    def seeds(self) -> list[int]:
        """Seeds of the splits."""
        return list(self.config["seeds"])

    @property
    def tables(self) -> list[str]:
        """Names of the tables that are there, for `table`."""
        return _stems(self.path / "tables", "csv")

    def images(self) -> pd.DataFrame:
        """Return the manifest: one row for each image, with its file facts, group and split.

        Examples
        --------
        >>> images = open_run("results/demo").images()
        >>> images.groupby("split")["image_id"].count().to_dict()
        {'test': 54, 'train': 18, 'val': 18}
        """
        return self._read(self.path / "manifest.parquet")

    def embeddings(self, encoder: str, image_set: str) -> pd.DataFrame:
        """Return the embeddings of an image set.

        Parameters
        ----------
        encoder
            One of `encoders`.
        image_set
            A generator, a source, or a perturbed image set `<image set>__<purpose>__<edit>`.

        Returns
        -------
        DataFrame
            float32 [N, D]; the index is `image_id`, the columns are 0 .. D - 1.

        Examples
        --------
        >>> run = open_run("results/demo")
        >>> run.embeddings("clip_b16", "up_nearest").shape
        (10, 60)
        """
        import pandas as pd

        from clipsieve.io.store import read_embeddings

        _require("encoder", encoder, self.encoders)
        folder = self.path / "embeddings" / encoder
        if not (folder / f"{image_set}.h5").is_file():
            _require("embeddings of the image set", image_set, _stems(folder, "h5"))
        stored = read_embeddings(folder / f"{image_set}.h5")
        return pd.DataFrame(stored.embedding, index=pd.Index(stored.image_id, name="image_id"))

    def feature_sets(self, encoder: str, seed: int = 0) -> dict[str, FeatureSet]:
        """Return the feature sets by id: columns, pair, excluded generators and what they say.

        Examples
        --------
        >>> found = open_run("results/demo").feature_sets("clip_b16")
        >>> found["components/up_nearest--denoise_nlm_8"].excluded
        ('up_nearest', 'denoise_nlm_8')
        """
        from clipsieve.io.feature_sets import read_feature_sets

        folder = self._folder(encoder, seed) / "features"
        files = [_existing(folder / f"{stem}.json") for stem in _stems(folder, "json")]
        if not files:
            _existing(folder)
        return {item.feature_set: item for path in files for item in read_feature_sets(path)}

    def scores(self, encoder: str, feature_set: str, seed: int = 0, draw: int = 0) -> pd.DataFrame:
        """Return the logits of a feature set's probes on the test images.

        Parameters
        ----------
        encoder, feature_set, seed
            Which; a feature set is `all`, `components/<pair>` and so on (`feature_sets` has them).
        draw
            Which draw of a control that is drawn many times.

        Returns
        -------
        DataFrame
            float64: the index is `image_id`, one column for each training generator. Images of
            generators that were used to select the feature set are left out.

        Examples
        --------
        >>> run = open_run("results/demo")
        >>> scores = run.scores("clip_b16", "all")
        >>> scores.shape
        (54, 8)
        >>> images = run.images().set_index("image_id").loc[scores.index]
        >>> right = (scores["up_nearest"] > 0) == (images["label"] == 1)
        >>> by_set = right.groupby(images["image_set"]).mean()
        >>> len(by_set)
        9
        """
        import pandas as pd

        from clipsieve.io.scores import read_scores

        family = self._feature_set(encoder, feature_set, seed).family
        path = self._folder(encoder, seed) / "scores" / f"{family}.h5"
        found = read_scores([_existing(path)])
        mine = {one.draw: one for one in found.scores if one.feature_set == feature_set}
        _require(f"draw of {feature_set}", draw, mine)
        index = pd.Index(found.images.image_id.astype(object), name="image_id")
        frame = pd.DataFrame(mine[draw].logits.T, index=index, columns=mine[draw].train)
        return frame.dropna(how="all")

    def probe(
        self, encoder: str, feature_set: str, generator: str, seed: int = 0, draw: int = 0
    ) -> StoredProbe:
        """Return a finished probe.

        Parameters
        ----------
        encoder, feature_set, seed, draw
            As for `scores`.
        generator
            The one that it was trained on.

        Returns
        -------
        StoredProbe
            `coef`, `intercept`, `columns` (of the embedding, or heads; None is all columns),
            `threshold` (logit, fixed on val), `params` (what the grid chose), `facts`.

        Examples
        --------
        Its logits are those of `scores`:

        >>> import numpy as np
        >>> run = open_run("results/demo")
        >>> probe = run.probe("clip_b16", "components/up_nearest--denoise_nlm_8", "style_mosaic")
        >>> logits = run.embeddings("clip_b16", "photographs")[probe.columns] @ probe.coef
        >>> scores = run.scores("clip_b16", "components/up_nearest--denoise_nlm_8")["style_mosaic"]
        >>> mine = (logits + probe.intercept).loc[lambda z: z.index.isin(scores.index)]
        >>> bool(np.allclose(mine, scores.loc[mine.index]))
        True
        """
        from clipsieve.io.probes import read_probes

        _require("generator", generator, self.generators)
        family = self._feature_set(encoder, feature_set, seed).family
        path = _existing(self._folder(encoder, seed) / "probes" / family / f"{generator}.npz")
        mine = {one.draw: one for one in read_probes(path) if one.feature_set == feature_set}
        if not mine:
            raise UserError(
                f"{path}: no probe of {feature_set}, because {generator} was used for its selection"
            )
        _require(f"draw of {feature_set}", draw, mine)
        return mine[draw]

    def cells(self) -> pd.DataFrame:
        """Return every cell of every transfer matrix, of all encoders and seeds.

        Examples
        --------
        >>> cells = open_run("results/demo").cells()
        >>> mine = cells.query("encoder == 'clip_b16' and feature_set == 'all' and metric == 'auc'")
        >>> mine.pivot(index="train", columns="test", values="value").shape
        (8, 8)
        """
        return self._joined("cells")

    def means(self) -> pd.DataFrame:
        """Return the means over cells with their intervals and differences to the baseline.

        Examples
        --------
        >>> means = open_run("results/demo").means()
        >>> "all" in set(means["feature_set"])
        True
        """
        return self._joined("means")

    def controls(self) -> pd.DataFrame:
        """Return the ranks of the selected sets among their controls.

        Examples
        --------
        >>> sorted(set(open_run("results/demo").controls()["encoder"]))
        ['clip_b16', 'tiny']
        """
        return self._joined("controls")

    def searches(self, encoder: str, train: str, val: str, seed: int = 0) -> pd.DataFrame:
        """Return the steps of a search that trained on one generator and scored on another.

        Returns
        -------
        DataFrame
            One row for each step: the column that was removed, the score after it, and more
            (docs/formats.md, Search). `attrs` holds the parameters, `initial_score`, where each
            rule would stop (`stops`), and the columns `kept` under the run's own rule (`alpha`).

        Examples
        --------
        >>> steps = open_run("results/demo").searches("clip_b16", "up_nearest", "denoise_nlm_8")
        >>> len(steps), steps["removed"].is_unique
        (59, True)
        """
        from clipsieve.config import default
        from clipsieve.io.tables import read_table
        from clipsieve.selection.greedy.stop import kept_at

        path = self._folder(encoder, seed) / "searches" / f"{train}--{val}.parquet"
        if not path.is_file():
            _require("search", f"{train}--{val}", _stems(path.parent, "parquet"))
        steps, note = read_table(path)
        alpha = self.config.get("search", {}).get("alpha", default("search.alpha"))
        steps.attrs.update(note, alpha=alpha, kept=kept_at(steps, note, alpha))
        return steps

    def table(self, name: str) -> pd.DataFrame:
        """Return a table of the report, by its file's name.

        Examples
        --------
        >>> run = open_run("results/demo")
        >>> run.tables
        ['means']
        >>> len(run.table("means")) == len(run.means())
        True
        """
        import pandas as pd

        if name not in self.tables:
            _require("table", name, self.tables)
        return pd.read_csv(self.path / "tables" / f"{name}.csv")

    def _folder(self, encoder: str, seed: int) -> Path:
        _require("encoder", encoder, self.encoders)
        _require("seed", seed, self.seeds)
        return self.path / f"seed{seed}" / encoder

    def _feature_set(self, encoder: str, feature_set: str, seed: int) -> FeatureSet:
        known = self.feature_sets(encoder, seed)
        _require("feature set", feature_set, known)
        return known[feature_set]

    def _read(self, path: Path) -> pd.DataFrame:
        from clipsieve.io.tables import read_table

        table, note = read_table(_existing(path))
        table.attrs.update(note)
        return table

    def _joined(self, name: str) -> pd.DataFrame:
        """Read a table of every encoder and seed; those that are not there yet are warned of."""
        import pandas as pd

        paths = [
            self._folder(encoder, seed) / f"{name}.parquet"
            for seed in self.seeds
            for encoder in self.encoders
        ]
        there = [path for path in paths if path.is_file()]
        if not there:
            _existing(paths[0])
        missing = [str(path) for path in paths if path not in there]
        if missing:
            warnings.warn(f"not there yet: {', '.join(missing)}", stacklevel=3)
        tables = [self._read(path) for path in there]
        # an empty table has object columns, which would change the types of the others
        filled = [table for table in tables if len(table)] or tables[:1]
        return pd.concat(filled, ignore_index=True)


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_dir():
        raise UserError(f"{path}: no such folder; give a run, as results/demo")
    for name in (CONFIG_NAME, _RECORD_NAME):
        try:
            found = json.loads((path / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise UserError(f"{path / name}: not readable JSON ({error})") from None
        config = found.get("config") if name == _RECORD_NAME else found
        if not isinstance(config, dict) or not {"run", "use", "seeds"} <= config.keys():
            raise UserError(f"{path / name}: holds no resolved config of clipsieve")
        return config
    raise UserError(
        f"{path}: not a run of clipsieve; it has neither {CONFIG_NAME}, which the workflow writes when"
        f" it starts, nor {_RECORD_NAME}"
    )


def _stems(folder: Path, suffix: str) -> list[str]:
    """Names of the finished files in a folder, without their ending."""
    return sorted(path.stem for path in folder.glob(f"*.{suffix}") if path.name[0] != ".")


def _require(what: str, given: object, known: Iterable[object]) -> None:
    there = list(known)
    if given not in there:
        listed = ", ".join(map(str, there)) or "none yet"
        raise UserError(f"{what} {given!r} is not in this run; there is: {listed}")


def _existing(path: Path) -> Path:
    if not path.exists():
        raise UserError(f"{path} is not there yet: this part of the run is not finished")
    return path
