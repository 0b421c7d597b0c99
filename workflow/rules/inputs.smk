"""Inputs that depend on the config: which files a job reads, and the same as command-line options."""

# ---- rows of data sets ------------------------------------------------------------------------


def embeddings_of(*generators):
    """Embedding files of generators and of their sources, each once, in that order."""
    sets = dict.fromkeys([*generators, *(STUDY.source_of(g) for g in generators)])
    return [f"results/{RUN}/embeddings/{{encoder}}/{s}.h5" for s in sets]


def splits_of(*generators):
    """Split tables of the same image sets."""
    sets = dict.fromkeys([*generators, *(STUDY.source_of(g) for g in generators)])
    return [f"results/{RUN}/seed{{seed}}/splits/{s}.parquet" for s in sets]


def filled(paths, wildcards, seed=""):
    """Paths with the job's encoder and seed put in."""
    names = dict(wildcards.items())
    return [
        path.format(encoder=names.get("encoder", ""), seed=names.get("seed", seed))
        for path in paths
    ]


def train_embeddings(wildcards):
    return filled(embeddings_of(wildcards.train), wildcards)


def train_splits(wildcards):
    return filled(splits_of(wildcards.train), wildcards)


def val_embeddings(wildcards):
    return filled(embeddings_of(wildcards.val), wildcards)


def val_splits(wildcards):
    return filled(splits_of(wildcards.val), wildcards)


def partners(train):
    """Generators that a ranking trained on this one is scored on."""
    return [val for first, val in STUDY.directions if first == train]


def partner_embeddings(wildcards):
    return [
        p
        for v in partners(wildcards.train)
        for p in filled(embeddings_of(v), wildcards)
    ]


def partner_splits(wildcards):
    return [
        p for v in partners(wildcards.train) for p in filled(splits_of(v), wildcards)
    ]


def partner_options(wildcards):
    """The same as command-line options, one group a partner."""
    options = []
    for val in partners(wildcards.train):
        options += ["--val-embeddings", *filled(embeddings_of(val), wildcards)]
        options += ["--val-splits", *filled(splits_of(val), wildcards)]
    return options


def pair_names(wildcards):
    """Pairs of a family: unordered for components, ordered for heads, none for the others."""
    if wildcards.family in clipsieve_config.ORDERED:
        return [f"{a}--{b}" for a, b in STUDY.directions]
    return [f"{a}--{b}" for a, b in STUDY.pairs] if wildcards.family in SEARCHED else []


def family_searches(wildcards):
    if wildcards.family not in SEARCHED:
        return []
    stem = f"results/{RUN}/seed{wildcards.seed}/{wildcards.encoder}/searches"
    return [f"{stem}/{a}--{b}.parquet" for a, b in STUDY.directions]


def family_rankings(wildcards):
    if wildcards.family not in clipsieve_config.ORDERED:
        return []
    stem = f"results/{RUN}/seed{wildcards.seed}/{wildcards.encoder}/head_rankings"
    return [
        f"{stem}/{train}.parquet"
        for train in dict.fromkeys(a for a, _ in STUDY.directions)
    ]


def family_embeddings(wildcards):
    if wildcards.family not in FILTERED:
        return []
    return filled(
        embeddings_of(*dict.fromkeys(g for p in STUDY.pairs for g in p)), wildcards
    )


def family_splits(wildcards):
    if wildcards.family not in FILTERED:
        return []
    return filled(
        splits_of(*dict.fromkeys(g for p in STUDY.pairs for g in p)), wildcards
    )


def family_options(wildcards):
    """The values of the config that a family's selection uses, as options."""
    family = wildcards.family
    options = []
    if family in clipsieve_config.ORDERED:
        options += [
            "--best",
            config["heads"]["best"],
            "--exclude",
            config["heads"]["exclude"],
        ]
    if family in ("random", "random_heads"):
        options += ["--draws", config["controls"]["draws"], "--seed", wildcards.seed]
    if family in SEARCHED:
        options += ["--alpha", config["search"]["alpha"]]
    if family in FILTERED:
        sources = {g: STUDY.source_of(g) for pair in STUDY.pairs for g in pair}
        options += ["--sources", json.dumps(sources, sort_keys=True)]
    if family == "shuffled":
        options += ["--shuffles", config["controls"]["shuffles"]]
    return options


def grid_of_family(wildcards):
    """The hyperparameter grid of a family's probes: controls drawn many times may have their own."""
    drawn = wildcards.family in ("random", "random_heads", "shuffled")
    own = config["controls"]["grid"] if drawn else None
    return own or config["probe"]["grid"]


def generator_embeddings(wildcards):
    return filled(embeddings_of(wildcards.generator), wildcards)


