#!/usr/bin/env bash
# The demo: run the workflow, then write one self-contained report when anything is newer than the last one.
#   workflow/demo.sh CORES CONFIG
# On the screen: one line now and then, and why a job failed. All that Snakemake prints goes to a log file.
set -euo pipefail
cores=$1 config=$2
run=$(sed -n 's/^ *run: *\([a-z0-9_]*\).*/\1/p' "$config" | head -n 1)
weights=data/weights/clip_b16.safetensors
report=results/$run/report.html
log=results/$run/logs/demo.log
every=$([ -t 1 ] && echo 2 || echo 15)

workflow() {
    snakemake --profile profiles/local --cores "$cores" --configfile "$config" "$@" >> "$log" 2>&1
}

mkdir -p "$(dirname "$log")"
: > "$log"
echo "demo: everything that Snakemake prints is in $log"

only=()
if [ ! -f "$weights" ] && ! workflow -- "$weights"; then
    echo "demo: the weights of CLIP ViT-B/16 cannot be had here, so the demo goes on with the encoder tiny alone:" >&2
    tail -n 1 "results/$run/logs/weights/clip_b16.log" 2> /dev/null >&2 || tail -n 3 "$log" >&2
    only=(--config 'use={encoders: [tiny]}')
fi

before=$(date +%s)
workflow "${only[@]}" &
job=$!
trap 'kill "$job" 2> /dev/null || true' INT TERM
clipsieve status "results/$run" --watch "$every" --since "$before" --while "$job" || true
if ! wait "$job"; then
    echo "demo: the workflow did not finish; the end of $log:" >&2
    grep -v '^ *$' "$log" | tail -n 15 >&2
    exit 1
fi
if ! [ "results/$run/logs/plan.json" -nt "$report" ] && [ -f "$report" ]; then
    echo "demo: nothing to be done; the report is $report"
    exit
fi
echo "demo: writing the report"
workflow "${only[@]}" --report "$report" || { tail -n 15 "$log" >&2; exit 1; }
echo "demo: to explore the results, open results/$run/explorer.html"
echo "demo: the report is $report"
