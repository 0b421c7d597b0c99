"""What the run consists of: enumerations from the config, and the inputs that depend on them."""

import json
import os
from pathlib import Path

from snakemake.exceptions import WorkflowError

from clipsieve import config as clipsieve_config
from clipsieve import families, versions
from clipsieve.errors import UserError
from clipsieve.images import fingerprint as fingerprints
from clipsieve.images import listing
from clipsieve.io import imported, parts
from clipsieve.io.files import hash_of
from clipsieve.provenance import plan
from clipsieve.provenance.closure import code_of
from clipsieve.report import registry

try:
    for path in workflow.configfiles:
        clipsieve_config.read_yaml(path)
    # the demo's choices are put in, or left out where a file was given
    chosen = clipsieve_config.chosen(config, workflow.overwrite_configfiles)
    config.clear()
    config.update(clipsieve_config.resolve(chosen))
    STUDY = clipsieve_config.Run.of(config)
except UserError as error:
    raise WorkflowError(str(error)) from None

RUN = config["run"]
PLAN = Path("results", RUN, plan.PLAN)
DATA = config["data_root"]
SEEDS = config["seeds"]
FIRST_SEED = SEEDS[0]
ENCODERS = STUDY.encoders
TEXTS = config["use"]["texts"]
FAMILIES = list(
    dict.fromkeys([*config["use"]["feature_sets"], *config["use"]["controls"]])
)
# name of the detector of all generators together
EVERY_GENERATOR = "every_generator"
# probes of every training set, or (in `own_pair`) of the generators that a feature set was selected on
PROBES = "results/{run}/seed{seed}/{encoder}/{probes}/{family}/{train_set}.npz"
# logits of probes on test images as they are (in `scores`), of those in `own_pair`, or under an edit
# (in `perturbed/<edit>`)
SCORES = "results/{run}/seed{seed}/{encoder}/{images}/{family}.h5"
# an aligned run keeps the tables of the files as they were beside those of the aligned ones
SCANNED = "scanned" if config["align"] else "images"
# the folder that the paths of images start from
IMAGE_ROOT = f"results/{RUN}/aligned" if config["align"] else DATA


onstart:
    # for notebooks: a run says what it was asked for before it is finished
    clipsieve_config.write_resolved(config, f"results/{RUN}/config.json")
    # and for `clipsieve status`, what it is about to do
    plan.write_plan(PLAN, workflow.dag, workflow.resource_settings.cores)


onsuccess:
    plan.end_plan(PLAN, True)


onerror:
    plan.end_plan(PLAN, False)


ORIGINALS = (
    [f"results/{RUN}/scanned/{s}.parquet" for s in STUDY.image_sets]
    if config["align"]
    else []
)


wildcard_constraints:
    run=RUN,
    seed="|".join(map(str, SEEDS)),
    encoder="|".join(ENCODERS),
    image_set="[a-z0-9_]+",
    source="|".join(STUDY.sources),
    generator="|".join(STUDY.generators),
    train_set="|".join([*STUDY.generators, *STUDY.training_sets]),
    detector="|".join([EVERY_GENERATOR, *STUDY.generators]),
    train="|".join(STUDY.generators),
    val="|".join(STUDY.generators),
    family="|".join(FAMILIES),
    texts="|".join(TEXTS) or "none",
    table="|".join(registry.TABLES),
    figure="|".join(registry.FIGURES),
    edit="[a-z0-9_]+",
    images="scores|own_pair|perturbed/[a-z0-9_]+",
    probes="probes|own_pair",
    purpose="train|test",


# image set -> its fingerprint: a folder may have a million files
FINGERPRINTS = {}


# ---- image sets -------------------------------------------------------------------------------


def base_of(image_set):
    """The image set of the config that a perturbed one (<set>__<purpose>__<edit>) was made from."""
    return image_set.split("__")[0]


def data_root(image_set):
    """The folder that an image table's paths start from."""
    if "__" in image_set:
        return f"results/{RUN}/perturbed/{image_set}"
    return IMAGE_ROOT


def source_folder(image_set):
    """The folder of an image set before anything is done to it."""
    return os.path.join(DATA, STUDY.entry(image_set)["folder"])


def source_folder_of(name, of_source=False):
    """A function that gives the folder of the image set in wildcard `name`, or of its source."""
    return lambda wildcards: source_folder(
        STUDY.source_of(wildcards[name]) if of_source else wildcards[name]
    )


def made_folder(image_set):
    """What the workflow makes of an image set's files, which is its folder or the record of the fetched set.

    Images that a user brings are not input files.
    """
    entry = STUDY.entry(image_set)
    if entry["make"] or entry.get("generate"):
        return [source_folder(image_set)]
    return record_of_fetched(source_folder(image_set))


