"""Perturbed images: test images for robustness, training images for concept directions (first seed).

A perturbed image set is named <image set>__<purpose>__<edit>; it is scanned, divided and embedded by the same
rules as any other. Required: image tables, splits. Provides: perturbed images, robustness curves.
"""


rule perturb:
    """Apply one edit of the catalogue to an image set's test or training images."""
    input:
        images="results/{run}/images/{base}.parquet",
        splits=f"results/{{run}}/seed{FIRST_SEED}/splits/{{base}}.parquet",
    output:
        directory("results/{run}/perturbed/{base}__{purpose}__{edit}"),
    log:
        "results/{run}/logs/perturb/{base}__{purpose}__{edit}.log",
    benchmark:
        "results/{run}/benchmarks/perturb/{base}__{purpose}__{edit}.tsv"
    wildcard_constraints:
        base="|".join(STUDY.image_sets),
    conda:
        "../../envs/generate.yaml"
    threads: 1
    resources:
        mem_mb=grow(2000),
        runtime=grow(60),
    params:
        data_root=lambda wildcards: data_root(wildcards.base),
        only=lambda wildcards: {"train": ["train", "val"], "test": ["test"]}[
            wildcards.purpose
        ],
        limit=perturb_limit,
    shell:
        "clipsieve perturb"
        " --images {input.images:q}"
        " --data-root {params.data_root:q}"
        " --perturbation {wildcards.edit}"
        " --splits {input.splits:q}"
        " --only {params.only}"
        " --limit {params.limit}"
        " --output-dir {output:q}"
        " 2> {log:q}"


rule robustness:
    """Every metric under every perturbation of the test images, with intervals."""
    input:
        features=features_of(*ROBUST_FAMILIES),
        probes=probes_of(*ROBUST_FAMILIES),
        scores=scores_of(*ROBUST_FAMILIES),
        embeddings=perturbed_embeddings,
        splits=perturbed_splits,
    output:
        "results/{run}/seed{seed}/{encoder}/robustness.parquet",
    log:
        "results/{run}/logs/robustness/seed{seed}/{encoder}.log",
    benchmark:
        "results/{run}/benchmarks/robustness/seed{seed}/{encoder}.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: 2
    resources:
        mem_mb=grow(8000),
        runtime=grow(60),
    params:
        families=FAMILY_OF,
        resamples=lookup("evaluation/resamples", within=config),
        confidence=lookup("evaluation/confidence", within=config),
    shell:
        "clipsieve robustness"
        " --run {wildcards.run}"
        " --encoder {wildcards.encoder}"
        " --seed {wildcards.seed}"
        " --features {input.features:q}"
        " --probes {input.probes:q}"
        " --scores {input.scores:q}"
        " --embeddings {input.embeddings:q}"
        " --splits {input.splits:q}"
        " --families {params.families:q}"
        " --resamples {params.resamples}"
        " --confidence {params.confidence}"
        " --threads {threads}"
        " --output {output:q}"
        " 2> {log:q}"
