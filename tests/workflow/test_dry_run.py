from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from PIL import Image

from clipsieve import families
from clipsieve.config import Run, read_configs, read_run, resolve
from tests.workflow.conftest import GENERATED, TINY


@pytest.mark.parametrize(
    ("config", "profile"),
    [
        ("config.yaml", []),
        ("config.yaml", ["--profile", "profiles/local"]),
        ("config.yaml", ["--profile", "profiles/workstation"]),
        ("config/demo-small.yaml", ["--profile", "slurm"]),
        (TINY, ["--profile", "slurm"]),
    ],
)
def test_configs_plan_under_profiles_as_typed(bare, config, profile):
    jobs = bare.planned("--configfile", config, *profile)
    assert jobs["embed"] > 0
    assert jobs["table"] > 5


def test_training_sets_are_fitted_for_the_families_that_have_them(bare):
    before = bare.planned("--configfile", TINY)
    sets = "{mine: [upsample_transposed, upsample_nearest]}"
    path = bare.root / "training.yaml"
    path.write_text(f"training: {{all_but_one: true, all_but_family: true, sets: {sets}}}\n")
    after = bare.planned("--configfile", TINY, str(path))
    pooled = [
        f for f in Run.of(resolve(read_run([TINY]))).families("tiny")
        if families.get(f).pooled
    ]  # fmt: skip
    # five generators left out, two families, one set of its own; nothing else is planned anew
    assert after == {**before, "fit": before["fit"] + len(pooled) * (5 + 2 + 1)}
    assert {"all", "components", "heads", "random", "random_heads"} <= set(pooled)


def test_a_large_image_set_is_planned_in_parts_and_read_as_one(bare):
    folder = bare.root / "data" / "tiny" / "mine"
    folder.mkdir(parents=True)
    for i in range(7):
        Image.new("RGB", (40, 40), (30 * i, 0, 0)).save(folder / f"{i}.png")
    change = bare.root / "parts.yaml"
    mine = "{folder: mine, family: gan, source: photographs}"
    change.write_text(
        f"generators: {{mine: {mine}}}\n"
        "use: {generators: [upsample_transposed, upsample_nearest, denoise_tv_4, mine]}\n"
        "embed: {part_size: 3}\n"
    )
    whole = bare.root / "whole.yaml"
    whole.write_text(change.read_text().replace("part_size: 3", "part_size: 7"))
    one, parts = (bare.planned("--configfile", TINY, str(path)) for path in (whole, change))
    assert "embed_part" not in one
    # the sets that the workflow makes have no files to count yet
    assert parts == {**one, "embed": one["embed"] - 1, "embed_part": 3, "join_embeddings": 1}
    change.write_text(change.read_text().replace("part_size: 3", "part_size: 3, join: virtual"))
    command = shell_of(bare, "join_embeddings", "--configfile", TINY, str(change))
    assert "parts/mine/0.h5" in command
    assert "parts/mine/2.h5" in command
    assert "--virtual" in command


def planned_in_seconds(project, *arguments):
    """Jobs of a dry-run, and its processor time, so that a busy machine does not decide."""
    before = os.times()
    jobs = project.planned(*arguments)
    after = os.times()
    return jobs, sum(after[2:4]) - sum(before[2:4])


# the paper's own experiment: one seed, and neither perturbations nor training sets, which are ours
ONE_SEED = "seeds: [0]\nrobustness: {perturbations: []}\ntraining: {all_but_one: false}\n"


def test_the_papers_run_is_planned_within_twenty_seconds_and_five_thousand_jobs(bare):
    (bare.root / "one_seed.yaml").write_text(ONE_SEED)
    # the first planning compiles the package; the second is what a user waits for
    for _ in range(2):
        jobs, seconds = planned_in_seconds(
            bare, "--configfile", "config/paper.yaml", "one_seed.yaml", "--profile", "slurm"
        )
    assert seconds < 20
    assert sum(jobs.values()) < 5000
    assert jobs["search"] == 2 * 6 * 2
    # 14 generators and 8 sources, each embedded once by each encoder; the edits of concepts besides
    assert jobs["embed"] == 2 * (22 + 8 * 5)


def test_the_papers_images_are_planned_within_twenty_seconds_one_job_a_shard(bare):
    for _ in range(2):
        jobs, seconds = planned_in_seconds(
            bare, "--configfile", "config/paper-data.yaml", "--profile", "slurm", "--", "generated"
        )
    assert seconds < 20
    # 499 prompts in shards of 50, seven generators
    assert jobs == {"prompts": 1, "generate": 70, "gather": 7, "generated": 1}


