"""Parts of the run to ask for by name: snakemake -- searches. And the rules that run where Snakemake runs."""


localrules:
    all,
    generated,
    images,
    embeddings,
    searches,
    detectors,
    statistics,
    photographs,
    fetch,
    fetched,
    weights,
    provenance,


rule generated:
    """The images of every generator that the config makes from prompts."""
    input:
        expand("{data}/{generator}.parquet", data=DATA, generator=GENERATED),


rule images:
    """Make, scan, split and audit all images."""
    input:
        expand("results/{run}/manifest.parquet", run=RUN),
        expand("results/{run}/seed{seed}/leakage.parquet", run=RUN, seed=SEEDS),


rule fetched:
    """All sets under the key `fetch`, whether the run uses them or not."""
    input:
        [f"{DATA}/fetched/{dataset}.json" for dataset in config["fetch"]],


rule embeddings:
    """Everything that needs a GPU: embeddings of images and of texts."""
    input:
        gpu_results,


rule searches:
    """All searches and rankings."""
    input:
        search_results,


rule detectors:
    """A detector of every generator, and of all together, for every encoder (docs/detect.md)."""
    input:
        expand(
            "results/{run}/detectors/{encoder}/{detector}/detector.json",
            run=RUN,
            encoder=[e for e in ENCODERS if not STUDY.is_imported(e)],
            detector=[EVERY_GENERATOR, *STUDY.generators],
        ),


rule statistics:
    """Everything but the pages that show images."""
    input:
        tables_and_figures,
