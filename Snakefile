"""clipsieve: from images to the tables of the paper, and past it. Reads top to bottom, in the order of the paper.

Path grammar (docs/formats.md has the columns of every file):
    {data_root}/shards/{generator}/{shard}.parquet                 images made from prompts, and the table beside them
    {data_root}/{generator}/, {data_root}/{generator}.parquet      the same gathered, as one image set
    {data_root}/fetched/{dataset}.json                             what was fetched, beside the set's folder
    results/{run}/images/{image_set}.parquet                       file facts, one row an image
    results/{run}/seed{seed}/splits/{image_set}.parquet            train, val or test, by group
    results/{run}/embeddings/{encoder}/{image_set}.h5              embeddings and head outputs
    results/{run}/texts/{encoder}/{texts}.h5                       text embeddings
    results/{run}/seed{seed}/{encoder}/searches/{train}--{val}.parquet
    results/{run}/seed{seed}/{encoder}/head_rankings/{train}.parquet
    results/{run}/seed{seed}/{encoder}/features/{family}.json      which columns or heads a probe sees
    results/{run}/seed{seed}/{encoder}/probes/{family}/{train_set}.npz     one generator, or several
    results/{run}/seed{seed}/{encoder}/scores/{family}.h5          the logit of each probe on each test image
    results/{run}/seed{seed}/{encoder}/{cells,means,controls,optimism}.parquet
    results/{run}/detectors/{encoder}/{detector}/                  detectors of single images
    results/{run}/tables/{table}.html, figures/{figure}.svg, gallery/{encoder}.html
"""

from snakemake.utils import min_version

min_version("9.0")


configfile: "config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/inputs.smk"
include: "workflow/rules/targets.smk"
include: "workflow/rules/generate_inputs.smk"
include: "workflow/rules/generate.smk"
include: "workflow/rules/fetch.smk"
include: "workflow/rules/images.smk"
include: "workflow/rules/embed.smk"
include: "workflow/rules/select.smk"
include: "workflow/rules/transfer.smk"
include: "workflow/rules/interpret.smk"
include: "workflow/rules/perturb.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/detect.smk"
include: "workflow/rules/goals.smk"


report: "workflow/report/workflow.rst"


rule all:
    """Everything that the config asks for."""
    default_target: True
    input:
        final_results,
        expand("results/{run}/provenance.json", run=RUN),