def record_of_fetched(path):
    """The record of the fetched set that a path lies in, where the run fetches it."""
    if not Path(path).is_relative_to(f"{DATA}/fetched"):
        return []
    dataset = Path(path).relative_to(f"{DATA}/fetched").parts[:1]
    return [
        f"{DATA}/fetched/{name}.json" for name in dataset if name in config["fetch"]
    ]


def fetch_options(wildcards):
    """What `clipsieve fetch` is told of a set."""
    entry = config["fetch"][wildcards.dataset]
    options = []
    for key in ("consent", "entry"):
        if entry[key] is not None:
            value = (
                entry[key]
                if key == "consent"
                else json.dumps(entry[key], sort_keys=True)
            )
            options.append(f"--{key}={value}")
    if entry["files"]:
        options += ["--files", *entry["files"]]
    return options + (["--keep-archives"] if entry["keep_archives"] else [])


def table_of_generated(wildcards):
    """The table of a generator's images, where the workflow makes them from prompts."""
    made = STUDY.entry(wildcards.image_set).get("generate")
    return [f"{DATA}/{wildcards.image_set}.parquet"] if made else []


def fetched_record(wildcards):
    """The record of the fetched set that an image set belongs to."""
    return record_of_fetched(source_folder(wildcards.image_set))


def about_image_set(wildcards):
    """What the config says of an image set, for its card."""
    entry = STUDY.entry(wildcards.image_set)
    about = {
        "title": entry["title"] or wildcards.image_set,
        "licence": entry["licence"],
        "folder": entry["folder"],
        "recipe": entry["make"],
    }
    return json.dumps({k: v for k, v in about.items() if v}, sort_keys=True)


def image_files(image_set):
    """The folder that an image table's files lie in, where the workflow makes it and names it as its output."""
    if "__" in image_set:
        return [data_root(image_set)]
    return [] if config["align"] else made_folder(image_set)


def fingerprint(wildcards):
    """Changes when a file of a user's folder is added, removed, renamed or edited; a folder is listed once."""
    if made_folder(wildcards.image_set):
        return "made by this workflow"
    if wildcards.image_set not in FINGERPRINTS:
        FINGERPRINTS[wildcards.image_set] = fingerprints.fingerprint(
            Path(source_folder(wildcards.image_set)),
            STUDY.entry(wildcards.image_set)["metadata"],
            Path(known_files(wildcards)),
        )
    return FINGERPRINTS[wildcards.image_set]


def known_files(wildcards):
    """What the last scan of a set found, by which touched files are told from edited ones."""
    return f"results/{RUN}/{SCANNED}/.known/{wildcards.image_set}.parquet"


def scan_options(wildcards):
    """The options of `clipsieve scan` for an image set."""
    image_set = wildcards.image_set
    entry = STUDY.entry(image_set)
    generated = image_set in STUDY.generators
    options = {
        "--label": "0" if generated else "1",
        "--generator": image_set if generated else None,
        "--family": entry["family"] if generated else None,
        "--source": STUDY.source_of(image_set),
        "--layout": entry["layout"],
        "--group-pattern": entry["group_pattern"],
        "--metadata": entry["metadata"],
        "--real-values": ",".join(entry["real_values"]) or None,
        **sample_options(entry["sample"]),
    }
    # one word each: a value may begin with a hyphen
    return [f"{key}={value}" for key, value in options.items() if value is not None]


def sample_options(sample):
    """How many images of a set are taken, and by which seed."""
    if sample is None:
        return {}
    if isinstance(sample, int):
        return {"--sample": sample}
    return {"--sample": sample["images"], "--sample-seed": sample.get("seed", 0)}


def recipe_of(name):
    """A function that gives the recipe of the image set in wildcard `name`, as JSON."""
    return lambda wildcards: json.dumps(
        STUDY.entry(wildcards[name])["make"], sort_keys=True
    )


def photograph_options(wildcards):
    """The options of `clipsieve photographs`: how many crops, from which packages."""
    make = STUDY.entry(wildcards.source)["make"]
    packages = ["--packages", *make["packages"]] if "packages" in make else []
    return ["--limit", make.get("limit", 0), *packages]


def source_images(wildcards):
    """The image table of an image set's source."""
    source = STUDY.source_of(wildcards.image_set)
    return f"results/{RUN}/images/{source}.parquet"


def sets_of_one_source(wildcards):
    """Tables of the files as they were, of a set's source and all its generators, where align compares them."""
    if config["align"]["method"] in ("crop", "resize"):
        return []
    source = STUDY.source_of(wildcards.image_set)
    sets = [s for s in STUDY.image_sets if STUDY.source_of(s) == source]
    return [f"results/{RUN}/{SCANNED}/{s}.parquet" for s in sets]


