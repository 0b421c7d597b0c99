"""What the run is asked for: inputs of tables and figures from their registry, and the targets."""

# ---- facts of generators and encoders, for pages ----------------------------------------------

GENERATOR_FACTS = json.dumps(
    {
        g: {
            "title": config["generators"][g]["title"] or g,
            "family": config["generators"][g]["family"],
            "kind": config["generators"][g]["kind"],
        }
        for g in STUDY.generators
    }
)
ENCODER_FACTS = json.dumps(
    {
        e: {
            "title": config["encoders"][e]["title"] or e,
            "weights": config["encoders"][e]["weights"]
            or ("precomputed" if STUDY.is_imported(e) else None),
            "model": config["encoders"][e]["model"],
        }
        for e in ENCODERS
    }
)
FAMILY_OF = json.dumps({g: config["generators"][g]["family"] for g in STUDY.generators})
RELEASE_OF = json.dumps(
    {
        g: config["generators"][g]["released"]
        for g in STUDY.generators
        if config["generators"][g]["released"]
    }
)
SOURCE_OF = json.dumps({g: STUDY.source_of(g) for g in STUDY.generators})


# ---- tables and figures -----------------------------------------------------------------------


def has_input(name, encoder):
    """Whether a kind of file exists for an encoder in this run."""
    texts = bool(STUDY.texts_of(encoder))
    edited = not STUDY.is_imported(encoder)
    made_from = {r for f in STUDY.families(encoder) for r in families.get(f).reads}
    return {
        "interpretation": texts,
        "interpretability": texts,
        "concepts": bool(EDITS) and edited,
        "robustness": bool(PERTURBATIONS) and edited,
        "searches": "searches" in made_from,
        "removal": "searches" in made_from and config["search"]["sizes"] > 0,
        "training_choice": bool(config["training"]["choose"])
        and len(STUDY.generators) > 2,
        "head_rankings": "rankings" in made_from,
        "layer_rankings": "layer_rankings" in made_from,
    }.get(name, True)


def files_of(name, texts=None, families=()):
    """Every file of the kind `name`; of these kinds of text lists and families, where given."""
    pattern = f"results/{RUN}/{registry.INPUTS[name]}"
    seeds = [FIRST_SEED] if name in ("concepts", "robustness") else SEEDS
    if "{encoder}" not in pattern:
        return list(dict.fromkeys(pattern.format(seed=seed) for seed in seeds))
    found = []
    for seed in seeds:
        for encoder in ENCODERS:
            if not has_input(name, encoder):
                continue
            values = {
                "families": [
                    f
                    for f in STUDY.families(encoder, seed)
                    if not families or f in families
                ],
                "directions": STUDY.directions,
                "texts": [
                    t
                    for t in STUDY.texts_of(encoder)
                    if texts in (None, "every", text_kind(t))
                ],
            }
            found += expand_pattern(pattern, seed, encoder, values)
    return found


def text_kind(texts):
    """vocabulary for the tokenizer's words, phrases for every other list."""
    kind = config["texts"][texts]["kind"]
    return kind if kind == "vocabulary" else "phrases"


def expand_pattern(pattern, seed, encoder, values):
    """One pattern of the registry, for everything that it leaves open."""
    names = {"seed": seed, "encoder": encoder}
    if "{family}" in pattern:
        return [pattern.format(**names, family=f) for f in values["families"]]
    if "{texts}" in pattern:
        return [pattern.format(**names, texts=t) for t in values["texts"]]
    if "{val}" in pattern:
        return [
            pattern.format(**names, train=a, val=b) for a, b in values["directions"]
        ]
    if "{generator}" in pattern:
        return [pattern.format(**names, generator=g) for g in STUDY.generators]
    if "{train}" in pattern:
        trains = dict.fromkeys(a for a, _ in values["directions"])
        return [pattern.format(**names, train=a) for a in trains]
    return [pattern.format(**names)]


def inputs_of(result):
    """Files of every input of a table or figure, by input."""
    return {
        name: files_of(name, result.texts, result.families)
        for name in result.all_inputs
    }


def table_inputs(wildcards):
    return inputs_of(registry.TABLES[wildcards.table])


def figure_inputs(wildcards):
    return inputs_of(registry.FIGURES[wildcards.figure])


