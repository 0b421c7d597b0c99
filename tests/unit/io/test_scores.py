"""Score files: what is written is read, files are joined on their images, wrong ones are refused."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import h5py
import numpy as np
import pytest

from clipsieve.errors import UserError
from clipsieve.io.roles import RoleError
from clipsieve.io.scores import AllScores, Images, Scores, Twin, read_scores, write_scores
from tests.helpers.score_files import read_score_table

SETS = {"s": 3, "t": 2, "a": 3, "b": 2}  # images of each set; a is made from s, b from t
SOURCE = {"s": "s", "t": "t", "a": "s", "b": "t"}


def images() -> Images:
    image_set = np.repeat(list(SETS), list(SETS.values()))
    number = np.concatenate([np.arange(n) for n in SETS.values()]).astype(str)
    return Images(
        image_id=np.char.add(np.char.add(image_set, "/é "), number),
        image_set=image_set,
        source=np.array([SOURCE[name] for name in image_set]),
        group=number,
        label=np.isin(image_set, ["s", "t"]).astype(np.int64),
        family={"a": "gan", "b": "diffusion"},
        split=np.full(len(number), "test"),
    )


def family(*feature_sets: str, draws: int = 1) -> AllScores:
    there = images()
    rng = np.random.default_rng(len(feature_sets))
    scores = [
        Scores(
            name, draw, ["a", "b"], rng.normal(size=(2, len(there.label))), np.array([0.1, -0.2])
        )
        for name in feature_sets
        for draw in range(draws)
    ]
    return AllScores("clip_b16", 3, there, scores, dict.fromkeys(feature_sets, "fast"), "demo")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    wanted = family("all")
    wanted.scores[0].logits[1, wanted.images.image_set == "b"] = np.nan  # not applied to b
    write_scores(tmp_path / "all.h5", wanted)
    found = read_scores([tmp_path / "all.h5"])
    assert (found.encoder, found.seed, found.run) == ("clip_b16", 3, "demo")
    assert found.grid == {"all": "fast"}
    assert found.images.family == {"a": "gan", "b": "diffusion"}
    for name in ("image_id", "image_set", "source", "group", "label", "split"):
        np.testing.assert_array_equal(getattr(found.images, name), getattr(wanted.images, name))
    (one,) = found.scores
    assert (one.feature_set, one.draw, one.train) == ("all", 0, ["a", "b"])
    np.testing.assert_array_equal(one.logits, wanted.scores[0].logits)
    np.testing.assert_array_equal(one.threshold, [0.1, -0.2])


def test_twins_and_training_sets_come_back_apart_from_the_transfer_matrix(tmp_path: Path) -> None:
    wanted = family("all")
    n = len(wanted.images.label)
    rng = np.random.default_rng(1)
    twin = Scores("all", -1, ["a", "b"], rng.normal(size=(2, n)), np.array([0.3, 0.4]))
    wanted.twins["all"] = Twin(twin, "paper")
    several = Scores("all", 0, ["a_and_b"], rng.normal(size=(1, n)), np.array([0.5]), "set")
    wanted.several.append(several)
    write_scores(tmp_path / "all.h5", wanted)
    write_scores(tmp_path / "random.h5", family("random/a--b", draws=2))
    found = read_scores([tmp_path / "random.h5", tmp_path / "all.h5"])
    names = [(one.feature_set, one.draw) for one in found.scores]
    assert names == [("all", 0), ("random/a--b", 0), ("random/a--b", 1)]
    assert found.grid == {"all": "fast", "random/a--b": "fast"}
    assert found.twins.keys() == {"all"}
    assert found.twins["all"].grid == "paper"
    keep = np.arange(n) < 4
    part = found.take(keep)
    for mine, own, same in (
        (twin, found.twins["all"].scores, part.twins["all"].scores),
        (several, found.several[0], part.several[0]),
    ):
        assert (own.feature_set, own.draw, own.train) == (mine.feature_set, mine.draw, mine.train)
        assert own.training == mine.training
        np.testing.assert_array_equal(own.logits, mine.logits)
        np.testing.assert_array_equal(own.threshold, mine.threshold)
        np.testing.assert_array_equal(same.logits, mine.logits[:, keep])


def test_the_file_says_in_itself_where_each_image_is_from(tmp_path: Path) -> None:
    """Read with h5py alone, as someone without this package would."""
    write_scores(tmp_path / "all.h5", family("all"))
    table = read_score_table(tmp_path / "all.h5")
    facts = table.drop_duplicates("image_set").set_index("image_set")
    assert facts["source"].to_dict() == SOURCE
    assert facts["generator"].to_dict() == {"s": "", "t": "", "a": "a", "b": "b"}
    assert facts["family"].to_dict() == {"s": "", "t": "", "a": "gan", "b": "diffusion"}
    with h5py.File(tmp_path / "all.h5", "r") as file:
        assert all(file[name].fletcher32 for name in file)


def test_equal_scores_give_equal_bytes_and_no_file_is_left_beside_them(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_scores(tmp_path / f"{name}.h5", family("random/a--b", draws=3))
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


def test_families_are_joined_in_the_order_of_feature_sets_and_draws(tmp_path: Path) -> None:
    parts = {"random": family("random/a--b", draws=12), "all": family("all")}
    for name, part in parts.items():
        write_scores(tmp_path / f"{name}.h5", part)
    found = read_scores([tmp_path / "random.h5", tmp_path / "all.h5"])
    names = [(one.feature_set, one.draw) for one in found.scores]
    assert names == [("all", 0), *(("random/a--b", draw) for draw in range(12))]
    assert found.grid == {"all": "fast", "random/a--b": "fast"}
    by_draw = {one.draw: one.logits for one in parts["random"].scores}
    for one in found.scores[1:]:
        np.testing.assert_array_equal(one.logits, by_draw[one.draw])


def test_some_images_are_taken_with_their_logits() -> None:
    whole = family("all")
    keep = np.isin(whole.images.group, ["1"])
    part = whole.take(keep)
    assert part.images.image_id.tolist() == ["s/é 1", "t/é 1", "a/é 1", "b/é 1"]
    np.testing.assert_array_equal(part.scores[0].logits, whole.scores[0].logits[:, keep])
    assert len(part.images.source) == len(part.images.label) == len(part.images.split) == 4
    assert (part.encoder, part.seed, part.run) == ("clip_b16", 3, "demo")


def column(name: str, at: int, value: object):
    """A change of one image's column."""

    def change(scores: AllScores) -> None:
        values = getattr(scores.images, name).astype(object)
        values[at] = value
        setattr(scores.images, name, values.astype(np.int64) if name == "label" else values)

    return change