def test_the_papers_run_takes_the_images_that_are_made(bare):
    data, run = (read_configs([bare.root / f"config/{n}.yaml"]) for n in ("paper-data", "paper"))
    assert data["data_root"] == run["data_root"]
    for name, entry in data["generators"].items():
        for key in ("folder", "source", "group_pattern", "family", "title"):
            assert entry[key] == run["generators"][name][key], name


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("generators={painted: {folder: other}}", "generators.painted.folder: 'other'"),
        ("generators={painted: {generate: {prompts: nil}}}", "no prompts 'nil'; one of: crops"),
        ("generators={painted: {generate: {model: x, prior: y}}}", "generate.prior: the adapter"),
        ("prompts={crops: {images: nil}}", "prompts.crops.images: no source 'nil'"),
        ("prompts={crops: {table: x.csv}}", "give either a table or images"),
    ],
)
def test_mistakes_in_prompts_and_recipes_stop_before_anything_runs(bare, change, said):
    done = bare.snakemake("-n", "--configfile", GENERATED, "--config", change, check=False)
    assert done.returncode != 0
    assert said in done.stdout + done.stderr


def test_weights_that_the_run_fetches_are_waited_for_and_others_must_be_there(bare):
    plan = ("--configfile", "config/autoencoders.yaml")
    jobs = bare.planned(*plan, "--", "generated")
    # 84 crops in shards of 50, four autoencoders; all their weights are one set
    assert (jobs["fetch"], jobs["generate"]) == (1, 8)
    mine = "generators={taesd: {generate: {model: data/mine/encoder.safetensors}}}"
    done = bare.snakemake("-n", *plan, "--config", mine, "--", "generated", check=False)
    assert done.returncode != 0
    assert "MissingInput" in done.stdout + done.stderr
    assert "data/mine/encoder.safetensors" in done.stdout + done.stderr


def test_all_pairs_of_the_paper_under_five_seeds_are_planned_within_a_minute(bare):
    ours = ONE_SEED.replace("[0]", "[0, 1, 2, 3, 4]")
    (bare.root / "all_pairs.yaml").write_text(f"pairs: all\n{ours}")
    jobs, seconds = planned_in_seconds(bare, "--configfile", "config/paper.yaml", "all_pairs.yaml")
    assert seconds < 60
    assert jobs["search"] == 182 * 2 * 5


def test_planning_imports_neither_torch_nor_numpy_for_us(bare):
    code = (
        "import sys; import clipsieve.config, clipsieve.images.fingerprint, clipsieve.report.registry, "
        "clipsieve.provenance.closure; "
        "bad = {'torch', 'numpy', 'pandas', 'open_clip'} & set(sys.modules); assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=bare.root)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["serch={}"], ["unknown key 'serch'", "did you mean 'search'"]),
        (["pairs=[[upsample_nearest, sd]]"], ["pairs", "'sd'"]),
        (["use={generators: [style_a, style_a]}"], ["use.generators", "'style_a' is listed twice"]),
        (["splits={test: 2}"], ["splits.test", "2"]),
    ],
)
def test_a_typo_stops_before_anything_runs(bare, options, words):
    done = bare.snakemake("-n", "--cores", "1", "--config", *options, check=False)
    assert done.returncode != 0
    for word in words:
        assert word in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("option", "pages", "absent"),
    [
        ("pairs=[]", set(), {"search", "rank_heads"}),
        (
            "use={feature_sets: [all, residual, components, heads], controls: []}",
            {"figure3.svg", "selection.html"}, set(),
        ),
        (
            "use={feature_sets: [all, all_intercept, components], controls: []}",
            {"figure3.svg", "selection.html"}, {"rank_heads"},
        ),
        ("use={feature_sets: [all, heads], controls: []}", {"selection.html"}, {"search"}),
    ],
)  # fmt: skip
def test_only_pages_with_something_to_show_are_asked_for(bare, option, pages, absent):
    choice = ("--configfile", TINY, "--config", option)
    done = bare.snakemake("-n", "--cores", "2", *choice)
    asked = {
        page
        for page in ("figure2.svg", "figure3.svg", "figure4.svg", "selection.html")
        if f"/{page}" in done.stdout
    }
    assert asked == pages
    assert not absent & set(bare.planned(*choice))


def test_a_search_is_asked_for_by_name_with_the_rankings(bare):
    jobs = bare.planned("--configfile", TINY, "--", "searches")
    assert jobs["search"] == 2
    assert jobs["rank_heads"] == 2


def test_an_edited_list_of_texts_and_a_missing_one_are_noticed(bare):
    (bare.root / "mine.yaml").write_text(
        "texts: {mine: {kind: file, file: mine.txt}}\nuse: {texts: [mine]}\n"
    )
    plan = ("-n", "--cores", "1", "--configfile", TINY, "mine.yaml")
    done = bare.snakemake(*plan, check=False)
    assert done.returncode != 0
    assert "mine.txt" in done.stdout + done.stderr
    (bare.root / "mine.txt").write_text("a photo\n")
    assert "mine.txt" in bare.snakemake(*plan).stdout


