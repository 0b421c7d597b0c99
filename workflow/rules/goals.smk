"""Parts of the run to ask for by name: snakemake -- searches. And the rules that run where Snakemake runs."""


localrules:
    all,
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


rule images:
    """Images made, scanned, divided and audited."""
    input:
        expand("results/{run}/manifest.parquet", run=RUN),
        expand("results/{run}/seed{seed}/leakage.parquet", run=RUN, seed=SEEDS),


rule fetched:
    """All sets under the key `fetch`, whether the run uses them or not."""
    input:
        [f"{DATA}/fetched/{dataset}.json" for dataset in config["fetch"]],


rule embeddings:
    """Everything that wants a GPU: embeddings of images and of texts."""
    input:
        gpu_results,


rule searches:
    """All searches and rankings."""
    input:
        search_results,


rule detectors:
    """A detector file for every generator and encoder (docs/detect.md)."""
    input:
        expand(
            "results/{run}/detectors/{encoder}/{generator}.npz",
            run=RUN,
            encoder=ENCODERS,
            generator=STUDY.generators,
        ),


rule statistics:
    """Everything but the pages that show images."""
    input:
        tables_and_figures,
