"""Every family of feature sets, one record each."""

from __future__ import annotations

from clipsieve.families.family import Family, catalogue

#: Every family, by name. The order is that of the config's defaults and of every page.
FAMILIES = catalogue((
    Family(
        "all", "all columns", "method", "clipsieve.selection.choose:every_column",
        explained=True, robustness=True, pooled=True,
    ),
    Family(
        "all_intercept", "all columns, with intercept", "method", "clipsieve.selection.choose:every_column",
        fit_intercept=True,
    ),
    Family(
        "residual", "residual", "method", "clipsieve.selection.choose:every_column",
        space="residual", fit_intercept=True, explained=True, robustness=True,
    ),
    Family(
        "components", "components", "method", "clipsieve.selection.choose:kept_columns",
        pairs="unordered", reads=("searches",),
        settings={"alpha": "search.alpha"}, explained=True, robustness=True, pooled=True,
        figure="figure3",
    ),
    Family(
        "components_intercept", "components, with intercept", "method", "clipsieve.selection.choose:kept_columns",
        pairs="unordered", reads=("searches",),
        settings={"alpha": "search.alpha"}, fit_intercept=True,
        same_choice_as="components", figure="figure2",
    ),
    Family(
        "residual_components", "residual on components", "method", "clipsieve.selection.choose:kept_columns",
        pairs="unordered", reads=("searches",),
        settings={"alpha": "search.alpha"}, space="residual", fit_intercept=True,
        same_choice_as="components", figure="figure4",
    ),
    Family(
        "heads", "heads", "method", "clipsieve.selection.choose:best_heads",
        pairs="ordered", reads=("rankings",), space="heads", explained=True, robustness=True,
        pooled=True,
        settings={"best": "heads.best", "exclude": "heads.exclude"},
    ),
    Family(
        "layers", "layers", "method", "clipsieve.selection.choose:best_layers",
        pairs="ordered", reads=("layer_rankings",), space="layers", pooled=True,
        settings={"best": "layers.best", "exclude": "heads.exclude"},
    ),
    Family(
        "nuisance", "less the sources' differences", "method", "clipsieve.selection.projections:less_sources",
        reads=("reals",), sources=2, pooled=True,
    ),
    Family(
        "nuisance_components", "less the sources' differences and components", "method",
        "clipsieve.selection.projections:less_sources_and_components",
        reads=("reals",), settings={"components": "nuisance.components"}, pooled=True,
    ),
    Family(
        "nuisance_strict", "less the differences of sources not tested", "method",
        "clipsieve.selection.projections:less_other_sources",
        reads=("everyone",), sources=3, pooled=True,
    ),
    Family(
        "nuisance_chosen", "less the sources' differences and a chosen number of components",
        "method", "clipsieve.selection.projections:less_chosen_components",
        reads=("everyone",), generators=3, pooled=True,
    ),
    Family(
        "block", "best block of heads", "method", "clipsieve.selection.block_sets:block",
        reads=("everyone",), generators=3, space="heads", pooled=True, grid="fast",
    ),
    Family(
        "block_nuisance", "best block of heads, less the sources' differences", "method",
        "clipsieve.selection.block_sets:block_less_sources",
        reads=("everyone",), generators=3, sources=2, space="heads", pooled=True, grid="fast",
    ),
    Family(
        "block_beside", "best block beside the embedding", "method", "clipsieve.selection.block_sets:block_beside",
        reads=("everyone",), generators=3, space="beside", pooled=True, grid="fast",
    ),
    Family(
        "block_beside_nuisance", "best block beside the embedding, less the sources' differences",
        "method", "clipsieve.selection.block_sets:block_beside_less_sources",
        reads=("everyone",), generators=3, sources=2, space="beside", pooled=True, grid="fast",
    ),
    Family(
        "middle_beside", "middle blocks beside the embedding", "method", "clipsieve.selection.block_sets:middle_beside",
        reads=("everyone",), space="beside", pooled=True, grid="fast",
    ),
    Family(
        "middle_beside_nuisance", "middle blocks beside the embedding, less the sources' differences",
        "method", "clipsieve.selection.block_sets:middle_beside_less_sources",
        reads=("everyone",), sources=2, space="beside", pooled=True, grid="fast",
    ),
    Family(
        "shuffled", "shuffled labels", "control", "clipsieve.selection.choose:every_column",
        shuffle=True, settings={"draws": "controls.shuffles"}, control_of=("all",), explained=True,
    ),
    Family(
        "nearest_mean", "nearest class mean", "control", "clipsieve.selection.choose:every_column",
        fit_intercept=True, classifier="clipsieve.probes.residual:fit_nearest_mean",
        control_of=("all",),
    ),
    Family(
        "random", "random columns", "control", "clipsieve.selection.filters:select_random_columns",
        pairs="unordered", reads=("searches",), settings={"draws": "controls.draws"},
        control_of=("components",), pooled=True,
    ),
    Family(
        "fisher", "Fisher filter", "control", "clipsieve.selection.filters:select_fisher",
        pairs="unordered", reads=("searches", "rows"), control_of=("components",),
    ),
    Family(
        "variance", "variance filter", "control", "clipsieve.selection.filters:select_variance",
        pairs="unordered", reads=("searches", "rows"), control_of=("components",),
    ),
    Family(
        "l1", "L1 selection", "control", "clipsieve.selection.filters:select_l1",
        pairs="unordered", reads=("searches", "rows"), control_of=("components",),
    ),
    Family(
        "random_heads", "random heads", "control", "clipsieve.selection.filters:select_random_heads",
        pairs="ordered", reads=("rankings",), space="heads", settings={"draws": "controls.draws"},
        control_of=("heads",), pooled=True,
    ),
    Family(
        "all_tuned", "all columns, tuned on the validation generator", "control",
        "clipsieve.selection.choose:every_column", pairs="ordered", reads=("rankings",), control_of=("heads",),
        tuned_on_partner=True,
    ),
    Family(
        "random_layers", "random layers", "control", "clipsieve.selection.filters:select_random_layers",
        pairs="ordered", reads=("layer_rankings",), space="layers",
        settings={"draws": "controls.draws"}, control_of=("layers",), pooled=True,
    ),
    Family(
        "random_directions", "less random directions, as many as sources differ in", "control",
        "clipsieve.selection.projections:less_random_directions",
        reads=("reals",), sources=2, settings={"draws": "controls.draws"},
        control_of=("nuisance", "nuisance_strict"), pooled=True,
    ),
    Family(
        "random_components", "less random directions, components as well", "control",
        "clipsieve.selection.projections:less_random_components",
        reads=("reals",), settings={"draws": "controls.draws"},
        control_of=("nuisance_components",), pooled=True,
    ),
    Family(
        "random_chosen", "less random directions, a chosen number", "control",
        "clipsieve.selection.projections:less_random_chosen",
        reads=("everyone",), generators=3, settings={"draws": "controls.draws"},
        control_of=("nuisance_chosen",), pooled=True,
    ),
    Family(
        "random_block", "random block of heads", "control", "clipsieve.selection.block_sets:random_block",
        reads=("everyone",), generators=3, space="heads", settings={"draws": "blocks.draws"},
        control_of=("block", "block_nuisance"), pooled=True, grid="fast",
    ),
    Family(
        "scattered_heads", "random heads, as many as a block has", "control",
        "clipsieve.selection.block_sets:scattered_heads",
        reads=("everyone",), generators=3, space="heads", settings={"draws": "blocks.draws"},
        control_of=("block", "block_nuisance"), pooled=True, grid="fast",
    ),
    Family(
        "random_block_beside", "random block beside the embedding", "control",
        "clipsieve.selection.block_sets:random_block_beside",
        reads=("everyone",), generators=3, space="beside", settings={"draws": "blocks.draws"},
        control_of=("block_beside", "block_beside_nuisance"), pooled=True, grid="fast",
    ),
    Family(
        "columns_beside", "random columns twice, as many as a block has", "control",
        "clipsieve.selection.block_sets:columns_beside_block",
        reads=("everyone",), generators=3, heads=True, settings={"draws": "blocks.draws"},
        control_of=("block_beside",), pooled=True, grid="fast",
    ),
    Family(
        "columns_beside_less", "random columns twice, as many as a block has, less random directions",
        "control", "clipsieve.selection.block_sets:columns_beside_block_less_random",
        reads=("everyone",), generators=3, heads=True, sources=2, settings={"draws": "blocks.draws"},
        control_of=("block_beside_nuisance",), pooled=True, grid="fast",
    ),
    Family(
        "columns_middle", "random columns twice, as many as the middle blocks have", "control",
        "clipsieve.selection.block_sets:columns_beside_middle",
        reads=("everyone",), heads=True, settings={"draws": "blocks.draws"},
        control_of=("middle_beside",), pooled=True, grid="fast",
    ),
    Family(
        "columns_middle_less",
        "random columns twice, as many as the middle blocks have, less random directions", "control",
        "clipsieve.selection.block_sets:columns_beside_middle_less_random",
        reads=("everyone",), heads=True, sources=2, settings={"draws": "blocks.draws"},
        control_of=("middle_beside_nuisance",), pooled=True, grid="fast",
    ),
))  # fmt: skip
