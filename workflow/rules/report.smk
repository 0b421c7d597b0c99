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


rule card:
    """What one image set consists of, where it comes from, and a few of its images."""
    input:
        images="results/{run}/images/{image_set}.parquet",
        image_files=lambda wildcards: image_files(wildcards.image_set),
        made=table_of_generated,
        fetched=fetched_record,
    output:
        html=report(
            "results/{run}/cards/{image_set}.html",
            caption="../report/card.rst",
            category=registry.AUDITS,
            labels={"result": "card of {image_set}", "form": "page"},
        ),
        markdown="results/{run}/cards/{image_set}.md",
        sheet="results/{run}/cards/{image_set}.jpg",
    log:
        "results/{run}/logs/card/{image_set}.log",
    benchmark:
        "results/{run}/benchmarks/card/{image_set}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=grow(2000),
        runtime=grow(15),
    params:
        data_root=lambda wildcards: data_root(wildcards.image_set),
        about=about_image_set,
        origin=lambda wildcards, input: [
            part
            for option, files in (("--made", input.made), ("--fetched", input.fetched))
            for part in ([option, files] if files else [])
        ],
        generators=lambda wildcards: GENERATOR_FACTS,
        code=code_of("card"),
    shell:
        "clipsieve card"
        " --images {input.images:q}"
        " --data-root {params.data_root:q}"
        " --about {params.about:q}"
        " {params.origin:q}"
        " --run {wildcards.run}"
        " --generators {params.generators:q}"
        " --html {output.html:q}"
        " --markdown {output.markdown:q}"
        " --sheet {output.sheet:q}"
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


rule export:
    """Make a detector of single images of the probes on all columns: one generator's, or every generator's."""
    input:
        probes=lambda wildcards: filled(
            [
                f"results/{RUN}/seed{FIRST_SEED}/{{encoder}}/probes/{families.BASELINE}/{g}.npz"
                for g in detector_generators(wildcards.detector)
            ],
            wildcards,
        ),
        scores=scores_of(baseline),
        embeddings=lambda wildcards: filled(
            embeddings_of(*detector_generators(wildcards.detector)), wildcards
        ),
        splits=lambda wildcards: filled(
            splits_of(*detector_generators(wildcards.detector)), wildcards
        ),
        images=lambda wildcards: sorted(
            {
                f"results/{RUN}/images/{s}.parquet"
                for g in detector_generators(wildcards.detector)
                for s in (g, STUDY.source_of(g))
            }
        ),
        texts=lambda wildcards: [
            f"results/{RUN}/texts/{wildcards.encoder}/{t}.h5"
            for t in STUDY.texts_of(wildcards.encoder)
            if text_kind(t) == "phrases"
        ],
    output:
        expand(
            "results/{{run}}/detectors/{{encoder}}/{{detector}}/{file}",
            file=["detector.json", "detector.safetensors", "README.md"],
        ),
    log:
        "results/{run}/logs/export/{encoder}/{detector}.log",
    benchmark:
        "results/{run}/benchmarks/export/{encoder}/{detector}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=grow(2000),
        runtime=grow(15),
    params:
        run=lambda wildcards: f"results/{wildcards.run}",
        seed=FIRST_SEED,
        feature_set=families.BASELINE,
        train=lambda wildcards: detector_generators(wildcards.detector),
        resamples=lookup("evaluation/resamples", within=config),
        confidence=lookup("evaluation/confidence", within=config),
        align=json.dumps(config["align"] or None),
        folder=lambda wildcards: f"results/{wildcards.run}/detectors/{wildcards.encoder}/{wildcards.detector}",
        code=code_of("export"),
    shell:
        "clipsieve export {params.run:q}"
        " --encoder {wildcards.encoder:q}"
        " --seed {params.seed}"
        " --feature-set {params.feature_set:q}"
        " --train {params.train:q}"
        " --texts {input.texts:q}"
        " --resamples {params.resamples}"
        " --confidence {params.confidence}"
        " --align {params.align:q}"
        " --output {params.folder:q}"
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
