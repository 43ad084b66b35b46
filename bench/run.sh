#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs benchmark programs one after another: bench/run.sh [--json] [--quick]
# [WORD] -- PROGRAM…  With --json the output is one list of objects.
set -u
options=
json=
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    [ "$1" = --json ] && json=yes
    options="$options $1"
    shift
done
shift
if [ -z "$json" ]; then
    for program; do
        # shellcheck disable=SC2086
        "$program" $options || exit 1
    done
    exit 0
fi
for program; do
    # shellcheck disable=SC2086
    "$program" $options || exit 1
done | awk 'BEGIN { printf "[" } { printf "%s\n%s", (NR > 1 ? "," : ""), $0 }
            END { print "\n]" }'