# ---- encoders ---------------------------------------------------------------------------------


def encoder_spec(wildcards):
    """The specification for `load_encoder`, as JSON: only what changes an embedding."""
    entry = config["encoders"][wildcards.encoder]
    if STUDY.is_imported(wildcards.encoder):
        return json.dumps({"embeddings": entry["embeddings"]}, sort_keys=True)
    keys = ("model", "weights", "seed", "precision", "pooling")
    return json.dumps({key: entry[key] for key in keys}, sort_keys=True)


def local_weights(wildcards):
    """The weights file of an encoder, where it is a file and not a name in open_clip's catalogue."""
    weights = config["encoders"][wildcards.encoder]["weights"]
    return (
        [weights] if Path(weights or "").suffix in clipsieve_config.WEIGHT_FILES else []
    )


def imported_file(wildcards):
    """The user's own embeddings of an image set."""
    where = config["encoders"][wildcards.encoder]["embeddings"]
    try:
        return str(imported.file_of(where, wildcards.image_set))
    except UserError as error:
        raise WorkflowError(f"config: encoders.{wildcards.encoder}.{error}") from None


def image_encoders(with_model):
    """A wildcard constraint: the encoders with a model, or those that are embeddings of the user's."""
    chosen = [e for e in ENCODERS if STUDY.is_imported(e) != with_model]
    return "|".join(chosen) or "^$"


def speed_options(wildcards):
    """How images are decoded and a tower is run; a compiled one gives embeddings alone."""
    chosen = config["embed"]
    options = ["--decoder", chosen["decoder"]]
    if chosen["channels_last"]:
        options.append("--channels-last")
    if chosen["compile"] and not (
        STUDY.has_heads(wildcards.encoder) or STUDY.has_layers(wildcards.encoder)
    ):
        options.append("--compile")
    return options


def image_count(image_set):
    """At most how many images a set has, as far as this can be known before it is scanned; else 0."""
    entry = STUDY.entry(image_set)
    sample = sample_options(entry["sample"]).get("--sample")
    recipe = entry.get("generate")
    if recipe:
        asked = config["prompts"][recipe["prompts"]]["sample"]
        known = asked * recipe["images_per_prompt"]
    elif made_folder(image_set):
        # what is made or fetched by this workflow has no files yet when it is planned
        known = sample or 0
    else:
        known = len(listing.list_files(Path(source_folder(image_set))))
    return min(known, sample) if sample else known


def part_numbers():
    """Image sets that are embedded in parts -> how many."""
    size = config["embed"]["part_size"]
    if size is None:
        return {}
    found = {
        image_set: parts.number_of_parts(image_count(image_set), size)
        for image_set in STUDY.image_sets
    }
    return {image_set: number for image_set, number in found.items() if number > 1}


PART_NUMBERS = part_numbers()


def divided():
    """A wildcard constraint: the image sets that are embedded in parts."""
    return "|".join(PART_NUMBERS) or "^$"


def undivided():
    """A wildcard constraint: the image sets that one job embeds; perturbed ones always."""
    return "|".join(
        [s for s in STUDY.image_sets if s not in PART_NUMBERS]
        + ["[a-z0-9_]+__[a-z0-9_]+"]
    )


def parts_of_set(wildcards):
    """The embedded parts of an image set, in the order of its table."""
    stem = f"results/{RUN}/embeddings/{wildcards.encoder}/parts/{wildcards.image_set}"
    return [f"{stem}/{k}.h5" for k in range(PART_NUMBERS[wildcards.image_set])]


def text_file(wildcards):
    """The user's own list of texts, where it is one."""
    file = config["texts"][wildcards.texts]["file"]
    return [file] if file is not None else []


def measured_embeddings(wildcards):
    """An embedding file of the encoder, whose width vectors of texts that the user brings must have."""
    if config["texts"][wildcards.texts]["kind"] != "embeddings":
        return []
    return [f"results/{RUN}/embeddings/{wildcards.encoder}/{STUDY.image_sets[0]}.h5"]


def text_options(wildcards):
    """The options of `clipsieve embed-texts` for a list of texts."""
    entry = config["texts"][wildcards.texts]
    options = ["--kind", entry["kind"]]
    for key in ("file", "url", "sha256"):
        if entry[key] is not None:
            options += [f"--{key}", entry[key]]
    for path in measured_embeddings(wildcards):
        options += ["--embeddings", path]
    return options + (["--consent"] if entry["consent"] else [])


# ---- resources --------------------------------------------------------------------------------


def grow(amount):
    """A resource that grows with each attempt (profiles say how many there are)."""
    return lambda wildcards, attempt: amount * attempt
