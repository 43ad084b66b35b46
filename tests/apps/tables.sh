#!/bin/sh
# SPDX-License-Identifier: MIT
# The tables of README.md and docs/benchmarks.md are what bench/tables.sh makes
# of the committed results, and bench/compare sees what moved. Prints TAP.
. "$(dirname "$0")/../support/apps.sh"

check "tables are made from bench/results" "$root/bench/tables.sh" --check

line() { # NAME MEDIAN
    echo "{\"name\": \"$1\", \"part\": \"p\", \"backend\": \"any\", \"threads\": 1," \
        "\"median_ns\": $2, \"p10_ns\": $2, \"p90_ns\": $2},"
}
{
    line still 100
    line moved 100
    line gone 100
} >old.json
{
    line still 101
    line moved 150
    line fresh 100
} >new.json
"$root/bench/compare" old.json new.json >out.txt
status=$?
if [ $status -eq 1 ] && grep -q '^slower p/moved .* 1\.50$' out.txt &&
    grep -q '^only in old.json: p/gone$' out.txt &&
    grep -q '^only in new.json: p/fresh$' out.txt && ! grep -q still out.txt; then
    pass "compare tells what moved and what is missing"
else
    fail "compare tells what moved and what is missing" "$(cat out.txt)"
fi
check "compare finds nothing in a file and itself" \
    "$root/bench/compare" old.json old.json
finish
