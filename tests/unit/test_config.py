from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import yaml

from clipsieve import config
from clipsieve.errors import UserError

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / config.SCHEMA


def raw(**changes):
    base = {
        "sources": {"real": {"folder": "real"}},
        "generators": {
            g: {"folder": g, "family": f, "source": "real"}
            for g, f in [("a", "gan"), ("b", "gan"), ("c", "diffusion"), ("d", "diffusion")]
        },
        "encoders": {"e": {"model": "tiny"}},
        "use": {"generators": ["a", "b", "c", "d"], "encoders": ["e"]},
        "pairs": [["a", "c"]],
    }
    return {**base, **changes}


def study(**changes):
    return config.Run.of(config.resolve(raw(**changes), SCHEMA))


def test_defaults_are_filled_at_every_depth():
    resolved = config.resolve(raw(), SCHEMA)
    assert resolved["search"] == {
        "C": 1.0,
        "score": "balanced_accuracy",
        "alpha": "log_loss",
        "tie": "log_loss",
        "fit_intercept": False,
    }
    assert resolved["generators"]["a"]["kind"] == "network"
    assert resolved["encoders"]["e"]["precision"] == "float32"


def test_resolving_twice_changes_nothing():
    once = config.resolve(raw(), SCHEMA)
    assert config.resolve(once, SCHEMA) == once


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"serch": {}}, ["serch", "did you mean 'search'"]),
        ({"splits": {"tset": 0.3}}, ["splits", "tset", "test"]),
        ({"splits": {"test": 1.5}}, ["splits.test", "1.5", "below"]),
        ({"concepts": {"edits": ["blurr_2"]}}, ["concepts.edits", "blurr_2", "blur_2"]),
        ({"probe": {"grid": "huge"}}, ["probe.grid", "huge", "paper, fast"]),
        ({"seeds": [1, 1]}, ["seeds", "1", "twice"]),
        ({"seeds": []}, ["seeds"]),
        ({"run": "My Run"}, ["run", "My Run", "must match"]),
        (
            {
                "encoders": {"e": {"model": "tiny", "pooling": "cls_hidden"}},
                "texts": {"words": {"kind": "vocabulary"}},
                "use": {"generators": ["a", "b", "c", "d"], "encoders": ["e"], "texts": ["words"]},
            },
            ["encoders.e.pooling", "has_text"],
        ),
        ({"pairs": "some"}, ["pairs", "all", "random"]),
        ({"pairs": [["a", "x"]]}, ["pairs", "'x'", "a, b, c, d"]),
        ({"pairs": [["a", "a"]]}, ["pairs", "different"]),
        ({"pairs": [["a", "b"], ["b", "a"]]}, ["pairs", "twice"]),
        ({"pairs": {"random": 99}}, ["pairs.random", "99", "6"]),
        (
            {"use": {"generators": ["a", "a"], "encoders": ["e"]}},
            ["use.generators", "'a'", "twice"],
        ),
        ({"use": {"generators": ["a", "bb"], "encoders": ["e"]}}, ["'bb'", "unknown"]),
        ({"use": {"generators": ["a", "b"], "encoders": ["f"]}}, ["use.encoders", "'f'"]),
        ({"use": {"generators": ["a", "b", "c"], "encoders": ["e"]}}, ["at least 4"]),
        (
            {
                "use": {
                    "generators": ["a", "b", "c"],
                    "encoders": ["e"],
                    "feature_sets": ["all", "residual"],
                    "controls": ["random"],
                }
            },
            ["at least 4"],
        ),
        (
            {"use": {"generators": ["a", "b"], "encoders": ["e"], "feature_sets": ["residual"]}},
            ["feature_sets", "'all'"],
        ),
        ({"sources": {"other": {"folder": "x"}}}, ["source", "real", "other"]),
        ({"sources": {"real": {"folder": "x"}, "a": {"folder": "y"}}}, ["'a'", "both"]),
        ({"encoders": {"e": {}}}, ["encoders.e", "model", "missing"]),
        (
            {"sources": {"real": {"folder": "x", "make": {"limit": 3}}}},
            ["folder of real", "made/real"],
        ),
    ],
)
def test_a_mistake_is_one_line_that_names_it(changes, words):
    with pytest.raises(UserError) as caught:
        study(**changes)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_a_key_written_twice_is_refused(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("generators:\n  a: {folder: x}\n  a: {folder: y}\n")
    with pytest.raises(UserError, match=r"c\.yaml.*'a'.*twice"):
        config.read_yaml(path)


def test_yaml_merge_keys_are_taken_and_may_be_overridden(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("a: &gan {family: gan, folder: a}\nb: {<<: *gan, folder: b}\n")
    assert config.read_yaml(path)["b"] == {"family": "gan", "folder": "b"}
    path.write_text("a: &gan {family: gan}\nb: {<<: *gan, folder: b, folder: c}\n")
    with pytest.raises(UserError, match="'folder' stands twice"):
        config.read_yaml(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [("- a\n- b\n", "holds a list"), ("use:\n  yes: 1\n", "key True in line 2 is no text")],
)
def test_a_file_that_is_no_config_is_named(tmp_path, text, said):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=rf"mine\.yaml: {said}"):
        config.read_configs([path])


def test_a_list_of_texts_is_added_to_those_of_the_project(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        "texts: {mine: {kind: file, file: words.txt}}\nuse: {texts: [vocabulary, mine]}\n"
    )
    resolved = config.resolve(config.read_configs(["config.yaml", mine]))
    assert config.Run.of(resolved).config["use"]["texts"] == ["vocabulary", "mine"]


def test_a_second_file_merges_mappings_and_replaces_lists(tmp_path):
    one, two = tmp_path / "1.yaml", tmp_path / "2.yaml"
    one.write_text("search: {C: 1, tie: first}\nseeds: [1, 2]\n")
    two.write_text("search: {C: 2}\nseeds: [3]\n")
    merged = config.read_configs([one, two])
    assert merged == {"search": {"C": 2, "tie": "first"}, "seeds": [3]}


def test_pairs_all_and_random():
    everything = study(pairs="all").pairs
    assert list(everything) == list(itertools.combinations("abcd", 2))
    assert study(pairs={"random": 3}).pairs == study(pairs={"random": 3, "seed": 0}).pairs
    drawn = study(pairs={"random": 3, "seed": 5}).pairs
    assert len(set(drawn)) == 3
    assert set(drawn) <= set(everything)
    assert drawn == study(pairs={"random": 3, "seed": 5}).pairs
    assert drawn != study(pairs={"random": 3, "seed": 6}).pairs


def test_directions_are_both_ways_of_each_pair():
    assert study().directions == (("a", "c"), ("c", "a"))


def test_families_follow_what_an_encoder_has():
    no_heads = study(encoders={"e": {"model": "RN50", "has_heads": False}})
    assert not {"heads", "random_heads"} & set(no_heads.families("e"))
    no_pairs = study(pairs=[])
    assert set(no_pairs.families("e")) == {
        "all", "all_intercept", "residual", "shuffled", "nearest_mean",
    }  # fmt: skip


def every_key(schema, root, path=()):
    for key, child in schema.get("properties", {}).items():
        yield (*path, key), child
        child = {**config._deref(child, root)}
        yield from every_key(child, root, (*path, key))
        if isinstance(child.get("additionalProperties"), dict):
            yield from every_key(child["additionalProperties"], root, (*path, key, "*"))


def test_every_key_is_described_and_has_a_default_or_is_required():
    schema = yaml.safe_load(SCHEMA.read_text())
    required = {
        "folder",
        "family",
        "source",
        "model",
        "requirement",
        "sha256",
        "member",
        "kind",
        "random",
        "use",
    }
    for path, child in every_key(schema, schema):
        full = config._deref(child, schema)
        assert full.get("description"), path
        assert "default" in full or path[-1] in required, path


@pytest.mark.parametrize(
    "paths",
    [
        ["config.yaml"],
        ["config.yaml", "config/paper.yaml"],
        ["config.yaml", "config/demo-small.yaml"],
        ["config.yaml", "tests/config/tiny.yaml"],
    ],
    ids=lambda paths: paths[-1],
)
def test_every_config_of_the_project_resolves(paths):
    merged = config.read_configs(ROOT / path for path in paths)
    run = config.Run.of(config.resolve(merged, SCHEMA))
    assert len(run.generators) >= 5


def test_the_paper_run_is_the_papers():
    merged = config.read_configs([ROOT / "config.yaml", ROOT / "config/paper.yaml"])
    run = config.Run.of(config.resolve(merged, SCHEMA))
    families = [run.config["generators"][g]["family"] for g in run.generators]
    assert families == ["gan"] * 7 + ["diffusion"] * 7
    assert run.encoders == ("clip_b16", "clip_l14")
    assert [frozenset(p) for p in run.pairs] == [
        frozenset(p)
        for p in [
            ("stylegan", "glide_clip"),
            ("cyclegan", "kandinsky_20"),
            ("progan", "dalle_mini"),
            ("gaugan", "glide_base"),
            ("stargan", "kandinsky_100"),
        ]
    ]


def test_the_reference_page_is_made_from_the_schema():
    page = config.reference(yaml.safe_load(SCHEMA.read_text()))
    assert (ROOT / "docs/config.md").read_text() == page


def test_the_edits_that_a_config_may_name_are_the_catalogues():
    from clipsieve.images.perturbations.catalogue import perturbations

    assert yaml.safe_load(SCHEMA.read_text())["$defs"]["edit"]["enum"] == list(perturbations())