def input_options(wildcards, input):
    """Named inputs as options: --cells FILE .. --means FILE .."""
    options = []
    for name, files in input.items():
        if len(files):
            options += [f"--{name.replace('_', '-')}", *files]
    return options


def explorer_inputs(wildcards):
    """Files of every input of the explorer; distributions of scores are of methods alone."""
    found = {
        name: files_of(name, families=families.METHODS) for name in registry.EXPLORED
    }
    return {name: files for name, files in found.items() if files}


def explorer_options(wildcards, input):
    """The same as options; folders of images are not among them."""
    files = {k: v for k, v in input.items() if k != "image_files"}
    return input_options(wildcards, files)


def pair_option(wildcards):
    """The search pair that a figure shows: the first of the config, of those that take one."""
    if not registry.FIGURES[wildcards.figure].takes_pair or not STUDY.pairs:
        return []
    return ["--pair", families.pair_id(*STUDY.pairs[0])]


def table_category(wildcards):
    return registry.TABLES[wildcards.table].category


def figure_category(wildcards):
    return registry.FIGURES[wildcards.figure].category


def exists(result):
    """Whether this run has something to show in a table or figure; a heat map needs both its sides."""
    if result.several_runs and not config["compare"]:
        return False
    files = inputs_of(result)
    present = {f for encoder in ENCODERS for f in STUDY.families(encoder)}
    is_figure = registry.FIGURES.get(result.name) is result
    if is_figure and not present.issuperset(result.families):
        return False
    return any(files[name] for name in result.inputs or result.optional)


# ---- targets ----------------------------------------------------------------------------------


def text_pairs():
    """Every (encoder, list of texts) that exists."""
    return [(e, t) for e in ENCODERS for t in STUDY.texts_of(e)]


def perturbed_sets():
    """Image sets of edited training images of the sources, and of perturbed test images."""
    return [
        *(f"{s}__train__{edit}" for edit in EDITS for s in STUDY.sources),
        *(f"{s}__test__{edit}" for edit in PERTURBATIONS for s in STUDY.image_sets),
    ]


def gpu_results(wildcards):
    return [
        *expand(
            "results/{run}/embeddings/{encoder}/{s}.h5",
            run=RUN,
            encoder=ENCODERS,
            s=STUDY.image_sets,
        ),
        *(
            f"results/{RUN}/embeddings/{encoder}/{s}.h5"
            for encoder in ENCODERS
            if not STUDY.is_imported(encoder)
            for s in perturbed_sets()
        ),
        *(
            f"results/{RUN}/texts/{encoder}/{texts}.h5"
            for encoder, texts in text_pairs()
        ),
    ]


def search_results(wildcards):
    return [
        *files_of("searches"),
        *files_of("head_rankings"),
        *files_of("layer_rankings"),
    ]


def tables_and_figures(wildcards):
    stem = f"results/{RUN}"
    return [
        f"{stem}/manifest.parquet",
        f"{stem}/leaderboard.csv",
        *(f"{stem}/seed{seed}/leakage.parquet" for seed in SEEDS),
        *(
            f"{stem}/tables/{name}.html"
            for name, result in registry.TABLES.items()
            if exists(result)
        ),
        *(
            f"{stem}/figures/{name}.svg"
            for name, result in registry.FIGURES.items()
            if exists(result)
        ),
    ]


def final_results(wildcards):
    galleries = [f"results/{RUN}/gallery/{encoder}.html" for encoder in ENCODERS]
    cards = [f"results/{RUN}/cards/{s}.html" for s in STUDY.image_sets]
    explorer = f"results/{RUN}/explorer.html"
    return [*tables_and_figures(wildcards), *galleries, *cards, explorer]


# ---- images to judge ---------------------------------------------------------------------------

# embeddings that were made elsewhere have no encoder here
OWN_ENCODERS = [e for e in ENCODERS if not STUDY.is_imported(e)]
DETECTOR = (
    config["detector"]
    or f"results/{RUN}/detectors/{(OWN_ENCODERS or ['none'])[0]}/{EVERY_GENERATOR}"
)
DETECTED = Path(config["images"] or "images").name
PARTS = config["detect_parts"]


def images_to_judge():
    """Say what is missing where the images to judge are not named."""
    raise WorkflowError(
        "config: images: names no folder to judge; add --config images=FOLDER"
    )
