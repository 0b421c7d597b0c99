"""A function that is handed the wrong rows raises, and says which."""

from __future__ import annotations

import numpy as np
import pytest

from clipsieve.errors import UserError
from clipsieve.io.roles import EVALUATION, FITTING, RoleError, require_excluded, require_splits


def test_rows_of_allowed_splits_pass() -> None:
    require_splits(np.array(["train", "val", "train"]), FITTING, "search a--b")
    require_splits(["test"], EVALUATION, "transfer")
    require_splits([], EVALUATION, "transfer")


def test_a_test_row_in_a_search_is_named() -> None:
    with pytest.raises(RoleError, match=r"search a--b: .*1 of 'test' \(first: a/3\.png\)"):
        require_splits(["train", "test"], FITTING, "search a--b", ids=["a/1.png", "a/3.png"])


def test_train_and_val_rows_in_an_evaluation_are_counted() -> None:
    with pytest.raises(UserError, match="2 of 'train', 1 of 'val'"):
        require_splits(["train", "test", "val", "train"], EVALUATION, "transfer")


def test_a_row_without_a_split_is_refused() -> None:
    with pytest.raises(RoleError, match="1 of 'None'"):
        require_splits([None, "train"], FITTING, "fit")  # type: ignore[list-item]


def test_a_misspelt_split_cannot_allow_anything() -> None:
    with pytest.raises(RoleError, match="there is no split 'valid'"):
        require_splits(["train"], ("train", "valid"), "fit")


def test_search_generators_are_out_of_the_evaluation() -> None:
    require_excluded(["a", "b"], ["c"], "transfer")
    with pytest.raises(RoleError, match="b, c took part"):
        require_excluded(["a", "b", "c"], ["b", "c", "d"], "transfer of components/b--c")
