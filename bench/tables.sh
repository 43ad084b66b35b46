#!/bin/sh
# SPDX-License-Identifier: MIT
# Tables from measurements: in README.md and docs/benchmarks.md, replaces what
# stands between
#
#     <!-- table: NAME -->      and      <!-- end of table -->
#
# by the table of that name made from bench/results/*.json (NAME=zen4 for the
# file of kernels and operations). With --check, changes nothing and fails when
# a table is not what the results give.
set -u
cd "$(dirname "$0")/.." || exit 1
LC_ALL=C
export LC_ALL
work=$(mktemp) || exit 1
trap 'rm -f "$work"' EXIT
status=0
for page in README.md docs/benchmarks.md; do
    if ! awk -f bench/tables.awk bench/results/demo-*.json \
        "bench/results/${NAME:-zen4}.json" "$page" >"$work"; then
        echo "$page: its tables cannot be made" >&2
        exit 1
    fi
    if cmp -s "$work" "$page"; then
        continue
    fi
    if [ "${1:-}" = --check ]; then
        diff "$page" "$work"
        echo "$page: tables differ from bench/results; run make bench-tables" >&2
        status=1
    else
        cat "$work" >"$page"
        echo "$page"
    fi
done
exit $status
