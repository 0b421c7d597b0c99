"""Probes and their transfer: fit on train and val, apply to test, and judge with intervals.

Required: feature sets, embeddings, splits. Provides: probes, scores, cells, means, controls, leaderboard.
"""


rule fit:
    """Probes of one training generator, or of a training set, on every feature set of a family.

    Those in `own_pair` are of the two generators that a set was selected on, for its optimism alone.
    """
    input:
        features="results/{run}/seed{seed}/{encoder}/features/{family}.json",
        embeddings=of_train_set(embeddings_of),
        splits=of_train_set(splits_of),
        tune_embeddings=tune_embeddings,
        tune_splits=tune_splits,
    output:
        PROBES,
    log:
        "results/{run}/logs/fit/seed{seed}/{encoder}/{probes}/{family}/{train_set}.log",
    benchmark:
        "results/{run}/benchmarks/fit/seed{seed}/{encoder}/{probes}/{family}/{train_set}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=grow(3000),
        runtime=grow(60),
    params:
        grid=grid_of_family,
        score=lookup("probe/score", within=config),
        residual=lookup("residual/kind", within=config),
        tune=tune_options,
        twin=twin_option,
        own_pair=own_pair_option,
        training=train_set_options,
        version=versions.PROBE,
    shell:
        "clipsieve fit"
        " --features {input.features:q}"
        " --embeddings {input.embeddings:q}"
        " --splits {input.splits:q}"
        " {params.tune:q}"
        " {params.own_pair:q}"
        " {params.training:q}"
        " --grid {params.grid}"
        " {params.twin:q}"
        " --score {params.score}"
        " --residual-kind {params.residual}"
        " --seed {wildcards.seed}"
        " --threads {threads}"
        " --output {output:q}"
        " 2> {log:q}"


rule removal:
    """Transfer of probes on what is left along the component searches, on test images."""
    input:
        searches=searched_directions,
        embeddings=all_embeddings,
        splits=all_splits,
    output:
        "results/{run}/seed{seed}/{encoder}/removal.parquet",
    log:
        "results/{run}/logs/removal/seed{seed}/{encoder}.log",
    benchmark:
        "results/{run}/benchmarks/removal/seed{seed}/{encoder}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=grow(4000),
        runtime=grow(120),
    params:
        sizes=lookup("search/sizes", within=config),
        sources=SOURCE_OF,
        code=code_of("removal"),
    shell:
        "clipsieve removal"
        " --run {wildcards.run}"
        " --encoder {wildcards.encoder}"
        " --seed {wildcards.seed}"
        " --searches {input.searches:q}"
        " --embeddings {input.embeddings:q}"
        " --splits {input.splits:q}"
        " --sources {params.sources:q}"
        " --sizes {params.sizes}"
        " --output {output:q}"
        " 2> {log:q}"


rule transfer:
    """Logit of every probe of a family on every test image, as it is or under one edit.

    Probes in `own_pair` see the test images of their pair.
    """
    input:
        features="results/{run}/seed{seed}/{encoder}/features/{family}.json",
        probes=family_probes,
        embeddings=tested_embeddings,
        splits=all_splits,
    output:
        SCORES,
    log:
        "results/{run}/logs/transfer/seed{seed}/{encoder}/{images}/{family}.log",
    benchmark:
        "results/{run}/benchmarks/transfer/seed{seed}/{encoder}/{images}/{family}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=grow(4000),
        runtime=grow(30),
    params:
        code=code_of("transfer"),
        families=FAMILY_OF,
        sources=SOURCE_OF,
        own_pair=own_pair_option,
    shell:
        "clipsieve transfer"
        " --features {input.features:q}"
        " --probes {input.probes:q}"
        " --embeddings {input.embeddings:q}"
        " --splits {input.splits:q}"
        " --families {params.families:q}"
        " --sources {params.sources:q}"
        " {params.own_pair:q}"
        " --run {wildcards.run}"
        " --encoder {wildcards.encoder}"
        " --seed {wildcards.seed}"
        " --output {output:q}"
        " 2> {log:q}"


rule evaluate:
    """Metrics of every cell, means with intervals over photographs and generators, ranks among controls."""
    input:
        scores=scores_of(),
        features=of_families("features", "json"),
        searches=encoder_searches,
        own_pair=files_of_families("own_pair", "h5", searched),
    output:
        cells="results/{run}/seed{seed}/{encoder}/cells.parquet",
        means="results/{run}/seed{seed}/{encoder}/means.parquet",
        controls="results/{run}/seed{seed}/{encoder}/controls.parquet",
        optimism="results/{run}/seed{seed}/{encoder}/optimism.parquet",
        pairs="results/{run}/seed{seed}/{encoder}/pairs.parquet",
        ranking="results/{run}/seed{seed}/{encoder}/ranking.parquet",
        operating="results/{run}/seed{seed}/{encoder}/operating.parquet",
    log:
        "results/{run}/logs/evaluate/seed{seed}/{encoder}.log",
    benchmark:
        "results/{run}/benchmarks/evaluate/seed{seed}/{encoder}.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: 2
    resources:
        mem_mb=grow(8000),
        runtime=grow(60),
    params:
        released=RELEASE_OF,
        test_share=lookup("splits/test", within=config),
        resamples=lookup("evaluation/resamples", within=config),
        interval=lookup("evaluation/interval", within=config),
        confidence=lookup("evaluation/confidence", within=config),
        code=code_of("evaluate"),
    shell:
        "clipsieve evaluate"
        " --scores {input.scores:q}"
        " --features {input.features:q}"
        " --searches {input.searches:q}"
        " --own-pair {input.own_pair:q}"
        " --released {params.released:q}"
        " --test-share {params.test_share}"
        " --resamples {params.resamples}"
        " --interval {params.interval}"
        " --confidence {params.confidence}"
        " --threads {threads}"
        " --cells {output.cells:q}"
        " --means {output.means:q}"
        " --controls {output.controls:q}"
        " --optimism {output.optimism:q}"
        " --pairs {output.pairs:q}"
        " --ranking {output.ranking:q}"
        " --operating {output.operating:q}"
        " 2> {log:q}"


rule leaderboard:
    """Encoders and feature sets side by side, over all seeds."""
    input:
        means=expand(
            "results/{{run}}/seed{seed}/{encoder}/means.parquet",
            seed=SEEDS,
            encoder=ENCODERS,
        ),
        others=compared_means,
        features=selected_features,
        rankings=lambda wildcards: files_of("head_rankings"),
    output:
        report(
            "results/{run}/leaderboard.csv",
            caption="../report/leaderboard.rst",
            category="1 Transfer",
            labels={"result": "leaderboard", "form": "csv"},
        ),
    log:
        "results/{run}/logs/leaderboard.log",
    benchmark:
        "results/{run}/benchmarks/leaderboard.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=grow(2000),
        runtime=grow(10),
    params:
        code=code_of("leaderboard"),
    shell:
        "clipsieve leaderboard"
        " --means {input.means:q} {input.others:q}"
        " --features {input.features:q}"
        " --rankings {input.rankings:q}"
        " --output {output:q}"
        " 2> {log:q}"
