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


def filled(paths, wildcards):
    """Paths with the job's encoder and seed put in; the first seed where a job has none."""
    names = dict(wildcards.items())
    return [
        path.format(
            encoder=names.get("encoder", ""), seed=names.get("seed", FIRST_SEED)
        )
        for path in paths
    ]


def members_of(train_set):
    """The generators of a training set; a generator is its own."""
    found = STUDY.training_sets.get(train_set)
    return found.members if found else (train_set,)


def of_train_set(files):
    """An input function: embeddings or splits (`files`) of all generators trained on and of their sources."""
    return lambda wildcards: filled(files(*members_of(wildcards.train_set)), wildcards)


def train_set_options(wildcards):
    """What `clipsieve fit` is told of a training set of several generators."""
    found = STUDY.training_sets.get(wildcards.train_set)
    if found is None:
        return []
    sources = {g: STUDY.source_of(g) for g in found.members}
    options = ["--train-set", found.name, "--kind", found.kind]
    options += ["--sources", json.dumps(sources, sort_keys=True)]
    # a set of one's own is tested on all others: a new generator does not fit it again
    if found.kind != "set":
        options += ["--tested", *found.tested]
    if families.get(wildcards.family).drawn:
        options += ["--draws", config["training"]["draws"]]
    return options


def of_generator(files, wildcard):
    """An input function: embeddings or splits (`files`) of the generator in a wildcard and of its source."""
    return lambda wildcards: filled(files(wildcards[wildcard]), wildcards)


def all_embeddings(wildcards):
    return filled(embeddings_of(*STUDY.generators), wildcards)


def all_splits(wildcards):
    return filled(splits_of(*STUDY.generators), wildcards)


def tested_embeddings(wildcards):
    """Every image set as it is or under an edit, in the order of `all_splits`."""
    paths = all_embeddings(wildcards)
    if not wildcards.images.startswith("perturbed/"):
        return paths
    edit = wildcards.images.removeprefix("perturbed/")
    return [f"{path.removesuffix('.h5')}__test__{edit}.h5" for path in paths]


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
    """The same as command-line options, one group per partner."""
    options = []
    for val in partners(wildcards.train):
        options += ["--val-embeddings", *filled(embeddings_of(val), wildcards)]
        options += ["--val-splits", *filled(splits_of(val), wildcards)]
    return options


def others(wildcards):
    """All generators but the one that a ranking of layers is trained on."""
    return [g for g in STUDY.generators if g != wildcards.train]


def other_embeddings(wildcards):
    return [p for g in others(wildcards) for p in filled(embeddings_of(g), wildcards)]


def other_splits(wildcards):
    return [p for g in others(wildcards) for p in filled(splits_of(g), wildcards)]


def other_options(wildcards):
    """The same as command-line options, one group per generator."""
    options = []
    for generator in others(wildcards):
        options += ["--val-embeddings", *filled(embeddings_of(generator), wildcards)]
        options += ["--val-splits", *filled(splits_of(generator), wildcards)]
    return options


def tuned_on(wildcards):
    """Generators on whose rows probes of this family are tuned: the validation ones of ordered pairs."""
    family = families.get(wildcards.family)
    if family.pairs != "ordered":
        return []
    if config["heads"]["tune"] == "own" and not family.tuned_on_partner:
        return []
    if wildcards.train_set in STUDY.training_sets:
        return []
    vals = dict.fromkeys(val for _, val in STUDY.directions)
    return [val for val in vals if val != wildcards.train_set]


def tune_embeddings(wildcards):
    return [p for v in tuned_on(wildcards) for p in filled(embeddings_of(v), wildcards)]


def tune_splits(wildcards):
    return [p for v in tuned_on(wildcards) for p in filled(splits_of(v), wildcards)]


def tune_options(wildcards):
    """The same as command-line options, one group per generator."""
    options = []
    for val in tuned_on(wildcards):
        options += ["--tune-embeddings", *filled(embeddings_of(val), wildcards)]
        options += ["--tune-splits", *filled(splits_of(val), wildcards)]
    return options


