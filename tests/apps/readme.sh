#!/bin/sh
# SPDX-License-Identifier: MIT
# The program in README.md compiles as the README says and prints what it
# should. Prints TAP.
set -u
cd "$(dirname "$0")/../.." || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

program() {
    awk '/^```c$/ { on = 1; next } /^```$/ { on = 0 } on' README.md \
        >"$work/square.c" &&
        # shellcheck disable=SC2086
        ${CC:-cc} -std=c11 -I. "$work/square.c" "${SOTTO_LIB:-./libsotto.a}" \
            ${SOTTO_SAN:-} -pthread -lm -o "$work/square" &&
        ASAN_OPTIONS=detect_leaks=0 "$work/square" >"$work/out" &&
        grep -qx 'success: 2.250000 4.000000 10.562500 ' "$work/out"
}

if program >"$work/log" 2>&1; then
    echo "ok 1 - the program of README.md"
else
    echo "not ok 1 - the program of README.md"
    sed 's/^/# /' "$work/log" "$work/out"
fi
echo 1..1
