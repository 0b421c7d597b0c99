"""Directions of known edits: matching by path, the mean change, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from clipsieve.errors import UserError
from clipsieve.interpretation.concepts import edit_direction, match_edited


def test_images_are_matched_by_path_without_image_set_and_extension():
    source = ["real/a/1.png", "real/a/2.png", "real/b/1.png", "real/3.tar.png"]
    edited = ["real_jpeg/b/1.jpg", "real_jpeg/3.tar.jpg", "real_jpeg/a/1.jpg", "real_jpeg/x.jpg"]
    first, second = match_edited(source, edited)
    assert first.tolist() == [0, 2, 3]
    assert second.tolist() == [2, 0, 1]


def test_ambiguous_and_foreign_images_are_refused():
    with pytest.raises(UserError, match="same path"):
        match_edited(["real/1.png", "real/1.jpg"], ["edit/1.png"])
    with pytest.raises(UserError, match="none of 1"):
        match_edited(["real/1.png"], ["edit/2.png"])


def test_direction_is_the_mean_change():
    rng = np.random.default_rng(0)
    source, shift = rng.normal(size=(50, 6)), rng.normal(size=6)
    edited = source + shift + rng.normal(size=(50, 6)) * 0.1
    by_loop = sum(edited[i] - source[i] for i in range(50)) / 50
    np.testing.assert_allclose(edit_direction(source, edited), by_loop)
    with pytest.raises(ValueError, match="changed no embedding"):
        edit_direction(source, source)
    with pytest.raises(ValueError, match="not the same images"):
        edit_direction(source, edited[:-1])
