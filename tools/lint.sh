#!/bin/sh
# SPDX-License-Identifier: MIT
# The rules of the house that a compiler does not know.
#
#   tools/lint.sh LIBSOTTO.A
#
#   1. SPDX line in every source            5. no writable data in the library
#   2. calls go down: includes by floor     6. external symbols have a prefix
#   3. a comment above every prototype      7. no division where secrets flow
#   4. no machine paths, no loose ends      8. clang-format
#
# Needs awk, grep and binutils; clang-format is skipped, saying so, where it is
# missing. Prints FILE:LINE: what; exit status 1 when anything was found.
set -u
cd "$(dirname "$0")/.." || exit 1
library=${1:?usage: tools/lint.sh LIBSOTTO.A}
found=$(mktemp) || exit 1
trap 'rm -f "$found"' EXIT

sources=$(find base ntt rlwe ckks nn apps bench tests tools \
    \( -name '*.c' -o -name '*.h' \) -not -path '*/corpus/*' | sort)
scripts=$(find tests tools .ci -type f \( -name '*.sh' -o -name '*.py' \
    -o -name run \) -not -path '*/node_modules/*' | sort)
# Helpers of tests explain themselves by their names and groups.
headers=$(echo "$sources" | grep '\.h$' | grep -v '^tests/')

# ---- 1. licence ----
documents=$(find . -maxdepth 1 -name '*.md'; find docs -name '*.md' | sort)
# shellcheck disable=SC2129
for file in $sources $scripts Makefile; do
    head -n 2 "$file" | grep -q 'SPDX-License-Identifier: MIT' ||
        echo "$file:1: no SPDX line"
done >>"$found"