def every(name: str, image_set: str, value: object):
    """A change of a column of all images of a set."""

    def change(scores: AllScores) -> None:
        values = getattr(scores.images, name).astype(object)
        values[scores.images.image_set == image_set] = value
        setattr(scores.images, name, values)

    return change


def logit(row: int, at: int, value: float):
    def change(scores: AllScores) -> None:
        scores.scores[0].logits[row, at] = value

    return change


def repeated(scores: AllScores) -> None:
    scores.scores[0].train[:] = ["a", "a"]


def without_family(scores: AllScores) -> None:
    del scores.images.family["b"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (column("split", 4, "val"), "may read only test rows, was handed 1 of 'val'"),
        (column("image_id", 1, "s/é 0"), "image s/é 0 is there twice"),
        (column("label", 0, 0), "image set s has more than one label: [0, 1]"),
        (column("label", 0, 2), "neither 0 (generated) nor 1 (real)"),
        (column("source", 5, "t"), "image set a has more than one source: ['s', 't']"),
        (every("source", "b", "nowhere"), "the source of b is nowhere; the file holds real images of s, t"),
        (every("source", "b", ""), "the source of b is not given"),
        (every("source", "s", "t"), "the source of s is t"),
        (without_family, "image set b has no family"),
        (logit(0, 2, np.inf), "the logit of s/é 2 is not a finite number (all, draw 0, trained on a)"),
        (logit(1, 6, np.nan), "the logit of a/é 1 is not a finite number (all, draw 0, trained on b)"),
        (repeated, "each once; all, draw 0, trained on a follows all"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_named(tmp_path: Path, change, message: str) -> None:
    scores = family("all")
    change(scores)
    path = tmp_path / "all.h5"
    write_scores(path, scores)
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        read_scores([path])
    assert str(path) in str(caught.value)
    assert isinstance(caught.value, RoleError) == ("may read only" in message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: dataclasses.replace(s, encoder="other"), "encoder 'other', but .*all.h5 is of"),
        (lambda s: dataclasses.replace(s, seed=4), "seed 4, but .*all.h5 is of 3"),
        (lambda s: dataclasses.replace(s, run="mine"), "run 'mine', but .*all.h5 is of 'demo'"),
        (lambda s: s.take(np.arange(10) < 9), "9 images, but .*all.h5 has 10"),
        (lambda s: s.take(np.arange(10)[::-1]), "the image_id of image b/é 1 is b/é 1, in .*all"),
        (lambda s: changed(s, column("group", 3, "x")), "the group of image t/é 0 is x, in .*all"),
        (lambda s: family("all"), "all, draw 0, is in .*all.h5 too"),
    ],
)
def test_files_that_do_not_belong_together_are_named(tmp_path: Path, change, message) -> None:
    write_scores(tmp_path / "all.h5", family("all"))
    write_scores(tmp_path / "fisher.h5", change(family("fisher/a--b")))
    with pytest.raises(UserError, match=f"^{re.escape(str(tmp_path))}/fisher.h5: {message}"):
        read_scores([tmp_path / "all.h5", tmp_path / "fisher.h5"])


