"""Perturbed images: test images for robustness, training images for concept directions (first seed).

A perturbed image set is named <image set>__<purpose>__<edit>; its images keep the ids, groups and splits of their
originals, and it is embedded by the same rule as any other. Required: image tables, splits, probes. Provides:
perturbed images, robustness curves.
"""


rule perturb:
    """Apply one edit of the catalogue to an image set's test or training images; each file is checked."""
    input:
        images="results/{run}/images/{base}.parquet",
        image_files=lambda wildcards: image_files(wildcards.base),
        splits=f"results/{{run}}/seed{FIRST_SEED}/splits/{{base}}.parquet",
    output:
        images="results/{run}/images/{base}__{purpose}__{edit}.parquet",
        files=directory("results/{run}/perturbed/{base}__{purpose}__{edit}"),
    log:
        "results/{run}/logs/perturb/{base}__{purpose}__{edit}.log",
    benchmark:
        "results/{run}/benchmarks/perturb/{base}__{purpose}__{edit}.tsv"
    wildcard_constraints:
        base="|".join(STUDY.image_sets),
    conda:
        "../../envs/demo.yaml"
    resources:
        mem_mb=grow(2000),
        runtime=grow(60),
    params:
        data_root=lambda wildcards: data_root(wildcards.base),
        limit=perturb_limit,
        colour_profiles=lookup("embed/colour_profiles", within=config),
        code=code_of("perturb"),
    shell:
        "clipsieve perturb"
        " --images {input.images:q}"
        " --data-root {params.data_root:q}"
        " --perturbation {wildcards.edit}"
        " --split-file {input.splits:q}"
        " --only {wildcards.purpose}"
        " --limit {params.limit}"
        " --colour-profiles {params.colour_profiles}"
        " --output-dir {output.files:q}"
        " --output {output.images:q}"
        " --threads {threads}"
        " 2> {log:q}"


rule robustness:
    """Every metric under every perturbation of the test images, with intervals."""
    input:
        clean=scores_of(perturbed),
        perturbed=scores_of(
            perturbed, images=[f"perturbed/{edit}" for edit in PERTURBATIONS]
        ),
        features=files_of_families("features", "json", perturbed),
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
        resamples=lookup("evaluation/resamples", within=config),
        interval=lookup("evaluation/interval", within=config),
        confidence=lookup("evaluation/confidence", within=config),
        code=code_of("robustness"),
    shell:
        "clipsieve robustness"
        " --clean {input.clean:q}"
        " --perturbed {input.perturbed:q}"
        " --features {input.features:q}"
        " --resamples {params.resamples}"
        " --interval {params.interval}"
        " --confidence {params.confidence}"
        " --threads {threads}"
        " --output {output:q}"
        " 2> {log:q}"
