#!/bin/sh
# SPDX-License-Identifier: MIT
# Line coverage by folder and file after a run with --coverage.
#
#   tools/cov.sh BUILD-FOLDER
#
# One gcov call for all objects adds up what several of them say about a header.
# A line counts when an object holds code for it; "#####" means never run.
set -eu
cd "$(dirname "$0")/.."
build=$(realpath "${1:?usage: tools/cov.sh BUILD-FOLDER}")
objects=$(find "$build" -name '*.gcno' -not -path "$build/tests/*" \
    -not -path "$build/bench/*" | sort)

# -r: sources by relative path only (not the system's). The text of all files
# comes one after another, each begun by "-: 0:Source:NAME".
# shellcheck disable=SC2086
gcov -r -t $objects 2>/dev/null | awk -F: '
    $2 + 0 == 0 { if ($3 == "Source") file = $4; next }
    $1 ~ /^ *-$/ { next }
    { total[file]++ }
    $1 !~ /####|====/ { hit[file]++ }
    END { for (file in total) print file, total[file], hit[file] + 0 }
' | sort | awk '
    function row(name, total, hit) {
        printf "%-34s %7d %7d  %5.1f %%\n", name, total, total - hit,
            100 * hit / total
    }
    BEGIN { printf "%-34s %7s %7s  %7s\n", "file", "lines", "missed", "covered" }
    {
        folder = $1
        sub(/\/.*/, "", folder)
        total[folder] += $2
        hit[folder] += $3
        row($1, $2, $3)
    }
    END {
        print ""
        n = split("base ntt rlwe ckks nn apps", order, " ")
        for (i = 1; i <= n; i++)
            if (order[i] in total) row(order[i] "/", total[order[i]], hit[order[i]])
    }'
