#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs test programs and shell tests that print TAP, JOBS at a time.
#
#   tests/run.sh PROGRAM-OR-SCRIPT…
#
# One line for each with its time, then the output of those that failed, then
# "N passed, N failed[, N skipped]". A crash, a missing result or more than
# LIMIT seconds is a failure. Environment: JOBS, LIMIT, WRAPPER (a command to
# run programs under, such as valgrind).
set -u

if [ "$#" -eq 0 ]; then
    echo "no tests selected"
    exit 1
fi
jobs=${JOBS:-$(nproc 2>/dev/null || echo 1)}
limit=${LIMIT:-300}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

export CMOCKA_MESSAGE_OUTPUT=TAP
export ASAN_OPTIONS="allocator_may_return_null=1:${ASAN_OPTIONS:-}"
export TSAN_OPTIONS="allocator_may_return_null=1:halt_on_error=1:${TSAN_OPTIONS:-}"

# Reads TAP; prints "passed failed skipped". status: how the program ended.
# A plan (1..N) promises N results; what is missing counts as failed, and a
# program that ends badly without a failed result fails once.
count() { # OUTPUT STATUS
    awk -v status="$2" '
        /^1\.\.[0-9]+/ { planned += substr($1, 4) }
        /^(not )?ok/ && /# *SKIP/ { skipped++; next }
        /^not ok/ { failed++; next }
        /^ok/ { passed++ }
        END {
            seen = passed + failed + skipped
            if (seen < planned) failed += planned - seen
            if ((status != 0 || seen == 0) && failed == 0) failed = 1
            print passed + 0, failed + 0, skipped + 0
        }' "$1"
}

run_one() { # NUMBER PROGRAM
    out=$work/$1.out
    begin=$(date +%s.%N)
    wrapper=${WRAPPER:-}
    case $2 in
    *.sh) wrapper= ;;
    esac
    # The wrapper is a command with options: unquoted.
    # shellcheck disable=SC2086
    timeout -k 5 "$limit" $wrapper "$2" >"$out" 2>&1 </dev/null
    status=$?
    end=$(date +%s.%N)
    # shellcheck disable=SC2046
    set -- "$1" "$2" $(count "$out" "$status")
    word=ok
    [ "$4" -eq 0 ] || word=FAILED
    awk -v name="$2" -v word="$word" -v ok="$3" -v bad="$4" -v skip="$5" \
        -v from="$begin" -v to="$end" 'BEGIN {
            sub(/^.*\/tests\//, "tests/", name)
            note = skip > 0 ? sprintf(", %d skipped", skip) : ""
            if (bad > 0) note = note sprintf(", %d failed", bad)
            printf "%-6s %7.2f s  %-34s %d passed%s\n", word, to - from,
                name, ok, note }'
    echo "$3 $4 $5" >"$work/$1.count"
    if [ "$4" -gt 0 ]; then
        {
            echo "---- $2"
            case $status in
            0 | 1) ;;
            124 | 137) echo "(stopped after $limit s)" ;;
            *) echo "(ended with status $status)" ;;
            esac
            tail -n 100 "$out"
        } >"$work/$1.failed"
    fi
    [ "$5" -eq 0 ] || grep -E '^(not )?ok.*# *SKIP' "$out" \
        >"$work/$1.skipped"
}

# Each worker takes what no other has claimed yet: mkdir succeeds only once.
worker() {
    n=0
    for program; do
        n=$((n + 1))
        if mkdir "$work/claim.$n" 2>/dev/null; then
            run_one "$n" "$program"
        fi
    done
}

i=0
while [ "$i" -lt "$jobs" ]; do
    i=$((i + 1))
    worker "$@" &
done
wait

for file in "$work"/*.skipped; do
    if [ -e "$file" ]; then
        # "ok N - NAME # SKIP REASON"; CMocka writes "ok N # SKIP NAME".
        sed -e 's/^[^-#]*- *\(.*[^ ]\) *# *SKIP */skipped: \1: /' \
            -e 's/^[^-#]*# *SKIP */skipped: /' "$file"
    fi
done
for file in "$work"/*.failed; do
    if [ -e "$file" ]; then
        cat "$file"
    fi
done
cat "$work"/*.count 2>/dev/null | awk -v programs="$#" '
    { passed += $1; failed += $2; skipped += $3 }
    END {
        # A program without a count was lost: that is a failure as well.
        if (NR < programs) failed += programs - NR
        printf "%d passed, %d failed", passed, failed
        if (skipped > 0) printf ", %d skipped", skipped
        printf "\n"
        exit failed > 0
    }'
