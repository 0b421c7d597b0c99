"""Selection: which components and heads make a probe transfer. Reads train and val rows only.

Required: embeddings, splits. Provides: searches, rankings of heads and layers, feature sets.
"""


rule search:
    """Greedy component search in one direction of a pair (paper, section 4)."""
    input:
        train_embeddings=of_generator(embeddings_of, "train"),
        train_splits=of_generator(splits_of, "train"),
        val_embeddings=of_generator(embeddings_of, "val"),
        val_splits=of_generator(splits_of, "val"),
    output:
        "results/{run}/seed{seed}/{encoder}/searches/{train}--{val}.parquet",
    log:
        "results/{run}/logs/search/seed{seed}/{encoder}/{train}--{val}.log",
    benchmark:
        "results/{run}/benchmarks/search/seed{seed}/{encoder}/{train}--{val}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=grow(4000),
        runtime=grow(60),
    params:
        C=lookup("search/C", within=config),
        score=lookup("search/score", within=config),
        tie=lookup("search/tie", within=config),
        intercept="--fit-intercept" if config["search"]["fit_intercept"] else "",
        version=versions.SEARCH,
    shell:
        "clipsieve search"
        " --run {wildcards.run}"
        " --encoder {wildcards.encoder}"
        " --seed {wildcards.seed}"
        " --train-embeddings {input.train_embeddings:q}"
        " --train-splits {input.train_splits:q}"
        " --val-embeddings {input.val_embeddings:q}"
        " --val-splits {input.val_splits:q}"
        " --C {params.C}"
        " --score {params.score}"
        " --tie {params.tie}"
        " {params.intercept}"
        " --threads {threads}"
        " --output {output:q}"
        " 2> {log:q}"


rule rank_heads:
    """Rank attention heads trained on one generator by transfer to its partners."""
    input:
        train_embeddings=of_generator(embeddings_of, "train"),
        train_splits=of_generator(splits_of, "train"),
        val_embeddings=partner_embeddings,
        val_splits=partner_splits,
    output:
        "results/{run}/seed{seed}/{encoder}/head_rankings/{train}.parquet",
    log:
        "results/{run}/logs/rank_heads/seed{seed}/{encoder}/{train}.log",
    benchmark:
        "results/{run}/benchmarks/rank_heads/seed{seed}/{encoder}/{train}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=grow(4000),
        runtime=grow(60),
    params:
        C=lookup("heads/C", within=config),
        version=versions.HEADS,
        partners=partner_options,
    shell:
        "clipsieve rank-heads"
        " --run {wildcards.run}"
        " --encoder {wildcards.encoder}"
        " --seed {wildcards.seed}"
        " --train-embeddings {input.train_embeddings:q}"
        " --train-splits {input.train_splits:q}"
        " {params.partners:q}"
        " --C {params.C}"
        " --threads {threads}"
        " --output {output:q}"
        " 2> {log:q}"


rule rank_layers:
    """Rank layers trained on one generator by transfer to all others."""
    input:
        train_embeddings=of_generator(embeddings_of, "train"),
        train_splits=of_generator(splits_of, "train"),
        val_embeddings=other_embeddings,
        val_splits=other_splits,
    output:
        "results/{run}/seed{seed}/{encoder}/layer_rankings/{train}.parquet",
    log:
        "results/{run}/logs/rank_layers/seed{seed}/{encoder}/{train}.log",
    benchmark:
        "results/{run}/benchmarks/rank_layers/seed{seed}/{encoder}/{train}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=grow(4000),
        runtime=grow(60),
    params:
        C=lookup("layers/C", within=config),
        others=other_options,
        code=code_of("rank_layers"),
    shell:
        "clipsieve rank-layers"
        " --run {wildcards.run}"
        " --encoder {wildcards.encoder}"
        " --seed {wildcards.seed}"
        " --train-embeddings {input.train_embeddings:q}"
        " --train-splits {input.train_splits:q}"
        " {params.others:q}"
        " --C {params.C}"
        " --threads {threads}"
        " --output {output:q}"
        " 2> {log:q}"


rule select:
    """Feature sets of one family: from searches, rankings, filters or a seed."""
    input:
        searches=family_searches,
        rankings=family_rankings,
        layer_rankings=family_layer_rankings,
        embeddings=family_embeddings,
        splits=family_splits,
    output:
        "results/{run}/seed{seed}/{encoder}/features/{family}.json",
    log:
        "results/{run}/logs/select/seed{seed}/{encoder}/{family}.log",
    benchmark:
        "results/{run}/benchmarks/select/seed{seed}/{encoder}/{family}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=grow(4000),
        runtime=grow(30),
    params:
        pairs=pair_names,
        options=family_options,
        code=code_of("select"),
    shell:
        "clipsieve select"
        " --family {wildcards.family}"
        " --pairs {params.pairs:q}"
        " --searches {input.searches:q}"
        " --rankings {input.rankings:q}"
        " --layer-rankings {input.layer_rankings:q}"
        " --embeddings {input.embeddings:q}"
        " --splits {input.splits:q}"
        " {params.options:q}"
        " --output {output:q}"
        " 2> {log:q}"


rule choose_training:
    """Which generators to train on, judged on generators that had no part in the choice."""
    input:
        embeddings=all_embeddings,
        splits=all_splits,
    output:
        "results/{run}/seed{seed}/{encoder}/training_choice.parquet",
    log:
        "results/{run}/logs/choose_training/seed{seed}/{encoder}.log",
    benchmark:
        "results/{run}/benchmarks/choose_training/seed{seed}/{encoder}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=grow(4000),
        runtime=grow(60),
    params:
        most=lookup("training/choose", within=config),
        sources=SOURCE_OF,
        code=code_of("choose_training"),
    shell:
        "clipsieve choose-training"
        " --run {wildcards.run}"
        " --encoder {wildcards.encoder}"
        " --seed {wildcards.seed}"
        " --embeddings {input.embeddings:q}"
        " --splits {input.splits:q}"
        " --sources {params.sources:q}"
        " --most {params.most}"
        " --threads {threads}"
        " --output {output:q}"
        " 2> {log:q}"