def pair_names(wildcards):
    """Pairs that the feature sets of a family are selected on."""
    return [families.pair_id(*p) for p in STUDY.pairs_of(wildcards.family)]


def reads(wildcards, what):
    """Whether the selection of a family is made from searches, rankings or rows."""
    return what in families.get(wildcards.family).reads


def searched_directions(wildcards):
    """Both directions of every pair, as files of their searches."""
    stem = f"results/{RUN}/seed{wildcards.seed}/{wildcards.encoder}/searches"
    return [f"{stem}/{families.pair_id(*d)}.parquet" for d in STUDY.directions]


def family_searches(wildcards):
    return searched_directions(wildcards) if reads(wildcards, "searches") else []


def family_rankings(wildcards):
    if not reads(wildcards, "rankings"):
        return []
    stem = f"results/{RUN}/seed{wildcards.seed}/{wildcards.encoder}/head_rankings"
    return [
        f"{stem}/{train}.parquet"
        for train in dict.fromkeys(a for a, _ in STUDY.directions)
    ]


def family_layer_rankings(wildcards):
    if not reads(wildcards, "layer_rankings"):
        return []
    stem = f"results/{RUN}/seed{wildcards.seed}/{wildcards.encoder}/layer_rankings"
    return [
        f"{stem}/{train}.parquet"
        for train in dict.fromkeys(a for a, _ in STUDY.directions)
    ]


def paired_generators(wildcards):
    """The generators of all pairs, for families that are made from their rows."""
    pairs = STUDY.pairs_of(wildcards.family) if reads(wildcards, "rows") else []
    return list(dict.fromkeys(g for pair in pairs for g in pair))


def read_sets(wildcards):
    """What a family is made from: the sources of the run, all generators, or those of all pairs."""
    if reads(wildcards, "reals"):
        return STUDY.sources
    if reads(wildcards, "everyone"):
        return STUDY.generators
    return paired_generators(wildcards)


def family_embeddings(wildcards):
    return filled(embeddings_of(*read_sets(wildcards)), wildcards)


def family_splits(wildcards):
    return filled(splits_of(*read_sets(wildcards)), wildcards)


def family_options(wildcards):
    """The values of the config that a family's selection uses, as options."""
    options = []
    family = families.get(wildcards.family)
    for name, key in families.settings_of(family).items():
        section, _, value = key.partition(".")
        options += [f"--{name}", config[section][value]]
    if family.drawn:
        options += ["--seed", wildcards.seed]
    everyone = reads(wildcards, "everyone")
    if generators := STUDY.generators if everyone else paired_generators(wildcards):
        sources = {g: STUDY.source_of(g) for g in generators}
        options += ["--sources", json.dumps(sources, sort_keys=True)]
    return options


def grid_of_family(wildcards):
    """The hyperparameter grid of a family's probes: controls drawn many times may have their own."""
    record = families.get(wildcards.family)
    if record.grid is not None:
        return record.grid
    return STUDY.drawn_grid if record.drawn else config["probe"]["grid"]


def twin_option(wildcards):
    """The grid of twins, where the family has controls that are drawn many times."""
    if wildcards.train_set in STUDY.training_sets or wildcards.probes == "own_pair":
        return []  # ranks are those of probes of one generator, on other generators
    grid = STUDY.twin_grid(wildcards.family, wildcards.encoder, int(wildcards.seed))
    return [] if grid is None else ["--twin", grid]


def family_probes(wildcards):
    """Probes of a family that are applied to the test images, in one of the ways of `SCORES`."""
    if wildcards.images == "own_pair":
        # of the generators alone that the feature sets were selected on
        trained = dict.fromkeys(
            g for pair in STUDY.pairs_of(wildcards.family) for g in pair
        )
    elif wildcards.images == "scores":
        trained = STUDY.train_sets(wildcards.family)
    else:
        # images under an edit are tested by probes of one generator alone
        trained = STUDY.generators
    probes = "own_pair" if wildcards.images == "own_pair" else "probes"
    return [
        PROBES.format(probes=probes, train_set=train_set, **dict(wildcards.items()))
        for train_set in trained
    ]


