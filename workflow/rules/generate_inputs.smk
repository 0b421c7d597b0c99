"""Functions of the stage that makes images from prompts: shards, inputs and options from the config."""

from clipsieve.generation import records as generation

# generators whose images are made from prompts
GENERATED = [g for g in STUDY.generators if STUDY.entry(g).get("generate")]


def recipe_of_generator(generator):
    """A generator's `generate`, with every default."""
    return STUDY.entry(generator)["generate"]


def prompts_chosen(generator):
    """The prompts entry of a generator."""
    return config["prompts"][recipe_of_generator(generator)["prompts"]]


def prompt_tables(prompts):
    """The tables of a prompts entry, as a list."""
    table = config["prompts"][prompts]["table"]
    return [table] if isinstance(table, str) else table or []


def prompt_inputs(prompts):
    """What prompts are chosen from, where a rule makes it or it is there; the command names what is not."""
    source = config["prompts"][prompts]["images"]
    if source is not None:
        return made_folder(source)
    return [table for table in prompt_tables(prompts) if os.path.exists(table)]


def prompt_fingerprint(wildcards):
    """Changes with the files of a user's folder that prompts are made from."""
    source = config["prompts"][wildcards.prompts]["images"]
    if source is None or made_folder(source):
        return None
    return hash_of(listing.list_files(Path(source_folder(source))))


def prompt_options(wildcards):
    """What `clipsieve prompts` is told."""
    entry = config["prompts"][wildcards.prompts]
    if entry["images"] is not None:
        options = ["--images", source_folder(entry["images"])]
    else:
        options = ["--table", *prompt_tables(wildcards.prompts)]
    keys = (
        "text",
        "id",
        "url",
        "score",
        "min_score",
        "max_unsafe",
        "max_watermark",
        "sample",
        "seed",
    )
    given = {key: entry[key] for key in keys if entry[key] is not None}
    return options + [
        f"--{key.replace('_', '-')}={value}" for key, value in given.items()
    ]


def shard_tables(wildcards):
    """The tables of all shards of a generator."""
    size = config["generation"]["prompts_per_shard"]
    number = -(-prompts_chosen(wildcards.generator)["sample"] // size)
    return [f"{DATA}/shards/{wildcards.generator}/{n}.parquet" for n in range(number)]


def prompts_of_generator(wildcards):
    return (
        f"{DATA}/prompts/{recipe_of_generator(wildcards.generator)['prompts']}.parquet"
    )


def starts_from(generator):
    """The source whose images a generator starts from, or None."""
    adapter = generation.find(recipe_of_generator(generator)["adapter"])
    takes = adapter.from_images or adapter.name == "command"
    return prompts_chosen(generator)["images"] if takes else None


def images_started_from(wildcards):
    source = starts_from(wildcards.generator)
    return made_folder(source) if source else []


def image_option(wildcards):
    source = starts_from(wildcards.generator)
    return ["--images", source_folder(source)] if source else []


def generator_weights(wildcards):
    """Files of weights that the recipe names, or the record of the set that they are fetched with.

    A rule may make them. A folder or a hub id is no input file.
    """
    recipe = recipe_of_generator(wildcards.generator)
    named = [recipe[key] or "" for key in ("model", "decoder")]
    files = [n for n in named if Path(n).suffix in clipsieve_config.WEIGHT_FILES]
    found = [path for file in files for path in record_of_fetched(file) or [file]]
    return list(dict.fromkeys(found))


def generator_recipe(wildcards):
    return json.dumps(recipe_of_generator(wildcards.generator), sort_keys=True)


def generator_environment(wildcards):
    """The conda environment of a generator's adapter."""
    adapter = generation.find(recipe_of_generator(wildcards.generator)["adapter"])
    return f"../../envs/{adapter.environment}.yaml"


def generator_gpus(wildcards):
    """A GPU, unless the recipe says cpu."""
    return int(recipe_of_generator(wildcards.generator)["device"] != "cpu")


def weights_fingerprint(wildcards):
    """Changes with the files of a model's folder, at the cost of a listing."""
    recipe = recipe_of_generator(wildcards.generator)
    folders = [Path(recipe[key]) for key in ("model", "prior") if recipe[key]]
    files = [
        f for folder in folders if folder.is_dir() for f in sorted(folder.rglob("*"))
    ]
    stats = [(str(f), f.stat()) for f in files if f.is_file()]
    return hash_of([[f, s.st_size, s.st_mtime_ns] for f, s in stats]) if stats else None
