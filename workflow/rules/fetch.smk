"""Known public sets, fetched into the data root (docs/data-fetching.md).

Required: the key `fetch` of the config. Provides: folders that image sets may name as theirs. Files are no output
themselves: Snakemake would delete them before a job begins again, and with them what a cut download has brought.
"""


rule fetch:
    """Fetch a set, or what is missing of it; the record of what came is the output."""
    output:
        f"{DATA}/fetched/{{dataset}}.json",
    log:
        f"results/{RUN}/logs/fetch/{{dataset}}.log",
    benchmark:
        f"results/{RUN}/benchmarks/fetch/{{dataset}}.tsv"
    wildcard_constraints:
        dataset="|".join(config["fetch"]) or "none",
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=grow(1000),
        runtime=grow(1440),
    params:
        folder=lambda wildcards: f"{DATA}/fetched/{wildcards.dataset}",
        options=fetch_options,
        code=code_of("fetch"),
    shell:
        "clipsieve fetch"
        " --dataset {wildcards.dataset}"
        " --output-dir {params.folder:q}"
        " {params.options:q}"
        " --output {output:q}"
        " 2> {log:q}"