def own_pair_option(wildcards):
    """Whether probes are fitted on, or applied to, the pairs of their own feature sets alone."""
    own = "own_pair" in (wildcards.get("probes"), wildcards.get("images"))
    return ["--own-pair"] if own else []


def of_families(kind, suffix):
    """An input function: one file of every family that exists for the job's encoder and seed."""
    return lambda wildcards: [
        f"results/{RUN}/seed{wildcards.seed}/{wildcards.encoder}/{kind}/{family}.{suffix}"
        for family in existing(wildcards)
    ]


def existing(wildcards):
    """Families that exist for the job's encoder and seed; the first seed where a job has none."""
    seed = int(getattr(wildcards, "seed", FIRST_SEED))
    return STUDY.families(wildcards.encoder, seed)


def of_texts(pattern):
    """An input function: one file of every list of texts that exists for the job's encoder."""
    return lambda wildcards: [
        pattern.format(texts=texts, **dict(wildcards.items()))
        for texts in STUDY.texts_of(wildcards.encoder)
    ]


def families_where(wildcards, wanted):
    """Families that exist for the job's encoder and seed and whose record is as wanted."""
    names = existing(wildcards)
    if wanted is explained_heads and STUDY.is_imported(wildcards.encoder):
        return []  # nobody says what leads from a user's own head outputs to texts
    return [f for f in families.FAMILIES if f in names and wanted(families.get(f))]


def probes_of(wanted):
    """An input function: the probes of the families whose record is as wanted."""
    return lambda wildcards: [
        f"results/{RUN}/seed{wildcards.seed}/{wildcards.encoder}/probes/{family}/{generator}.npz"
        for family in families_where(wildcards, wanted)
        for generator in STUDY.generators
    ]


def files_of_families(kind, suffix, wanted):
    """An input function: one file of each family whose record is as wanted."""
    return lambda wildcards: [
        f"results/{RUN}/seed{wildcards.seed}/{wildcards.encoder}/{kind}/{family}.{suffix}"
        for family in families_where(wildcards, wanted)
    ]


def baseline(family):
    return family.name == families.BASELINE


def explained_probes(family):
    return family.explained and family.space != "heads"


def explained_heads(family):
    return family.explained and family.space == "heads"


def selected_columns(family):
    return family.selects and family.space == "embedding"


def searched(family):
    return family.selects and "searches" in family.reads


def perturbed(family):
    return family.robustness


def encoder_searches(wildcards):
    """The searches of an encoder, where a family of the run is made from them."""
    wanted = families_where(wildcards, lambda family: "searches" in family.reads)
    return searched_directions(wildcards) if wanted else []


def scores_of(wanted=lambda family: True, images=("scores",)):
    """An input function: the scores of the families whose record is as wanted."""
    return lambda wildcards: [
        path
        for kind in images
        for family in families_where(wildcards, wanted)
        for path in expand(
            SCORES,
            run=RUN,
            seed=getattr(wildcards, "seed", FIRST_SEED),
            encoder=wildcards.encoder,
            images=kind,
            family=family,
        )
    ]


def selected_features(wildcards):
    """Feature sets of all seeds and encoders whose stability is judged."""
    return [
        f"results/{RUN}/seed{seed}/{encoder}/features/{family}.json"
        for seed in SEEDS
        for encoder in ENCODERS
        for family in families.SELECTING
        if family in STUDY.families(encoder, seed)
    ]


def compared_means(wildcards):
    """Means of the other runs that are shown beside this one in the leaderboard."""
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


def detector_generators(detector):
    """The generators that a detector is made of: one, or every one."""
    return STUDY.generators if detector == EVERY_GENERATOR else [detector]
