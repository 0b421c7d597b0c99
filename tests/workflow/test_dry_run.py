from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.workflow.conftest import TINY


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


def planned_in_seconds(project, *arguments):
    """Jobs of a dry-run, and its processor time, so that a busy machine does not decide."""
    before = os.times()
    jobs = project.planned(*arguments)
    after = os.times()
    return jobs, sum(after[2:4]) - sum(before[2:4])


def test_the_papers_run_is_planned_within_ten_seconds_and_five_thousand_jobs(bare):
    jobs, seconds = planned_in_seconds(
        bare, "--configfile", "config/paper.yaml", "--profile", "slurm"
    )
    assert seconds < 10
    assert sum(jobs.values()) < 5000
    assert jobs["search"] == 2 * 5 * 2
    # 14 generators and 8 sources, each embedded once by each encoder; the edits of concepts besides
    assert jobs["embed"] == 2 * (22 + 8 * 5)


def test_all_pairs_of_the_paper_under_five_seeds_are_planned_within_a_minute(bare):
    (bare.root / "all_pairs.yaml").write_text("pairs: all\nseeds: [0, 1, 2, 3, 4]\n")
    jobs, seconds = planned_in_seconds(bare, "--configfile", "config/paper.yaml", "all_pairs.yaml")
    assert seconds < 60
    assert jobs["search"] == 182 * 2 * 5


def test_planning_imports_neither_torch_nor_numpy_for_us(bare):
    code = (
        "import sys; import clipsieve.config, clipsieve.versions, clipsieve.report.registry; "
        "bad = {'torch', 'numpy', 'pandas', 'open_clip'} & set(sys.modules); assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=bare.root)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["serch={}"], ["unknown key 'serch'", "did you mean 'search'"]),
        (["pairs=[[upsample_nearest, sd]]"], ["pairs", "'sd'"]),
        (["use={generators: [style_a, style_a]}"], ["use.generators", "'style_a' stands twice"]),
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
