"""What probes, residuals and heads mean, each compared with what chance gives; and the geometry of embeddings.

Required: probes, embeddings, texts, edited images. Provides: nearest texts, concepts, geometry.
"""


rule interpret:
    """Nearest and farthest texts of every direction, with their nulls (paper, Tables 1, 2, 3, 6, 7)."""
    input:
        texts="results/{run}/texts/{encoder}/{texts}.h5",
        probes=probes_of(explained_probes),
        features=files_of_families("features", "json", explained_heads),
        head_maps="results/{run}/encoders/{encoder}.h5",
        images=expand("results/{{run}}/images/{s}.parquet", s=STUDY.image_sets),
        embeddings=all_embeddings,
        splits=all_splits,
    output:
        "results/{run}/seed{seed}/{encoder}/interpretation/{texts}.parquet",
    log:
        "results/{run}/logs/interpret/seed{seed}/{encoder}/{texts}.log",
    benchmark:
        "results/{run}/benchmarks/interpret/seed{seed}/{encoder}/{texts}.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: 2
    resources:
        mem_mb=grow(6000),
        runtime=grow(60),
    params:
        top=lookup("interpretation/nearest", within=config),
        draws=lookup("interpretation/draws", within=config),
        centred="--centred" if config["interpretation"]["centred"] else "",
        code=code_of("interpret"),
    shell:
        "clipsieve interpret"
        " --run {wildcards.run}"
        " --encoder {wildcards.encoder}"
        " --seed {wildcards.seed}"
        " --texts {input.texts:q}"
        " --probes {input.probes:q}"
        " --features {input.features:q}"
        " --head-maps {input.head_maps:q}"
        " --images {input.images:q}"
        " --embeddings {input.embeddings:q}"
        " --splits {input.splits:q}"
        " --top {params.top}"
        " --draws {params.draws}"
        " {params.centred}"
        " --threads {threads}"
        " --output {output:q}"
        " 2> {log:q}"


rule interpretability:
    """Does a generator whose probe has a near text transfer worse? (paper, section 5)"""
    input:
        cells="results/{run}/seed{seed}/{encoder}/cells.parquet",
        interpretation=of_texts(
            "results/{run}/seed{seed}/{encoder}/interpretation/{texts}.parquet"
        ),
        texts=of_texts("results/{run}/texts/{encoder}/{texts}.h5"),
        probes=probes_of(baseline),
        embeddings=all_embeddings,
        splits=all_splits,
        images=expand("results/{{run}}/images/{s}.parquet", s=STUDY.image_sets),
    output:
        "results/{run}/seed{seed}/{encoder}/interpretability.parquet",
    log:
        "results/{run}/logs/interpretability/seed{seed}/{encoder}.log",
    benchmark:
        "results/{run}/benchmarks/interpretability/seed{seed}/{encoder}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=grow(1000),
        runtime=grow(10),
    params:
        code=code_of("interpretability"),
    shell:
        "clipsieve interpretability"
        " --cells {input.cells:q}"
        " --interpretation {input.interpretation:q}"
        " --texts {input.texts:q}"
        " --probes {input.probes:q}"
        " --embeddings {input.embeddings:q}"
        " --splits {input.splits:q}"
        " --images {input.images:q}"
        " --seed {wildcards.seed}"
        " --threads {threads}"
        " --output {output:q}"
        " 2> {log:q}"


rule concepts:
    """Which known edits of real images each direction reacts to; needs no text tower."""
    input:
        edited=edited_embeddings,
        probes=probes_of(explained_probes),
        features=files_of_families("features", "json", explained_heads),
        head_maps="results/{run}/encoders/{encoder}.h5",
        images=expand("results/{{run}}/images/{s}.parquet", s=STUDY.image_sets),
        embeddings=all_embeddings,
        splits=all_splits,
    output:
        "results/{run}/seed{seed}/{encoder}/concepts.parquet",
    log:
        "results/{run}/logs/concepts/seed{seed}/{encoder}.log",
    benchmark:
        "results/{run}/benchmarks/concepts/seed{seed}/{encoder}.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: 2
    resources:
        mem_mb=grow(6000),
        runtime=grow(60),
    params:
        edits=edit_options,
        draws=lookup("interpretation/draws", within=config),
        code=code_of("concepts"),
    shell:
        "clipsieve concepts"
        " --run {wildcards.run}"
        " --encoder {wildcards.encoder}"
        " --seed {wildcards.seed}"
        " {params.edits:q}"
        " --probes {input.probes:q}"
        " --features {input.features:q}"
        " --head-maps {input.head_maps:q}"
        " --images {input.images:q}"
        " --embeddings {input.embeddings:q}"
        " --splits {input.splits:q}"
        " --draws {params.draws}"
        " --threads {threads}"
        " --output {output:q}"
        " 2> {log:q}"


rule geometry:
    """IsoScore and mean cosine before and after removal (paper, Figure 6)."""
    input:
        embeddings=all_embeddings,
        splits=all_splits,
        features=files_of_families("features", "json", selected_columns),
    output:
        "results/{run}/seed{seed}/{encoder}/geometry.parquet",
    log:
        "results/{run}/logs/geometry/seed{seed}/{encoder}.log",
    benchmark:
        "results/{run}/benchmarks/geometry/seed{seed}/{encoder}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=grow(3000),
        runtime=grow(30),
    params:
        draws=lookup("controls/draws", within=config),
        code=code_of("geometry"),
    shell:
        "clipsieve geometry"
        " --run {wildcards.run}"
        " --encoder {wildcards.encoder}"
        " --seed {wildcards.seed}"
        " --embeddings {input.embeddings:q}"
        " --splits {input.splits:q}"
        " --features {input.features:q}"
        " --draws {params.draws}"
        " --threads {threads}"
        " --output {output:q}"
        " 2> {log:q}"
