"""Every default that the config has is the command's too."""

from __future__ import annotations

import importlib

import pytest

from clipsieve.cli import parser_of
from clipsieve.config import default

# command and option -> key of the config
SAME = {
    ("align", "format"): "align.format",
    ("align", "quality"): "align.quality",
    ("align", "size"): "align.size",
    ("align", "colour_profiles"): "embed.colour_profiles",
    ("embed", "colour_profiles"): "embed.colour_profiles",
    ("perturb", "colour_profiles"): "embed.colour_profiles",
    ("audit-leakage", "near_duplicate_bits"): "audit.near_duplicate_bits",
    ("audit-leakage", "on_leak"): "audit.on_leak",
    ("audit-shortcuts", "confidence"): "evaluation.confidence",
    ("audit-shortcuts", "resamples"): "evaluation.resamples",
    ("concepts", "draws"): "interpretation.draws",
    ("embed", "batch_size"): "embed.batch_size",
    ("embed", "decoder"): "embed.decoder",
    ("embed", "on_problem"): "embed.on_problem",
    ("evaluate", "confidence"): "evaluation.confidence",
    ("evaluate", "interval"): "evaluation.interval",
    ("evaluate", "resamples"): "evaluation.resamples",
    ("export", "confidence"): "evaluation.confidence",
    ("export", "resamples"): "evaluation.resamples",
    ("fit", "grid"): "probe.grid",
    ("fit", "residual_kind"): "residual.kind",
    ("interpret", "draws"): "interpretation.draws",
    ("interpret", "top"): "interpretation.nearest",
    ("rank-heads", "C"): "heads.C",
    ("rank-layers", "C"): "layers.C",
    ("robustness", "confidence"): "evaluation.confidence",
    ("robustness", "interval"): "evaluation.interval",
    ("robustness", "resamples"): "evaluation.resamples",
    ("search", "C"): "search.C",
    ("search", "fit_intercept"): "search.fit_intercept",
    ("search", "score"): "search.score",
    ("search", "tie"): "search.tie",
    ("split", "test"): "splits.test",
    ("split", "val"): "splits.val",
}


@pytest.mark.parametrize(("command", "option"), SAME, ids="-".join)
def test_a_command_has_the_default_of_the_config(command, option):
    module = importlib.import_module(f"clipsieve.cli.{command.replace('-', '_')}")
    assert parser_of(command, module).get_default(option) == default(SAME[command, option])


def test_defaults_of_the_schema_are_read_by_key():
    assert default("seeds") == [0]
    assert default("controls.grid") == "fast"
    with pytest.raises(KeyError):
        default("evaluation.nothing")
