"""Images: made where the config has a recipe, then scanned, divided into splits, and audited.

Required: image folders (yours, or a recipe). Provides: image tables, splits, the manifest, two audits.
They have priority over all that follows, so that a leak stops a run before hours of embedding.
"""


rule photographs:
    """Cut crops from the demo's real photographs, which are in Python wheels."""
    output:
        directory(f"{DATA}/made/{{source}}"),
    log:
        f"results/{RUN}/logs/photographs/{{source}}.log",
    benchmark:
        f"results/{RUN}/benchmarks/photographs/{{source}}.tsv"
    priority: 10
    conda:
        "../../envs/demo.yaml"
    resources:
        mem_mb=grow(2000),
        runtime=grow(15),
    params:
        options=photograph_options,
        code=code_of("photographs"),
    shell:
        "clipsieve photographs"
        " {params.options:q}"
        " --output-dir {output:q}"
        " 2> {log:q}"


rule demo_images:
    """Make one generator's images from its source's photographs."""
    input:
        source_folder_of("generator", of_source=True),
    output:
        directory(f"{DATA}/made/{{generator}}"),
    log:
        f"results/{RUN}/logs/demo_images/{{generator}}.log",
    benchmark:
        f"results/{RUN}/benchmarks/demo_images/{{generator}}.tsv"
    priority: 10
    conda:
        "../../envs/demo.yaml"
    threads: 2
    resources:
        mem_mb=grow(4000),
        runtime=grow(60),
    params:
        recipe=recipe_of("generator"),
        code=code_of("demo_images"),
    shell:
        "clipsieve demo-images"
        " --generator {wildcards.generator}"
        " --recipe {params.recipe:q}"
        " --source-dir {input:q}"
        " --output-dir {output:q}"
        " --threads {threads}"
        " 2> {log:q}"


rule scan:
    """Table of an image set: one row per file, with its facts and its problem, if any."""
    input:
        lambda wildcards: made_folder(wildcards.image_set),
    output:
        f"results/{{run}}/{SCANNED}/{{image_set}}.parquet",
    log:
        "results/{run}/logs/scan/{image_set}.log",
    benchmark:
        "results/{run}/benchmarks/scan/{image_set}.tsv"
    wildcard_constraints:
        image_set="|".join(STUDY.image_sets),
    priority: 10
    conda:
        "../../envs/cpu.yaml"
    threads: 2
    resources:
        mem_mb=grow(2000),
        runtime=grow(60),
    params:
        folder=source_folder_of("image_set"),
        data_root=DATA,
        fingerprint=fingerprint,
        known=known_files,
        options=scan_options,
        code=code_of("scan"),
    shell:
        "clipsieve scan"
        " --image-set {wildcards.image_set}"
        " --folder {params.folder:q}"
        " --data-root {params.data_root:q}"
        " {params.options:q}"
        " --known {params.known:q}"
        " --fingerprint {params.fingerprint:q}"
        " --threads {threads}"
        " --output {output:q}"
        " 2> {log:q}"


if config["align"]:

    rule align:
        """Re-encode an image set to the size and format of the run; its files are below results/{run}/aligned."""
        input:
            images=f"results/{{run}}/{SCANNED}/{{image_set}}.parquet",
            files=lambda wildcards: made_folder(wildcards.image_set),
            peers=sets_of_one_source,
        output:
            "results/{run}/images/{image_set}.parquet",
        log:
            "results/{run}/logs/align/{image_set}.log",
        benchmark:
            "results/{run}/benchmarks/align/{image_set}.tsv"
        wildcard_constraints:
            image_set="|".join(STUDY.image_sets),
        priority: 10
        conda:
            "../../envs/cpu.yaml"
        threads: 2
        resources:
            mem_mb=grow(2000),
            runtime=grow(120),
        params:
            data_root=DATA,
            files=IMAGE_ROOT,
            method=config["align"]["method"],
            size=config["align"]["size"],
            format=config["align"]["format"],
            quality=config["align"]["quality"],
            colour_profiles=config["embed"]["colour_profiles"],
            code=code_of("align"),
        shell:
            "clipsieve align"
            " --images {input.images:q}"
            " --peers {input.peers:q}"
            " --data-root {params.data_root:q}"
            " --method {params.method}"
            " --size {params.size}"
            " --format {params.format}"
            " --quality {params.quality}"
            " --colour-profiles {params.colour_profiles}"
            " --output-dir {params.files:q}"
            " --output {output:q}"
            " --threads {threads}"
            " 2> {log:q}"


