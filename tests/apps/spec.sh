#!/bin/sh
# SPDX-License-Identifier: MIT
# SPEC.md is enough: tests/spec/decrypt.py, written from it, finds what sotto
# decrypt finds, and the pixels in a seeded upload; tests/spec/compute.py makes
# the keys and ciphertexts of its vectors.
. "$(dirname "$0")/../support/apps.sh"

if ! command -v python3 >/dev/null 2>&1; then
    skip "decryption by the specification" "python3 is absent"
    finish
fi
check "compute.py makes the files of SPEC §15" \
    python3 "$root/tests/spec/compute.py" "$root/SPEC.md"
tiny 20 || {
    fail "a tiny network" "training or planning failed"
    finish
}
ins=--insecure-parameters
decrypt=$root/tests/spec/decrypt.py

check "keygen" "$sotto" keygen tiny.plan -o client $ins
check "encrypt" "$sotto" encrypt tiny.plan --key client/secret.key test.idx \
    -o images.ct $ins
check "infer" "$sotto" infer tiny.plan tiny.onnx images.ct -o scores.ct \
    --keys client/eval.key $ins
check "decrypt" "$sotto" decrypt tiny.plan --key client/secret.key scores.ct \
    --csv scores.csv $ins

# near A B LIMIT: the same lines, numbers from the second column on within
# LIMIT of each other; prints "near" or what is wrong.
near() {
    paste -d, "$1" "$2" | awk -F, -v limit="$3" '
        {
            n = NF / 2
            if (NF % 2 || $1 != $(n + 1)) bad = "line " NR ": " $0
            for (i = 2; i <= n; i++) {
                e = $i - $(n + i)
                if (e < 0) e = -e
                if (e > worst) worst = e
            }
        }
        END {
            if (NR == 0) bad = "no lines"
            print bad != "" ? bad : worst < limit ? "near" : worst
        }'
}

# ---- Scores ----------------------------------------------------------------

check "decrypt.py on scores" python3 "$decrypt" tiny.plan client/secret.key \
    scores.ct
mv out.txt spec.csv
# without the heading and the column of labels
tail -n +2 scores.csv | cut -d, -f1,3- >sotto.csv
result=$(near spec.csv sotto.csv 0.0001)
if [ "$result" = near ] && [ "$(grep -c '' spec.csv)" -eq 20 ]; then
    pass "the same scores"
else
    fail "the same scores" "$result"
fi

# ---- A seeded upload -------------------------------------------------------

check "decrypt.py on seeded ciphertexts" python3 "$decrypt" tiny.plan \
    client/secret.key images.ct --items 3
mv out.txt pixels.csv
# The first three pixels of each image, of 6×6 bytes behind 16 of heading.
od -An -v -tu1 -w36 -j16 test.idx |
    awk '{ printf "%d,%.9g,%.9g,%.9g\n", NR - 1, $1 / 255, $2 / 255, $3 / 255 }' \
        >expected.csv
result=$(near pixels.csv expected.csv 0.01)
if [ "$result" = near ]; then
    pass "the pixels in it"
else
    fail "the pixels in it" "$result"
fi

# ---- It checks what it reads -----------------------------------------------

cp scores.ct damaged.ct
size=$(wc -c <damaged.ct)
printf '\377' | dd of=damaged.ct bs=1 seek=$((size / 2)) conv=notrunc 2>/dev/null
refuses 1 'record damaged' "decrypt.py refuses a flipped byte" \
    python3 "$decrypt" tiny.plan client/secret.key damaged.ct
check "another key" "$sotto" keygen tiny.plan -o other $ins
refuses 1 'another key' "decrypt.py refuses another key" \
    python3 "$decrypt" tiny.plan other/secret.key scores.ct

finish