# ---- 2. layers ----
# Floors from the ground up; nn and apps reach the ring through ckks and rlwe
# only. An internal header is visible in its own folder. The tour may look
# everywhere, as may tests and bench.
# shellcheck disable=SC2086
awk '
    BEGIN {
        n = split("base ntt rlwe ckks nn apps", floors, " ")
        for (i = 1; i <= n; i++) rank[floors[i]] = i
    }
    FNR == 1 {
        split(FILENAME, part, "/")
        own = part[1]
        folder = FILENAME
        sub(/\/[^\/]*$/, "", folder)
        free = own == "tests" || own == "bench" || FILENAME ~ /^apps\/tour\//
        internal = FILENAME ~ /_internal\.h$/
    }
    /^[ \t]*#[ \t]*include[ \t]+"/ {
        target = $0
        sub(/^[^"]*"/, "", target)
        sub(/".*/, "", target)
        split(target, part, "/")
        where = FILENAME ":" FNR ": "
        if (target !~ /\//) print where "include \"" target "\" without folder"
        if (free) next
        if (!(part[1] in rank)) print where "includes " target
        else if (rank[part[1]] > rank[own]) print where own " includes " target
        else if (part[1] == "ntt" && (own == "nn" || own == "apps"))
            print where own " includes " target ": the ring is below ckks"
        if (target ~ /_internal\.h$/) {
            home = target
            sub(/\/[^\/]*$/, "", home)
            if (home != folder) print where target " belongs to " home
            if (FILENAME ~ /\.h$/ && !internal)
                print where "a public header includes " target
        }
    }' $sources >>"$found"

# ---- 3. comments above prototypes ----
# At file scope a declaration with "(" that ends in ";" or opens a body needs
# the line above it to end a comment, or to end another prototype of the same
# group. Blank lines end groups.
# shellcheck disable=SC2086
awk '
    function reset() { depth = 0; comment = 0; macro = 0; text = ""; above = 0 }
    FNR == 1 { reset() }
    {
        line = $0
        if (macro) { macro = line ~ /\\$/; next }
        if (comment) {
            if (line !~ /\*\//) next
            comment = 0
            above = 1
            next
        }
        if (line ~ /^[ \t]*$/) { if (depth == 0 && text == "") above = 0; next }
        if (depth == 0 && text == "" && line ~ /^[ \t]*#/) {
            macro = line ~ /\\$/
            next
        }
        if (depth == 0 && text == "" && line ~ /^[ \t]*\/\*/) {
            if (line ~ /\*\//) above = 1; else comment = 1
            next
        }
        gsub(/\/\*[^*]*\*\//, "", line)
        if (line ~ /\/\*/) { sub(/\/\*.*/, "", line); comment = 1 }
        if (depth == 0) {
            if (text == "") first = FNR
            text = text " " line
        }
        opens = gsub(/\{/, "{", line)
        closes = gsub(/\}/, "}", line)
        was = depth
        depth += opens - closes
        if (was == 0 && (line ~ /;[ \t]*$/ || opens > 0)) {
            head = text
            sub(/\{.*/, "", head)
            callable = head ~ /\(/ && head !~ /^ *(typedef )?(struct|enum|union)[ a-z_0-9]*$/ \
                && head !~ /_Static_assert/
            if (callable && !above)
                print FILENAME ":" first ": no comment above: " substr(head, 2, 60)
            # The next line may belong to the group.
            above = callable ? above : 0
            if (depth == 0) text = ""
        } else if (was > 0 && depth == 0) {
            text = ""
            above = 0
        }
        if (depth > 0) text = ""
    }' $headers >>"$found"

# ---- 4. machine paths, loose ends ----
# The patterns are put together so that this file does not match itself.
# shellcheck disable=SC2086
{
    grep -nE '/(w[o]rk|h[o]me|r[o]ot)/[a-z]|\.\./shared' \
        $sources $scripts Makefile $documents
    grep -nE 'T[O]DO|F[I]XME|X[X]X' $sources $scripts Makefile | grep -v 'X\{6\}'
} | sed 's/^\([^:]*:[0-9]*\):/\1: loose end or machine path:/' >>"$found"

# ---- 5. no mutable globals ----
objdump -h "$library" | awk '
    /file format/ { object = $1 }
    $2 ~ /^\.(data|bss|tdata|tbss)(\.|$)/ && $2 !~ /^\.data\.rel\.ro/ &&
        $3 !~ /^0+$/ { print object " has writable data in " $2 }' >>"$found"

# ---- 6. prefixes ----
nm -g --defined-only "$library" 2>/dev/null | awk '
    NF == 3 && $3 !~ /^(sotto|zq|ntt|rns|poly|rlwe|ckks|nn)_/ {
        print "symbol without prefix: " $3 }' >>"$found"

# ---- 7. no division where secrets flow ----
# Dividing takes a time that depends on the values. These objects handle
# secrets only, apart from lengths, and so have no reason to divide.
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$found" "$scratch"' EXIT
if [ "$(uname -m)" = x86_64 ]; then
    full=$(realpath "$library")
    for object in prng.o hash.o sample.o; do
        (cd "$scratch" && ar x "$full" "$object" 2>/dev/null) || continue
        objdump -d --no-show-raw-insn "$scratch/$object" 2>/dev/null | awk -v o="$object" '
            /^[0-9a-f]+ </ { fn = $2 }
            $2 ~ /^i?div[lqwb]?$/ { print o ": division in " fn }' >>"$found"
    done
fi

# ---- 8. layout ----
# Versions differ in details; 14 is the one that decides.
if clang-format --version 2>/dev/null | grep -q 'version 14\.'; then
    # shellcheck disable=SC2086
    clang-format --dry-run $sources 2>&1 | grep 'clang-format-violations' |
        sed 's/:.*//' | sort | uniq -c | awk '{
            print $2 ": layout differs from clang-format -i at " $1 " places" }' \
        >>"$found"
else
    echo "skipped: clang-format 14 is missing (Debian 12: apt-get install clang-format)"
fi

if [ -s "$found" ]; then
    cat "$found"
    echo "lint: $(grep -c . "$found") findings"
    exit 1
fi
echo "lint: clean"