rule split:
    """Assign a split to each image, by group; only the source's groups decide."""
    input:
        images="results/{run}/images/{image_set}.parquet",
        source=source_images,
    output:
        "results/{run}/seed{seed}/splits/{image_set}.parquet",
    log:
        "results/{run}/logs/split/seed{seed}/{image_set}.log",
    benchmark:
        "results/{run}/benchmarks/split/seed{seed}/{image_set}.tsv"
    priority: 10
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=grow(1000),
        runtime=grow(10),
    params:
        test=lookup("splits/test", within=config),
        val=lookup("splits/val", within=config),
        code=code_of("split"),
    shell:
        "clipsieve split"
        " --images {input.images:q}"
        " --source-images {input.source:q}"
        " --seed {wildcards.seed}"
        " --test {params.test}"
        " --val {params.val}"
        " --output {output:q}"
        " 2> {log:q}"


rule manifest:
    """Collect all images of the run, with their split under each seed."""
    input:
        images=expand("results/{{run}}/images/{s}.parquet", s=STUDY.image_sets),
        splits=expand(
            "results/{{run}}/seed{seed}/splits/{s}.parquet",
            seed=SEEDS,
            s=STUDY.image_sets,
        ),
    output:
        "results/{run}/manifest.parquet",
    log:
        "results/{run}/logs/manifest.log",
    benchmark:
        "results/{run}/benchmarks/manifest.tsv"
    priority: 10
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=grow(2000),
        runtime=grow(10),
    params:
        seeds=SEEDS,
        code=code_of("manifest"),
    shell:
        "clipsieve manifest"
        " --images {input.images:q}"
        " --splits {input.splits:q}"
        " --seeds {params.seeds}"
        " --output {output:q}"
        " 2> {log:q}"


rule audit_leakage:
    """Stop the run if a group, a file or a near-duplicate occurs in two splits."""
    input:
        manifest="results/{run}/manifest.parquet",
    output:
        "results/{run}/seed{seed}/leakage.parquet",
    log:
        "results/{run}/logs/audit_leakage/seed{seed}.log",
    benchmark:
        "results/{run}/benchmarks/audit_leakage/seed{seed}.tsv"
    priority: 10
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=grow(4000),
        runtime=grow(30),
    params:
        bits=lookup("audit/near_duplicate_bits", within=config),
        on_leak=lookup("audit/on_leak", within=config),
        code=code_of("audit_leakage"),
    shell:
        "clipsieve audit-leakage"
        " --manifest {input.manifest:q}"
        " --seed {wildcards.seed}"
        " --near-duplicate-bits {params.bits}"
        " --on-leak {params.on_leak}"
        " --output {output:q}"
        " 2> {log:q}"


rule audit_shortcuts:
    """Measure how well file facts and spectra alone separate generated from real images, before and after align."""
    input:
        manifest="results/{run}/manifest.parquet",
        originals=ORIGINALS,
    output:
        "results/{run}/seed{seed}/shortcuts.parquet",
    log:
        "results/{run}/logs/audit_shortcuts/seed{seed}.log",
    benchmark:
        "results/{run}/benchmarks/audit_shortcuts/seed{seed}.tsv"
    priority: 10
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=grow(2000),
        runtime=grow(30),
    params:
        resamples=lookup("evaluation/resamples", within=config),
        confidence=lookup("evaluation/confidence", within=config),
        code=code_of("audit_shortcuts"),
    shell:
        "clipsieve audit-shortcuts"
        " --manifest {input.manifest:q}"
        " --originals {input.originals:q}"
        " --seed {wildcards.seed}"
        " --resamples {params.resamples}"
        " --confidence {params.confidence}"
        " --output {output:q}"
        " 2> {log:q}"
