"""Every family of feature sets, one record each."""

from __future__ import annotations

from clipsieve.families.family import Family, catalogue

_CHOOSE = "clipsieve.selection.choose"
_FILTERS = "clipsieve.selection.filters"
_PROJECTIONS = "clipsieve.selection.projections"

#: Every family, by name. The order is that of the config's defaults and of every page.
FAMILIES = catalogue((
    Family(
        "all", "all columns", "method", f"{_CHOOSE}:every_column",
        explained=True, robustness=True, pooled=True,
    ),
    Family(
        "all_intercept", "all columns, with intercept", "method", f"{_CHOOSE}:every_column",
        fit_intercept=True,
    ),
    Family(
        "residual", "residual", "method", f"{_CHOOSE}:every_column",
        space="residual", fit_intercept=True, explained=True, robustness=True,
    ),
    Family(
        "components", "components", "method", f"{_CHOOSE}:kept_columns",
        pairs="unordered", reads=("searches",),
        settings={"alpha": "search.alpha"}, explained=True, robustness=True, pooled=True,
        figure="figure3",
    ),
    Family(
        "components_intercept", "components, with intercept", "method", f"{_CHOOSE}:kept_columns",
        pairs="unordered", reads=("searches",),
        settings={"alpha": "search.alpha"}, fit_intercept=True,
        same_choice_as="components", figure="figure2",
    ),
    Family(
        "residual_components", "residual on components", "method", f"{_CHOOSE}:kept_columns",
        pairs="unordered", reads=("searches",),
        settings={"alpha": "search.alpha"}, space="residual", fit_intercept=True,
        same_choice_as="components", figure="figure4",
    ),
    Family(
        "heads", "heads", "method", f"{_CHOOSE}:best_heads",
        pairs="ordered", reads=("rankings",), space="heads", explained=True, robustness=True,
        pooled=True,
        settings={"best": "heads.best", "exclude": "heads.exclude"},
    ),
    Family(
        "layers", "layers", "method", f"{_CHOOSE}:best_layers",
        pairs="ordered", reads=("layer_rankings",), space="layers", pooled=True,
        settings={"best": "layers.best", "exclude": "heads.exclude"},
    ),
    Family(
        "nuisance", "less the sources' differences", "method", f"{_PROJECTIONS}:less_sources",
        reads=("reals",), sources=2, pooled=True,
    ),
    Family(
        "nuisance_components", "less the sources' differences and components", "method",
        f"{_PROJECTIONS}:less_sources_and_components",
        reads=("reals",), settings={"components": "nuisance.components"}, pooled=True,
    ),
    Family(
        "shuffled", "shuffled labels", "control", f"{_CHOOSE}:every_column",
        shuffle=True, settings={"draws": "controls.shuffles"}, control_of=("all",), explained=True,
    ),
    Family(
        "nearest_mean", "nearest class mean", "control", f"{_CHOOSE}:every_column",
        fit_intercept=True, classifier="clipsieve.probes.residual:fit_nearest_mean",
        control_of=("all",),
    ),
    Family(
        "random", "random columns", "control", f"{_FILTERS}:select_random_columns",
        pairs="unordered", reads=("searches",), settings={"draws": "controls.draws"},
        control_of=("components",), pooled=True,
    ),
    Family(
        "fisher", "Fisher filter", "control", f"{_FILTERS}:select_fisher",
        pairs="unordered", reads=("searches", "rows"), control_of=("components",),
    ),
    Family(
        "variance", "variance filter", "control", f"{_FILTERS}:select_variance",
        pairs="unordered", reads=("searches", "rows"), control_of=("components",),
    ),
    Family(
        "l1", "L1 selection", "control", f"{_FILTERS}:select_l1",
        pairs="unordered", reads=("searches", "rows"), control_of=("components",),
    ),
    Family(
        "random_heads", "random heads", "control", f"{_FILTERS}:select_random_heads",
        pairs="ordered", reads=("rankings",), space="heads", settings={"draws": "controls.draws"},
        control_of=("heads",), pooled=True,
    ),
    Family(
        "all_tuned", "all columns, tuned on the validation generator", "control",
        f"{_CHOOSE}:every_column", pairs="ordered", reads=("rankings",), control_of=("heads",),
        tuned_on_partner=True,
    ),
    Family(
        "random_layers", "random layers", "control", f"{_FILTERS}:select_random_layers",
        pairs="ordered", reads=("layer_rankings",), space="layers",
        settings={"draws": "controls.draws"}, control_of=("layers",), pooled=True,
    ),
    Family(
        "random_directions", "less random directions, as many as sources differ in", "control",
        f"{_PROJECTIONS}:less_random_directions",
        reads=("reals",), sources=2, settings={"draws": "controls.draws"},
        control_of=("nuisance",), pooled=True,
    ),
    Family(
        "random_components", "less random directions, components as well", "control",
        f"{_PROJECTIONS}:less_random_components",
        reads=("reals",), settings={"draws": "controls.draws"},
        control_of=("nuisance_components",), pooled=True,
    ),
))  # fmt: skip
