"""What each change reruns: the rows of the README's table, each on a copy of a finished run."""

from __future__ import annotations

import os
import re
import shutil

import pytest
import yaml

from clipsieve import families
from clipsieve.config import Run, read_run, resolve
from tests.workflow.conftest import TINY


@pytest.fixture
def project(finished, tmp_path):
    return finished.copy(tmp_path / "p")


def change_config(project, **changes):
    """Write a third config file over the tiny one; return the options that use it."""
    path = project.root / "changed.yaml"
    path.write_text(yaml.safe_dump(changes))
    return ["--configfile", TINY, "changed.yaml"]


def without_nested(used):
    """Families of the config that are not chosen by transfer to all other generators."""
    return {
        key: [n for n in used[key] if not {"everyone", "layer_rankings"} & {*families.get(n).reads}]
        for key in ("feature_sets", "controls")
    }


def test_nothing_changed_nothing_to_do(project):
    assert project.planned("--configfile", TINY) == {}


def test_compiled_modules_are_no_edit(project):
    """Python writes them beside the modules unless it is told not to."""
    for path in (project.root / "src/clipsieve").rglob("*.py"):
        (path.parent / "__pycache__").mkdir(exist_ok=True)
        (path.parent / "__pycache__" / f"{path.stem}.cpython-399.pyc").touch()
    assert project.planned("--configfile", TINY) == {}


def test_a_comment_in_the_config_reruns_nothing(project):
    path = project.root / TINY
    path.write_text("# a comment\n" + path.read_text())
    assert project.planned("--configfile", TINY) == {}


def test_reordered_keys_rerun_nothing(project):
    path = project.root / TINY
    content = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(dict(reversed(content.items())), sort_keys=False))
    assert project.planned("--configfile", TINY) == {}


def test_the_profile_and_cores_rerun_nothing(project):
    assert project.planned("--configfile", TINY, "--profile", "profiles/local") == {}
    assert project.planned("--configfile", TINY, "--set-resources", "search:mem_mb=9000") == {}


def test_a_value_of_the_search_reruns_searches_and_what_follows(project):
    jobs = project.planned(*change_config(project, search={"C": 0.5}))
    assert jobs["search"] == 2
    assert not {"embed", "scan", "split", "demo_images", "rank_heads"} & set(jobs)


def test_a_value_of_the_evaluation_reruns_the_evaluation(project):
    jobs = project.planned(*change_config(project, evaluation={"resamples": 300}))
    assert "evaluate" in jobs
    assert not {"embed", "search", "fit", "transfer"} & set(jobs)


def test_a_new_generator_reruns_its_own_rows_and_no_search(project):
    new = {
        "generators": {
            "denoise_tv_9": {
                "title": "TV denoising, 9 steps", "family": "diffusion", "kind": "simulated",
                "source": "photographs", "folder": "made/denoise_tv_9",
                "group_pattern": r"^(?P<group>.+)_\d+$",
                "make": {"method": "denoise", "denoiser": "tv", "steps": 9},
            }
        },
        "robustness": {"perturbations": []},
    }  # fmt: skip
    used = yaml.safe_load((project.root / TINY).read_text())["use"]
    # sets that are chosen for each tested generator by all others are chosen anew
    used |= without_nested(used)
    options = change_config(project, use=used, training={"choose": 0}, robustness=new["robustness"])
    before = set(project.planned(*options))
    used["generators"].append("denoise_tv_9")
    jobs = project.planned(*change_config(project, use=used, training={"choose": 0}, **new))
    assert not {"embed", "fit", "select"} & before
    assert jobs["demo_images"] == jobs["scan"] == jobs["split"] == jobs["embed"] == 1
    # its own fit in each family, and no other generator's
    changed = [project.root / name for name in (TINY, "changed.yaml")]
    assert jobs["fit"] == len(Run.of(resolve(read_run(changed))).families("tiny"))
    assert not {"search", "rank_heads", "select"} & set(jobs)


def test_a_removed_generator_reruns_the_gatherings_only(project):
    used = yaml.safe_load((project.root / TINY).read_text())["use"]
    used["generators"].remove("upsample_bilinear")
    used |= without_nested(used)
    jobs = project.planned(
        *change_config(project, use=used, robustness={"perturbations": []}, concepts={"edits": []})
    )
    assert not {"demo_images", "scan", "split", "embed", "search", "rank_heads", "fit"} & set(jobs)
    assert {"transfer", "evaluate"} <= set(jobs)


def test_a_new_pair_reruns_its_own_searches(project):
    pairs = [["upsample_transposed", "denoise_tv_4"], ["upsample_nearest", "denoise_bilateral_8"]]
    jobs = project.planned(*change_config(project, pairs=pairs))
    assert jobs["search"] == 2
    assert jobs["rank_heads"] == 2
    assert not {"embed", "scan", "split"} & set(jobs)


def test_a_new_encoder_reruns_nothing_of_the_old_one(project):
    used = yaml.safe_load((project.root / TINY).read_text())["use"]
    used["encoders"].append("tiny_two")
    encoder = {"tiny_two": {"model": "tiny", "seed": 5}}
    jobs = project.planned(*change_config(project, use=used, encoders=encoder))
    assert jobs["search"] == 2
    assert jobs["encoder"] == 1
    assert not {"scan", "split", "demo_images", "perturb"} & set(jobs)


def test_a_new_seed_keeps_the_embeddings(project):
    jobs = project.planned(*change_config(project, seeds=[0, 1]))
    assert jobs["search"] == 2
    assert not {"scan", "embed", "demo_images"} & set(jobs)


