"""Rows of the transfer matrix that are trained on several generators: their cells, and means over them.

A row is tested on the generators outside its training set, so rows have different cells. They are
averaged apart from the rows trained on one generator.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipsieve.errors import UserError
from clipsieve.evaluation import means
from clipsieve.evaluation.matrix import Layout, Matrix, transfer_matrix
from clipsieve.io.scores import Scores
from clipsieve.io.training import NAMED


@dataclass(frozen=True)
class Several:
    """Rows of one feature set, draw and kind of training sets.

    Attributes
    ----------
    rows
        One matrix for each row that is tested on a generator, with its own columns.
    whole
        All rows and columns in one matrix; zeros where a row is not tested.
    there
        Which cells there are, bool [P, J].
    """

    rows: list[Matrix]
    whole: Matrix
    there: NDArray[np.bool_]

    def cells_like(self, train: list[str], test: list[str]) -> Several:
        """Return the cells of these rows and columns alone, without `rows`.

        Raises
        ------
        UserError
            A row or column is not there.
        """
        part = means.restricted(self.whole, train, test)
        if part is None:
            raise UserError(
                f"evaluation: {self.whole.feature_set} lacks a training set that others have"
            )
        rows = [self.whole.train.index(name) for name in train]
        columns = [self.whole.test.index(name) for name in test]
        return Several([], part, self.there[np.ix_(rows, columns)])


def several_rows(scores: Scores, layout: Layout, *, replicate: bool = True) -> Several | None:
    """Work out the cells of rows that are trained on several generators.

    Parameters
    ----------
    scores
        Logits of their probes; NaN on the images of a row's own training set.
    layout, replicate
        As `transfer_matrix`.

    Returns
    -------
    Several or None
        None where no row is tested on a generator.
    """
    rows = []
    for i in range(len(scores.train)):
        found = transfer_matrix(scores.row(i), layout, replicate=replicate)
        if found.test:
            rows.append(found)
    if not rows:
        return None
    tested = {name for row in rows for name in row.test}
    test = [name for name in layout.source if name in tested]
    shape = (len(rows[0].values), len(rows), len(test))
    values, there = np.zeros(shape), np.zeros(shape[1:], dtype=bool)
    replicates = None
    if replicate:
        replicates = np.zeros((*shape, layout.weights.shape[1]), dtype=np.float32)
    influence = []
    for i, row in enumerate(rows):
        columns = [test.index(name) for name in row.test]
        there[i, columns] = True
        values[:, i, columns] = row.values[:, 0]
        if replicates is not None and row.replicates is not None:
            replicates[:, i, columns] = row.replicates[:, 0]
        for groups, own, part in row.influence:
            padded = np.zeros((shape[0], shape[1], len(own), len(groups)))
            padded[:, i] = part[:, 0]
            influence.append((groups, [columns[k] for k in own], padded))
    names = [row.train[0] for row in rows]
    whole = Matrix(
        scores.feature_set, scores.draw, names, test, values, replicates, influence, scores.training
    )
    return Several(rows, whole, there)


def cell_groups(found: Several, families: Mapping[str, str]) -> dict[str, NDArray[np.bool_]]:
    """Name the groups of cells that are averaged.

    Parameters
    ----------
    found
        Rows of one kind.
    families
        Family of each generator.

    Returns
    -------
    dict
        Masks [P, J]: `all_but_one` or `all_but_family`, every cell of that kind, and
        `all_but_one_on_<family>`, those tested on a generator of a family; for sets of one's own
        `set_<name>` and `set_<name>_on_<family>`. Groups without a cell are left out, and a family
        that is all of its group.
    """
    whole, there = found.whole, found.there
    groups = {whole.training: there}
    if whole.training == NAMED:
        rows = np.arange(len(whole.train))[:, None]
        groups = {f"set_{name}": there & (rows == i) for i, name in enumerate(whole.train)}
    kinds = np.array([families[name] for name in whole.test])
    result = {}
    for name, mask in groups.items():
        result[name] = mask
        for family in sorted(set(kinds)):
            part = mask & (kinds == family)
            if part.sum() < mask.sum():
                result[f"{name}_on_{family}"] = part
    return {name: mask for name, mask in result.items() if mask.any()}
