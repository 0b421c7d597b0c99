"""A detector over many images: `snakemake -- detect --config images=photos` divides them among jobs.

Required: the key `images` of the config, and `detector`, or what the run's own detector is made of. Provides:
results/<run>/detected/<name>.parquet. Which images there are is not known before the jobs list them, so they are
no inputs: what was judged is judged again when it is asked for with --forcerun detect_part.
"""


rule detect:
    """Join the results of all parts."""
    input:
        expand(
            "results/{run}/detected/{name}/{part}.parquet",
            run=RUN,
            name=DETECTED,
            part=range(PARTS),
        ),
    output:
        f"results/{RUN}/detected/{DETECTED}.parquet",
    log:
        f"results/{RUN}/logs/detect/{DETECTED}.log",
    benchmark:
        f"results/{RUN}/benchmarks/detect/{DETECTED}.tsv"
    conda:
        "../../envs/gpu.yaml"
    resources:
        mem_mb=grow(1000),
        runtime=grow(30),
    params:
        detector=DETECTOR,
        what=lambda wildcards, input: ["--gather", *input],
        code=code_of("detect"),
    shell:
        "clipsieve detect {params.detector:q}"
        " {params.what:q}"
        " --output {output:q}"
        " 2> {log:q}"


use rule detect as detect_part with:
    input:
        [f"{DETECTOR}/{file}" for file in ("detector.json", "detector.safetensors")],
    output:
        f"results/{RUN}/detected/{DETECTED}/{{part}}.parquet",
    log:
        f"results/{RUN}/logs/detect_part/{DETECTED}/{{part}}.log",
    benchmark:
        f"results/{RUN}/benchmarks/detect_part/{DETECTED}/{{part}}.tsv"
    threads: 4
    resources:
        gpu=1,
        mem_mb=grow(6000),
        runtime=grow(480),
    params:
        detector=lambda wildcards, input: os.path.dirname(input[0]),
        what=lambda wildcards: [
            config["images"] or images_to_judge(),
            "--ignore-unusable",
            "--shard",
            f"{wildcards.part}/{PARTS}",
        ],
        code=code_of("detect"),