def shell_of(project, rule, *arguments):
    """The command of a rule's first job."""
    done = project.snakemake("-n", "-p", "--cores", "2", *arguments)
    return re.search(rf"rule {rule}:.*?Shell command: (.*?)\n", done.stdout, re.S)[1]


def test_classes_of_a_metadata_table_and_a_wheels_model_reach_the_verbs(bare):
    generator = "generators: {upsample_nearest: {metadata: m.csv, real_values: ['0', nature]}}"
    (bare.root / "classes.yaml").write_text(f"{generator}\n")
    target = "results/tiny/images/upsample_nearest.parquet"
    command = shell_of(bare, "scan", "--configfile", TINY, "classes.yaml", "--", target)
    assert "--metadata=m.csv --real-values=0,nature" in command
    command = shell_of(bare, "weights", "--", "data/weights/clip_b16.safetensors")
    assert "--model ViT-B-16-quickgelu" in command


def test_patterns_of_every_form_are_planned_and_passed(bare):
    """Braces are no wildcards, and a pattern that begins with a hyphen is no option."""
    pattern = r"-(?P<group>\d{6})_\d{1,4}$"
    entry = f"generators: {{upsample_nearest: {{group_pattern: '{pattern}', title: 'six {{6}}'}}}}"
    (bare.root / "pattern.yaml").write_text(entry)
    options = ("--configfile", TINY, "pattern.yaml")
    assert bare.planned(*options)["provenance"] == 1
    command = shell_of(bare, "scan", *options, "--", "results/tiny/images/upsample_nearest.parquet")
    assert f"'--group-pattern={pattern}'" in command


def test_own_weights_may_lie_where_those_of_a_wheel_do(bare):
    weights = bare.root / "data/weights/own.safetensors"
    weights.parent.mkdir(parents=True, exist_ok=True)
    weights.touch()
    (bare.root / "own.yaml").write_text(
        f"encoders: {{own: {{model: tiny, weights: {weights.relative_to(bare.root)}}}}}\n"
        "use: {encoders: [own]}\n"
    )
    jobs = bare.planned("--configfile", TINY, "own.yaml")
    assert jobs["embed"] > 0
    assert "weights" not in jobs


def test_controls_are_fitted_on_the_fast_grid_unless_told_otherwise(bare):
    target = "results/tiny/seed0/tiny/probes/random/denoise_tv_4.npz"
    for option, grid in (("probe={grid: paper}", "fast"), ("controls={grid: paper}", "paper")):
        options = ("--configfile", TINY, "--config", option, "--", target)
        done = bare.snakemake("-n", "-p", "--cores", "2", *options)
        assert f"--grid {grid}" in done.stdout


def test_links_in_a_users_folder_are_followed_and_may_dangle(bare):
    elsewhere = bare.root / "elsewhere"
    elsewhere.mkdir()
    Image.new("RGB", (64, 64), (200, 10, 10)).save(elsewhere / "1.png")
    for name in ("photos", "gan_a", "gan_b"):
        (bare.root / "linked" / name).mkdir(parents=True)
        (bare.root / "linked" / name / "class").symlink_to(elsewhere)
        (bare.root / "linked" / name / "gone.png").symlink_to(bare.root / "nowhere.png")
    (bare.root / "linked.yaml").write_text(
        "run: linked\ndata_root: linked\nsources: {photos: {folder: photos}}\n"
        "generators: {gan_a: {family: gan, source: photos, folder: gan_a},\n"
        "  gan_b: {family: gan, source: photos, folder: gan_b}}\n"
        "use: {generators: [gan_a, gan_b], encoders: [tiny], feature_sets: [all], controls: []}\npairs: []\n"
    )
    choice = ("--configfile", "linked.yaml", "--", "results/linked/images/gan_a.parquet")
    bare.snakemake("--cores", "1", *choice)
    assert bare.planned(*choice) == {}
    Image.new("RGB", (64, 64), (10, 200, 10)).save(elsewhere / "2.png")
    assert bare.planned(*choice) == {"scan": 1}
    (elsewhere / "2.png").unlink()
    assert bare.planned(*choice) == {}
    (elsewhere / "1.png").rename(elsewhere / "3.png")  # groups come from names
    assert bare.planned(*choice) == {"scan": 1}


def test_images_to_judge_are_divided_among_jobs(bare):
    options = ["--configfile", TINY, "--config", "images=photos", "detect_parts=3"]
    jobs = bare.planned(*options, "--", "detect")
    assert (jobs["detect_part"], jobs["detect"], jobs["export"]) == (3, 1, 1)
    made = bare.root / "made"
    made.mkdir()
    for name in ("detector.json", "detector.safetensors"):
        (made / name).touch()
    alone = bare.planned(*options, "detector=made", "--", "detect")
    assert {name for name, count in alone.items() if count and name != "total"} == {
        "detect", "detect_part",
    }  # fmt: skip
