"""Training sets that a config asks for."""

from __future__ import annotations

import pytest

from clipsieve.errors import UserError
from clipsieve.training import training_sets

FAMILY_OF = {"a": "gan", "b": "gan", "c": "diffusion", "d": "diffusion"}


def test_every_kind_has_members_and_tests_none_of_them():
    asked = {"all_but_one": True, "all_but_family": True, "sets": {"mine": ["d", "a"]}}
    found = training_sets(asked, FAMILY_OF)
    assert {name: "".join(one.members) for name, one in found.items()} == {
        "all_but_a": "bcd",
        "all_but_b": "acd",
        "all_but_c": "abd",
        "all_but_d": "abc",
        "all_but_family_gan": "cd",
        "all_but_family_diffusion": "ab",
        "mine": "ad",
    }
    for one in found.values():
        assert sorted((*one.members, *one.tested)) == list(FAMILY_OF)


def test_nothing_asked_is_no_set():
    assert training_sets({}, FAMILY_OF) == {}


@pytest.mark.parametrize(
    ("asked", "family_of", "said"),
    [
        ({"sets": {"mine": ["a", "x"]}}, FAMILY_OF, "'x' is not in use.generators"),
        ({"sets": {"a": ["b", "c"]}}, FAMILY_OF, "'a' is the id of something else"),
        ({"sets": {"coco": ["b", "c"]}}, FAMILY_OF, "'coco' is the id of something else"),
        ({"sets": {"mine": list("abcd")}}, FAMILY_OF, "one outside to test on"),
        ({"all_but_one": True}, {"a": "gan", "b": "gan"}, "1 of 2 generators; at least 2"),
        ({"all_but_family": True}, dict.fromkeys("abc", "gan"), "0 of 3 generators"),
        (
            {"all_but_one": True, "sets": {"all_but_a": ["b", "c"]}},
            FAMILY_OF,
            "'all_but_a' is the id of something else",
        ),
    ],
)
def test_sets_that_cannot_be_are_refused(asked, family_of, said):
    with pytest.raises(UserError, match=said):
        training_sets(asked, family_of, ["coco"])


def test_pages_say_what_rows_of_training_sets_are():
    from clipsieve.report.facts import cells_title

    assert cells_title("all_but_one") == "trained on all but the tested generator"
    assert (
        cells_title("all_but_family_on_gan")
        == "trained on all but the tested family, tested on GAN"
    )
    assert cells_title("set_mine") == "trained on the set mine"