def generator_splits(wildcards):
    return filled(splits_of(wildcards.generator), wildcards)


def all_embeddings(wildcards):
    return filled(embeddings_of(*STUDY.generators), wildcards)


def all_splits(wildcards):
    return filled(splits_of(*STUDY.generators), wildcards)


def family_probes(wildcards):
    stem = f"results/{RUN}/seed{wildcards.seed}/{wildcards.encoder}/probes/{wildcards.family}"
    return [f"{stem}/{generator}.npz" for generator in STUDY.generators]


def of_families(kind, suffix):
    """An input function: one file of every family that exists for the job's encoder."""
    return lambda wildcards: [
        f"results/{RUN}/seed{wildcards.seed}/{wildcards.encoder}/{kind}/{family}.{suffix}"
        for family in STUDY.families(wildcards.encoder)
    ]


def probes_of(*families):
    """An input function: the probes of these families, where the run has them."""
    return lambda wildcards: [
        f"results/{RUN}/seed{wildcards.seed}/{wildcards.encoder}/probes/{family}/{generator}.npz"
        for family in families
        if family in STUDY.families(wildcards.encoder)
        for generator in STUDY.generators
    ]


def features_of(*families):
    """An input function: the feature sets of these families, where the run has them."""
    return lambda wildcards: [
        f"results/{RUN}/seed{wildcards.seed}/{wildcards.encoder}/features/{family}.json"
        for family in families
        if family in STUDY.families(wildcards.encoder)
    ]


def encoder_searches(wildcards):
    stem = f"results/{RUN}/seed{wildcards.seed}/{wildcards.encoder}/searches"
    wanted = set(STUDY.families(wildcards.encoder)) & set(SEARCHED)
    return [f"{stem}/{a}--{b}.parquet" for a, b in STUDY.directions] if wanted else []


def scores_of(*families):
    """An input function: the scores of these families, where the run has them."""
    return lambda wildcards: [
        f"results/{RUN}/seed{wildcards.seed}/{wildcards.encoder}/scores/{family}.parquet"
        for family in families
        if family in STUDY.families(wildcards.encoder)
    ]


def selected_features(wildcards):
    """Feature sets of all seeds and encoders whose stability is judged."""
    return [
        f"results/{RUN}/seed{seed}/{encoder}/features/{family}.json"
        for seed in SEEDS
        for encoder in ENCODERS
        for family in ("components", "heads")
        if family in STUDY.families(encoder)
    ]


def compared_means(wildcards):
    """Means of the other runs that stand beside this one in the leaderboard."""
    found = {
        run: sorted(Path("results", run).glob("seed*/*/means.parquet"))
        for run in config["compare"]
    }
    for run, files in found.items():
        if not files:
            raise WorkflowError(
                f"config: compare: run {run!r} has no means below results/{run}"
            )
    return [str(file) for files in found.values() for file in files]


# ---- perturbed image sets ---------------------------------------------------------------------

EDITS = config["concepts"]["edits"]
PERTURBATIONS = config["robustness"]["perturbations"]
ROBUST_FAMILIES = ("all", "residual", "components", "heads")


def perturb_limit(wildcards):
    """How many images of a set are perturbed; 0 is all."""
    stage = {"train": "concepts", "test": "robustness"}[wildcards.purpose]
    return config[stage]["images"] or 0


def edited_embeddings(wildcards):
    stem = f"results/{RUN}/embeddings/{wildcards.encoder}"
    return [f"{stem}/{s}__train__{edit}.h5" for edit in EDITS for s in STUDY.sources]


def edit_options(wildcards):
    """The same as command-line options: name, source, edited source."""
    stem = f"results/{RUN}/embeddings/{wildcards.encoder}"
    return [
        part
        for edit in EDITS
        for s in STUDY.sources
        for part in ("--edit", edit, f"{stem}/{s}.h5", f"{stem}/{s}__train__{edit}.h5")
    ]


def perturbed_embeddings(wildcards):
    """Every image set under one edit, in the order of `all_splits`."""
    stem = f"results/{RUN}/embeddings/{wildcards.encoder}"
    sets = [Path(path).stem for path in embeddings_of(*STUDY.generators)]
    return [f"{stem}/{s}__test__{wildcards.edit}.h5" for s in sets]


def perturbed_scores(wildcards):
    stem = f"results/{RUN}/seed{wildcards.seed}/{wildcards.encoder}/perturbed"
    return [
        f"{stem}/{edit}/{family}.parquet"
        for edit in PERTURBATIONS
        for family in ROBUST_FAMILIES
        if family in STUDY.families(wildcards.encoder)
    ]
