"""Images of generators that the config makes from prompts: one job a shard, one folder a generator.

Required: tables of prompts, or a source's images. Provides: prompts, shards of images, a folder and a table for each
generator, which `scan` takes like any other.
"""


rule prompts:
    """Choose a run's prompts out of a table, or out of a source's images."""
    input:
        lambda wildcards: prompt_inputs(wildcards.prompts),
    output:
        f"{DATA}/prompts/{{prompts}}.parquet",
    log:
        f"results/{RUN}/logs/prompts/{{prompts}}.log",
    benchmark:
        f"results/{RUN}/benchmarks/prompts/{{prompts}}.tsv"
    wildcard_constraints:
        prompts="|".join(config["prompts"]) or "^$",
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=grow(4000),
        runtime=grow(120),
    params:
        options=prompt_options,
        fingerprint=prompt_fingerprint,
        code=code_of("prompts"),
    shell:
        "clipsieve prompts"
        " {params.options:q}"
        " --name {wildcards.prompts}"
        " --output {output:q}"
        " 2> {log:q}"


rule generate:
    """Make one shard of a generator's images; resumes by image, and any shard can be made alone."""
    input:
        prompts=prompts_of_generator,
        images=images_started_from,
        weights=generator_weights,
    output:
        f"{DATA}/shards/{{generator}}/{{shard}}.parquet",
    log:
        f"results/{RUN}/logs/generate/{{generator}}/{{shard}}.log",
    benchmark:
        f"results/{RUN}/benchmarks/generate/{{generator}}/{{shard}}.tsv"
    wildcard_constraints:
        generator="|".join(GENERATED) or "^$",
        shard="[0-9]+",
    conda:
        generator_environment
    threads: 2
    resources:
        mem_mb=grow(16000),
        runtime=grow(360),
        gpu=generator_gpus,
    params:
        recipe=generator_recipe,
        size=lookup("generation/prompts_per_shard", within=config),
        images=image_option,
        model=weights_fingerprint,
        # beside the declared output, which Snakemake removes before a run: what is finished is kept
        folder=lambda wildcards, output: str(output).removesuffix(".parquet"),
        version=versions.GENERATION,
    shell:
        "clipsieve generate"
        " --generator {wildcards.generator}"
        " --recipe {params.recipe:q}"
        " --prompts {input.prompts:q}"
        " {params.images:q}"
        " --shard {wildcards.shard}"
        " --size {params.size}"
        " --threads {threads}"
        " --output-dir {params.folder:q}"
        " --output {output:q}"
        " 2> {log:q}"


rule gather:
    """Gather a generator's shards into one folder, as links, and one table."""
    input:
        shard_tables,
    output:
        folder=directory(f"{DATA}/{{generator}}"),
        table=f"{DATA}/{{generator}}.parquet",
    log:
        f"results/{RUN}/logs/gather/{{generator}}.log",
    benchmark:
        f"results/{RUN}/benchmarks/gather/{{generator}}.tsv"
    wildcard_constraints:
        generator="|".join(GENERATED) or "^$",
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=grow(2000),
        runtime=grow(60),
    params:
        code=code_of("gather"),
    shell:
        "clipsieve gather"
        " --tables {input:q}"
        " --output-dir {output.folder:q}"
        " --output {output.table:q}"
        " 2> {log:q}"
