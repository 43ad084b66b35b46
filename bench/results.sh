#!/bin/sh
# SPDX-License-Identifier: MIT
# Measures all that README.md and docs/benchmarks.md show, about six minutes:
#
#     bench/results.sh BENCH-PROGRAM     (make bench-results)
#
# Writes bench/results/$NAME.json (NAME: zen4) and, for each model and backend,
# the second of two runs of the demo, demo-MODEL-BACKEND.json. Environment: NAME,
# SOTTO (the program). Leave the machine alone meanwhile.
set -eu
program=$(realpath "${1:?usage: bench/results.sh BENCH-PROGRAM}")
cd "$(dirname "$0")/.."
results=bench/results
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

echo "$results/${NAME:-zen4}.json"
"$program" --json >"$work/new.json"
mv "$work/new.json" "$results/${NAME:-zen4}.json"

for model in cryptonets mlp; do
    for backend in portable avx2 ifma; do
        to=demo-$model-$backend.json
        for run in cold warm; do
            SOTTO_BACKEND=$backend "${SOTTO:-./sotto}" demo --quiet \
                --model models/$model-mnist.onnx --report "$work/page.html" \
                --json "$work/$to"
        done
        # A machine without the backend has run another.
        if grep -q "\"backend\": \"$backend\"" "$work/$to"; then
            echo "$results/$to ($run)"
            mv "$work/$to" "$results/$to"
        fi
    done
done
