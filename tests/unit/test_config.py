from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import yaml

from clipsieve import config, families
from clipsieve.config import schema as schema_module
from clipsieve.errors import UserError

ROOT = Path(__file__).parents[2]
SCHEMA = schema_module.SCHEMA
BASE = ROOT / "config.yaml"
# what a file of one's own must choose
SMALLEST = "generators: [style_a, style_b], encoders: [tiny]"


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
        "sizes": 8,
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
        ({"encoders": {"e": {}}}, ["encoders.e", "either model or embeddings"]),
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
    with pytest.raises(UserError, match="'folder' occurs twice"):
        config.read_yaml(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [("- a\n- b\n", "holds a list"), ("use:\n  yes: 1\n", "key True in line 2 is not text")],
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
    mine.write_text(f"{mine.read_text()}run: mine\n".replace("texts: [", f"{SMALLEST}, texts: ["))
    resolved = config.resolve(config.read_run([mine], base=BASE))
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
    assert not {"layers", "random_layers"} & set(study().families("e"))
    layers = study(encoders={"e": {"model": "tiny", "has_layers": True}})
    assert {"layers", "random_layers"} <= set(layers.families("e"))
    no_pairs = study(pairs=[])
    left = set(no_pairs.families("e"))
    assert {"all", "residual", "shuffled", "nuisance_components"} <= left
    assert {families.get(name).pairs for name in left} == {"none"}


def test_draws_and_twins_exist_for_the_first_seed_unless_all_are_asked_for():
    first = study(seeds=[3, 4])
    drawn = {name for name in first.families("e", 3) if families.get(name).drawn}
    assert {"shuffled", "random", "random_heads", "random_components"} <= drawn
    assert drawn <= set(first.families("e", 3)) == set(first.families("e"))
    assert set(first.families("e", 3)) - set(first.families("e", 4)) == drawn
    every = study(seeds=[3, 4], controls={"seeds": "all"})
    assert every.families("e", 4) == every.families("e", 3)
    assert {f: first.twin_grid(f, "e", 3) for f in ("all", "components", "heads", "residual")} == {
        "all": "fast", "components": "fast", "heads": "fast", "residual": None,
    }  # fmt: skip
    assert first.twin_grid("components", "e", 4) is None
    assert every.twin_grid("components", "e", 4) == "fast"
    paper = study(controls={"grid": None}, probe={"grid": "paper"})
    assert paper.twin_grid("all", "e", 0) == paper.drawn_grid == "paper"


def every_key(schema, root, path=()):
    for key, child in schema.get("properties", {}).items():
        yield (*path, key), child
        child = {**schema_module.dereferenced(child, root)}
        yield from every_key(child, root, (*path, key))
        if isinstance(child.get("additionalProperties"), dict):
            yield from every_key(child["additionalProperties"], root, (*path, key, "*"))


def test_every_key_is_described_and_has_a_default_or_is_required():
    schema = config.read_schema(SCHEMA)
    required = {
        "folder",
        "family",
        "source",
        "model",
        "adapter",
        "prompts",
        "sample",
        "requirement",
        "sha256",
        "member",
        "kind",
        "random",
        "use",
    }
    for path, child in every_key(schema, schema):
        full = schema_module.dereferenced(child, schema)
        assert full.get("description"), path
        assert "default" in full or path[-1] in required, path


@pytest.mark.parametrize(
    "path",
    [
        None,
        "config/paper.yaml",
        "config/demo-small.yaml",
        "config/what-if.yaml",
        "tests/config/tiny.yaml",
    ],
)
def test_every_config_of_the_project_resolves(path):
    merged = config.read_run([ROOT / path] if path else [], base=BASE)
    run = config.Run.of(config.resolve(merged))
    assert len(run.generators) >= 5


def test_a_second_file_inherits_catalogues_and_defaults_and_no_choice_of_the_demo(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text(f"run: mine\nuse: {{{SMALLEST}}}\n")
    found = config.resolve(config.read_run([mine], base=BASE))
    catalogues = config.read_yaml(BASE)
    for name in ("sources", "generators", "encoders", "texts"):
        assert found[name].keys() == catalogues[name].keys()
    demo = config.resolve(config.read_run([], base=BASE))
    assert demo["probe"]["grid"] == "fast"
    schema = yaml.safe_load(SCHEMA.read_text())
    for key in found.keys() - {*catalogues, "run", "use"}:
        assert found[key] == schema_module._with_defaults(
            config.default(key), schema["properties"][key], schema
        )
    for key in ("texts", "feature_sets", "controls"):
        assert found["use"][key] == config.default(f"use.{key}")


def test_the_demo_is_what_runs_without_a_file_and_takes_single_values():
    demo = config.resolve(config.read_run([], base=BASE))
    assert (demo["run"], demo["splits"]["val"], len(demo["pairs"])) == ("demo", 0.4, 2)
    assert config.resolve(config.read_run([BASE], base=BASE)) == demo
    changed = config.resolve(
        config.read_run([], {"pairs": [], "use": {"encoders": ["tiny"]}}, base=BASE)
    )
    assert changed["pairs"] == []
    assert changed["use"] == {**demo["use"], "encoders": ["tiny"]}
    assert changed["probe"] == demo["probe"]


def test_single_values_come_before_those_of_files(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text(f"use: {{{SMALLEST}}}\nsearch: {{C: 3.0, tie: first}}\n")
    found = config.resolve(config.read_run([mine], {"search": {"C": 0.5}}, base=BASE))
    assert (found["search"]["C"], found["search"]["tie"]) == (0.5, "first")
    assert found["probe"]["grid"] == "paper"


def test_the_section_of_the_demo_is_refused_in_another_file(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text(f"use: {{{SMALLEST}}}\ndemo: {{run: mine}}\n")
    with pytest.raises(UserError, match=r"mine\.yaml: key 'demo'"):
        config.read_run([mine], base=BASE)


def test_merging_leaves_what_it_merges_as_it_was(tmp_path):
    demo, rest = {"use": {"encoders": ["a"]}}, {"use": {"encoders": ["b"]}}
    assert config.chosen({"demo": demo, **rest}, [])["use"] == {"encoders": ["b"]}
    assert (demo, rest) == ({"use": {"encoders": ["a"]}}, {"use": {"encoders": ["b"]}})


def test_the_paper_run_is_the_papers():
    run = config.Run.of(config.resolve(config.read_run([ROOT / "config/paper.yaml"], base=BASE)))
    families = [run.config["generators"][g]["family"] for g in run.generators]
    assert families == ["gan"] * 7 + ["diffusion"] * 7
    assert run.encoders == ("clip_b16", "clip_l14")
    assert [frozenset(p) for p in run.pairs] == [
        frozenset(p)
        for p in [
            ("sd14_200", "progan"),  # of figures 2 to 5; the rest are Table 4's
            ("stylegan", "glide_clip"),
            ("cyclegan", "kandinsky_20"),
            ("progan", "dalle_mini"),
            ("gaugan", "glide_base"),
            ("stargan", "kandinsky_100"),
        ]
    ]


def test_the_reference_page_is_made_from_the_schema():
    page = config.reference(config.read_schema(SCHEMA))
    assert (ROOT / "docs/config.md").read_text() == page


def test_a_config_may_name_the_perturbations_of_the_catalogue_and_no_other(monkeypatch):
    def robustness(*names):
        return config.resolve(raw(robustness={"perturbations": list(names)}), SCHEMA)["robustness"]

    assert robustness("jpeg_50")["perturbations"] == ["jpeg_50"]
    with pytest.raises(
        UserError, match=r"robustness\.perturbations\.0: 'jpeg_51' is not allowed.*jpeg_50"
    ):
        robustness("jpeg_51")
    # a new record is all that the config needs
    monkeypatch.setitem(schema_module.PERTURBATIONS, "jpeg_51", object())
    assert robustness("jpeg_51")["perturbations"] == ["jpeg_51"]


def test_a_resolved_config_is_written_once_for_each_content(tmp_path):
    path = tmp_path / "results/mine/config.json"
    config.write_resolved({"run": "mine", "seeds": [0]}, path)
    assert json.loads(path.read_text()) == {"run": "mine", "seeds": [0]}
    before = path.stat()
    config.write_resolved({"seeds": [0], "run": "mine"}, path)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    config.write_resolved({"run": "mine", "seeds": [1]}, path)
    assert json.loads(path.read_text())["seeds"] == [1]
    assert [file.name for file in path.parent.iterdir()] == ["config.json"]


def with_encoder(**entry):
    return {"encoders": {"e": entry}}


def test_an_encoder_is_a_model_or_embeddings_of_the_users():
    run = study(**with_encoder(embeddings="arrays", has_heads=False))
    assert run.is_imported("e")
    assert not run.has_text("e")
    assert run.texts_of("e") == ()
    assert not study().is_imported("e")
    for entry in ({}, {"model": "tiny", "embeddings": {"a": "a.npz"}}):
        with pytest.raises(UserError, match="either model or embeddings"):
            study(**with_encoder(**entry))


def test_towers_of_timm_have_no_texts():
    for model in ("timm/vit_base_patch16_dinov3", {"timm": "vit_base_patch14_dinov2"}):
        run = study(**with_encoder(model=model, pooling="mean_hidden"))
        assert not run.has_text("e")
    with pytest.raises(UserError, match="'mean_hidden' embeddings are not in the space of texts"):
        study(**with_encoder(model="ViT-B-32", pooling="mean_hidden"))


def test_texts_with_vectors_exist_for_their_encoder_alone():
    both = {"e": {"model": "tiny"}, "mine": {"embeddings": "arrays"}}
    use = raw()["use"] | {"encoders": ["e", "mine"], "texts": ["words", "phrases"]}
    words = {"kind": "embeddings", "file": "w.npz", "encoder": "mine"}
    texts = {"words": words, "phrases": {"kind": "phrases"}}
    run = study(encoders=both, use=use, texts=texts)
    assert run.texts_of("mine") == ("words",)
    assert run.texts_of("e") == ("phrases",)
    for changes, message in (
        ({"file": None}, "texts.words.file"),
        ({"encoder": "x"}, "'x' is not an"),
    ):
        with pytest.raises(UserError, match=message):
            study(encoders=both, use=use, texts=texts | {"words": words | changes})
