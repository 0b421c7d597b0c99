"""Results for people: tables, figures, galleries, and what made them.

Required: statistics, interpretation, geometry, audits. Provides: everything that `snakemake --report` shows.
"""


rule table:
    """One table of the paper, or one of ours: tidy rows and a page."""
    input:
        unpack(table_inputs),
    output:
        csv="results/{run}/tables/{table}.csv",
        html=report(
            "results/{run}/tables/{table}.html",
            caption="../report/table.rst",
            category=table_category,
            labels={"result": "{table}", "form": "page"},
        ),
        tex="results/{run}/tables/{table}.tex",
    log:
        "results/{run}/logs/table/{table}.log",
    benchmark:
        "results/{run}/benchmarks/table/{table}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=grow(2000),
        runtime=grow(15),
    params:
        options=input_options,
        generators=lambda wildcards: GENERATOR_FACTS,
        encoders=lambda wildcards: ENCODER_FACTS,
        code=code_of("table"),
    shell:
        "clipsieve table {wildcards.table}"
        " {params.options:q}"
        " --generators {params.generators:q}"
        " --encoders {params.encoders:q}"
        " --csv {output.csv:q}"
        " --html {output.html:q}"
        " --tex {output.tex:q}"
        " 2> {log:q}"


rule figure:
    """One figure of the paper, or one of ours."""
    input:
        unpack(figure_inputs),
    output:
        svg=report(
            "results/{run}/figures/{figure}.svg",
            caption="../report/figure.rst",
            category=figure_category,
            labels={"result": "{figure}", "form": "figure"},
        ),
        pdf="results/{run}/figures/{figure}.pdf",
        png="results/{run}/figures/{figure}.png",
    log:
        "results/{run}/logs/figure/{figure}.log",
    benchmark:
        "results/{run}/benchmarks/figure/{figure}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=grow(2000),
        runtime=grow(15),
    params:
        options=input_options,
        pair=pair_option,
        generators=lambda wildcards: GENERATOR_FACTS,
        encoders=lambda wildcards: ENCODER_FACTS,
        code=code_of("figure"),
    shell:
        "clipsieve figure {wildcards.figure}"
        " {params.options:q}"
        " {params.pair:q}"
        " --generators {params.generators:q}"
        " --encoders {params.encoders:q}"
        " --svg {output.svg:q}"
        " --pdf {output.pdf:q}"
        " --png {output.png:q}"
        " 2> {log:q}"


rule gallery:
    """Most confident right and wrong images of every generator's probe (paper, Table 5)."""
    input:
        scores=scores_of(baseline),
        manifest="results/{run}/manifest.parquet",
        image_files=[f for s in STUDY.image_sets for f in image_files(s)],
    output:
        report(
            "results/{run}/gallery/{encoder}.html",
            caption="../report/gallery.rst",
            category=registry.GALLERY.category,
            labels={"result": "gallery {encoder}", "form": "page"},
        ),
    log:
        "results/{run}/logs/gallery/{encoder}.log",
    benchmark:
        "results/{run}/benchmarks/gallery/{encoder}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=grow(2000),
        runtime=grow(15),
    params:
        data_root=lambda wildcards: IMAGE_ROOT,
        generators=lambda wildcards: GENERATOR_FACTS,
        encoders=lambda wildcards: ENCODER_FACTS,
        code=code_of("gallery"),
    shell:
        "clipsieve gallery"
        " --scores {input.scores:q}"
        " --manifest {input.manifest:q}"
        " --data-root {params.data_root:q}"
        " --generators {params.generators:q}"
        " --encoders {params.encoders:q}"
        " --html {output:q}"
        " 2> {log:q}"


rule explorer:
    """One page in which a reader chooses what to see of the run; it opens from disk, without a server."""
    input:
        unpack(explorer_inputs),
        image_files=[f for s in STUDY.image_sets for f in image_files(s)],
    output:
        report(
            "results/{run}/explorer.html",
            caption="../report/explorer.rst",
            category=registry.OVERVIEW,
            labels={"result": "explorer", "form": "page"},
        ),
    log:
        "results/{run}/logs/explorer.log",
    benchmark:
        "results/{run}/benchmarks/explorer.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=grow(4000),
        runtime=grow(20),
    params:
        options=explorer_options,
        data_root=lambda wildcards: IMAGE_ROOT,
        generators=lambda wildcards: GENERATOR_FACTS,
        encoders=lambda wildcards: ENCODER_FACTS,
        code=code_of("explorer"),
    shell:
        "clipsieve explorer"
        " {params.options:q}"
        " --data-root {params.data_root:q}"
        " --generators {params.generators:q}"
        " --encoders {params.encoders:q}"
        " --html {output:q}"
        " 2> {log:q}"


rule export_detector:
    """Pack one generator's probe on all columns into a file that judges single images."""
    input:
        probes=f"results/{{run}}/seed{FIRST_SEED}/{{encoder}}/probes/{families.BASELINE}/{{generator}}.npz",
        scores=scores_of(baseline),
        embeddings=of_generator(embeddings_of, "generator"),
        splits=of_generator(splits_of, "generator"),
        images=lambda wildcards: [
            f"results/{RUN}/images/{s}.parquet"
            for s in (wildcards.generator, STUDY.source_of(wildcards.generator))
        ],
    output:
        "results/{run}/detectors/{encoder}/{generator}.npz",
    log:
        "results/{run}/logs/export_detector/{encoder}/{generator}.log",
    benchmark:
        "results/{run}/benchmarks/export_detector/{encoder}/{generator}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=grow(2000),
        runtime=grow(15),
    params:
        resamples=lookup("evaluation/resamples", within=config),
        confidence=lookup("evaluation/confidence", within=config),
        align=["--align", json.dumps(config["align"])] if config["align"] else [],
        code=code_of("export_detector"),
    shell:
        "clipsieve export-detector"
        " --probes {input.probes:q}"
        " --scores {input.scores:q}"
        " --embeddings {input.embeddings:q}"
        " --splits {input.splits:q}"
        " --images {input.images:q}"
        " --resamples {params.resamples}"
        " --confidence {params.confidence}"
        " {params.align:q}"
        " --output {output:q}"
        " 2> {log:q}"


rule provenance:
    """Record what made the run and the hash of every file in it; `clipsieve verify` checks them."""
    input:
        final_results,
    output:
        record="results/{run}/provenance.json",
        crate="results/{run}/ro-crate-metadata.json",
    log:
        "results/{run}/logs/provenance.log",
    benchmark:
        "results/{run}/benchmarks/provenance.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: 2
    resources:
        mem_mb=grow(2000),
        runtime=grow(60),
    params:
        config=lambda wildcards: json.dumps(config, sort_keys=True),
        folder=subpath(output.record, parent=True),
        code=code_of("provenance"),
    shell:
        "clipsieve provenance"
        " --run-dir {params.folder:q}"
        " --config {params.config:q}"
        " --threads {threads}"
        " --output {output.record:q}"
        " --crate {output.crate:q}"
        " 2> {log:q}"
