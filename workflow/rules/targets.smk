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
            "weights": config["encoders"][e]["weights"],
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
    texts = bool(TEXTS) and STUDY.has_text(encoder)
    families = STUDY.families(encoder)
    return {
        "interpretation": texts,
        "interpretability": texts,
        "concepts": bool(EDITS),
        "robustness": bool(PERTURBATIONS),
        "searches": bool(set(families) & set(SEARCHED)),
        "head_rankings": bool(set(families) & set(clipsieve_config.ORDERED)),
    }.get(name, True)


def files_of(name, result):
    """Every file of the kind `name` that the table or figure `result` reads."""
    pattern = f"results/{RUN}/{registry.INPUTS[name]}"
    seeds = [FIRST_SEED] if name in ("concepts", "robustness") else SEEDS
    if "{encoder}" not in pattern:
        return list(dict.fromkeys(pattern.format(seed=seed) for seed in seeds))
    kind = registry.TEXT_KINDS.get(result)
    found = []
    for seed in seeds:
        for encoder in ENCODERS:
            if not has_input(name, encoder):
                continue
            wanted = registry.FAMILIES.get(result, STUDY.families(encoder))
            values = {
                "families": [f for f in STUDY.families(encoder) if f in wanted],
                "directions": STUDY.directions,
                "texts": [t for t in TEXTS if kind in (None, text_kind(t))],
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
    if "{train}" in pattern:
        trains = dict.fromkeys(a for a, _ in values["directions"])
        return [pattern.format(**names, train=a) for a in trains]
    return [pattern.format(**names)]


def table_inputs(wildcards):
    names = registry.TABLES[wildcards.table]
    return {
        **{n: files_of(n, wildcards.table) for n in names},
        "code": code("report/**/*.*"),
    }


def figure_inputs(wildcards):
    names = registry.FIGURES[wildcards.figure]
    return {
        **{n: files_of(n, wildcards.figure) for n in names},
        "code": code("report/**/*.*"),
    }


def input_options(wildcards, input):
    """Named inputs as options: --cells FILE .. --means FILE .."""
    options = []
    for name, files in input.items():
        if name != "code" and len(files):
            options += [f"--{name.replace('_', '-')}", *files]
    return options


def category_of(name):
    """The heading under which the report files the table or figure in wildcard `name`."""
    return lambda wildcards: registry.CATEGORIES[wildcards[name]]


def exists(result, names):
    """Whether this run has something to show in a table or figure; a heat map needs both its sides."""
    needed = [n for n in names if (result, n) not in registry.OPTIONAL] or names
    families = {f for encoder in ENCODERS for f in STUDY.families(encoder)}
    shown = registry.FAMILIES.get(result, ()) if result in registry.FIGURES else ()
    return families.issuperset(shown) and any(files_of(n, result) for n in needed)


# ---- targets ----------------------------------------------------------------------------------


def text_pairs():
    """Every (encoder, list of texts) that exists."""
    return [(e, t) for e in ENCODERS if STUDY.has_text(e) for t in TEXTS]


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
            s=[*STUDY.image_sets, *perturbed_sets()],
        ),
        *(
            f"results/{RUN}/texts/{encoder}/{texts}.h5"
            for encoder, texts in text_pairs()
        ),
    ]


def search_results(wildcards):
    return files_of("searches", "searches") + files_of("head_rankings", "searches")


def tables_and_figures(wildcards):
    stem = f"results/{RUN}"
    return [
        f"{stem}/manifest.parquet",
        f"{stem}/leaderboard.csv",
        *(f"{stem}/seed{seed}/leakage.parquet" for seed in SEEDS),
        *(
            f"{stem}/tables/{t}.html"
            for t, names in registry.TABLES.items()
            if exists(t, names)
        ),
        *(
            f"{stem}/figures/{f}.svg"
            for f, names in registry.FIGURES.items()
            if exists(f, names)
        ),
    ]


def final_results(wildcards):
    galleries = [f"results/{RUN}/gallery/{encoder}.html" for encoder in ENCODERS]
    return [*tables_and_figures(wildcards), *galleries]