def changed(scores: AllScores, change) -> AllScores:
    change(scores)
    return scores


def shortened(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        values = file["group"][:-1]
        del file["group"]
        file["group"] = values


def without_threshold(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["threshold"]


def infinite_threshold(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["threshold"][1] = np.inf


def other_generator(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["generator"][0:3] = "a"


def family_of_a_source(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["family"][0:3] = "gan"


def of_another_version(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = 99


def of_another_kind(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.attrs["kind"] = "embeddings"


def flipped(path: Path) -> None:
    """One bit of the logits changed on disk: fletcher32 finds it."""
    with h5py.File(path, "r") as file:
        at = file["logits"].id.get_chunk_info(0).byte_offset
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (Path.unlink, "no such file"),
        (lambda path: path.write_bytes(b"PAR1"), "damaged or not an HDF5 file"),
        (shortened, "do not fit the columns"),
        (without_threshold, "damaged or not"),
        (infinite_threshold, "a threshold is not a finite number"),
        (other_generator, "image set s has the generator 'a'"),
        (family_of_a_source, "image set s has the family 'gan', though it is real"),
        (of_another_version, "format version 99"),
        (of_another_kind, "holds 'embeddings', not 'scores'"),
        (flipped, "damaged"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, damage, message: str) -> None:
    path = tmp_path / "all.h5"
    write_scores(path, family("all"))
    damage(path)
    with pytest.raises(UserError, match=message) as caught:
        read_scores([path])
    assert str(path) in str(caught.value)


def test_nothing_to_read_or_write_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no score file is given"):
        read_scores([])
    with pytest.raises(ValueError, match="no probe"):
        write_scores(tmp_path / "none.h5", family())
    scores = family("all")
    scores.images.split = None
    with pytest.raises(ValueError, match="state the split"):
        write_scores(tmp_path / "none.h5", scores)
    assert not list(tmp_path.iterdir())