def edit(project, module, old, new):
    path = project.root / "src/clipsieve" / module
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("module", "old", "new", "rule", "follow"),
    [
        # what the command itself imports, and what it imports only when it runs
        ("geometry.py", "def iso_score(", "def iso_score(edited, ", "geometry", set()),
        ("images/splits.py", "def assign_splits(", "def assign_splits(edited, ", "split", None),
        ("report/html/templates/style.css", "{", "{ margin: 0;", "table", {"gallery", "card"}),
        ("images/perturbations/pixels.py", "def blur(", "def blur(edited, ", "perturb", None),
        ("detector/evidence.py", "def gather_evidence(", "def gather_evidence(edited, ", "", set()),
    ],
)
def test_an_edited_function_reruns_the_rules_that_reach_it(project, module, old, new, rule, follow):
    edit(project, module, old, new)
    jobs = project.planned("--configfile", TINY)
    assert not {"search", "demo_images", "scan"} & set(jobs) or rule == "split"
    if rule:
        assert jobs[rule] >= 1
    if follow is not None:
        assert set(jobs) <= {rule, "table", "figure", "provenance", *follow} - {""}


def test_comments_and_docstrings_of_all_modules_rerun_nothing(project):
    for path in (project.root / "src/clipsieve").rglob("*.py"):
        text = re.sub(r'^    """(?=[A-Z])', '    """Edited: ', path.read_text(), flags=re.M)
        path.write_text(f"# edited\n{text}\n# edited\n")
    assert project.planned("--configfile", TINY) == {}


def test_a_touched_module_reruns_nothing(project):
    os.utime(project.root / "src/clipsieve/geometry.py")
    assert project.planned("--configfile", TINY) == {}


def test_a_raised_version_reruns_the_searches(project):
    path = project.root / "src/clipsieve/versions.py"
    path.write_text(re.sub(r"SEARCH = \d+", "SEARCH = 99", path.read_text()))
    jobs = project.planned("--configfile", TINY)
    assert jobs["search"] == 2
    assert "embed" not in jobs


def test_an_edited_module_of_the_search_reruns_nothing(project):
    path = project.root / "src/clipsieve/selection/greedy/search.py"
    path.write_text(path.read_text() + "\nEDITED = 1\nprint(EDITED)\n")
    assert project.planned("--configfile", TINY) == {}


def test_new_weights_in_the_same_file_are_noticed(project):
    from safetensors.torch import save_file

    from clipsieve.encoders import load_encoder

    weights = project.root / "data/own.safetensors"

    def write(seed):
        state = load_encoder({"model": "tiny", "seed": seed}).model.state_dict()
        save_file({name: tensor.contiguous().clone() for name, tensor in state.items()}, weights)

    write(0)
    used = yaml.safe_load((project.root / TINY).read_text())["use"]
    used["encoders"] = ["own"]
    own = {"own": {"model": "tiny", "weights": "data/own.safetensors"}}
    options = change_config(project, use=used, encoders=own)
    target = "results/tiny/encoders/own.h5"
    project.snakemake("--cores", "2", *options, "--", target)
    assert project.planned(*options, "--", target) == {}
    write(1)
    assert project.planned(*options, "--", target) == {"encoder": 1}


@pytest.mark.parametrize("how", ["edited", "added", "removed", "touched", "copied over"])
def test_an_image_of_a_users_folder_is_noticed(project, how):
    # the same images, but as a user's folder: no recipe
    mine = project.root / "data/tiny/mine"
    shutil.copytree(project.root / "data/tiny/made/upsample_bilinear", mine)
    entry = {"upsample_bilinear": {"folder": "mine", "make": None}}
    options = change_config(project, generators=entry, robustness={"perturbations": []})
    target = "results/tiny/images/upsample_bilinear.parquet"
    project.snakemake("--cores", "2", *options, "--", target)
    assert project.planned(*options, "--", target) == {}
    first = sorted(mine.glob("*.png"))[0]
    if how == "edited":
        first.write_bytes(first.read_bytes() + b"\0")
    elif how == "added":
        shutil.copy(first, mine / "astronaut_99.png")
    elif how == "removed":
        first.unlink()
    else:
        for path in mine.glob("*.png") if how == "touched" else [first]:
            path.write_bytes(path.read_bytes())
        assert project.planned(*options, "--", target) == {}
        return
    assert project.planned(*options, "--", target) == {"scan": 1}


def test_only_the_scan_lists_a_users_folder(project):
    """A job on a cluster parses the Snakefile again; a folder of a million files is none of its business."""
    mine = project.root / "data/tiny/mine"
    shutil.copytree(project.root / "data/tiny/made/upsample_bilinear", mine)
    entry = {"upsample_bilinear": {"folder": "mine", "make": None}}
    options = change_config(project, generators=entry, robustness={"perturbations": []})
    wildcards = "run=tiny,image_set=upsample_bilinear"
    listed = project.root / "listed"
    edit(
        project,
        "images/fingerprint.py",
        "    # of a container the file itself",
        f"    open({str(listed)!r}, 'a').write('.')\n    # of a container the file itself",
    )
    for rule, extra, times in (("split", ",seed=0", 0), ("scan", "", 1)):
        project.snakemake(
            "--mode", "remote", "--target-jobs", f"{rule}:{wildcards}{extra}", "--allowed-rules",
            rule, "--cores", "1", "--nolock", "--force", *options,
        )  # fmt: skip
        assert (listed.read_text() if listed.exists() else "") == "." * times
