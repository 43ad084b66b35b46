#!/bin/sh
# SPDX-License-Identifier: MIT
# The same bytes for any number of threads; parts that join to the whole.
. "$(dirname "$0")/../support/apps.sh"

# Three batches of 512, the last one not full.
tiny 1100 || {
    fail "a tiny network" "training or planning failed"
    finish
}
ins=--insecure-parameters

for n in 1 2 7; do
    # Options are words.
    # shellcheck disable=SC2086
    {
        seed="--seed same --threads $n --quiet $ins"
        "$sotto" keygen tiny.plan -o keys$n --public $seed ||
            "$sotto" keygen tiny.plan -o keys$n $seed
        "$sotto" encrypt tiny.plan --key keys$n/secret.key test.idx \
            -o images$n.ct $seed
        "$sotto" infer tiny.plan tiny.onnx images$n.ct -o scores$n.ct \
            --keys keys$n/eval.key --threads $n --quiet $ins
        "$sotto" decrypt tiny.plan --key keys$n/secret.key scores$n.ct \
            --csv scores$n.csv --threads $n --quiet $ins
    } >log$n.txt 2>&1
done
for n in 2 7; do
    check "$n threads make the same keys" cmp keys1/secret.key \
        keys$n/secret.key
    if [ -e keys1/eval.key ]; then
        check "… evaluation keys" cmp keys1/eval.key keys$n/eval.key
    fi
    check "… ciphertexts" cmp images1.ct images$n.ct
    check "… encrypted scores" cmp scores1.ct scores$n.ct
    check "… scores" cmp scores1.csv scores$n.csv
done
check "all images have scores" test "$(grep -c '' scores1.csv)" -eq 1101
grep -q 'warning: --seed' log1.txt && pass "--seed warns" ||
    fail "--seed warns" "$(cat log1.txt)"
"$sotto" inspect images1.ct >inspect.txt
check "… and marks" grep -q 'made with --seed' inspect.txt

"$sotto" encrypt tiny.plan --key keys1/secret.key test.idx -o fresh.ct --quiet \
    $ins 2>err.txt
cmp -s fresh.ct images1.ct && fail "without --seed nothing repeats" ||
    pass "without --seed nothing repeats"

# ---- Parts -----------------------------------------------------------------

for n in 2 3 5; do
    i=1
    : >joined.ct
    while [ $i -le $n ]; do
        "$sotto" infer tiny.plan tiny.onnx images1.ct -o part.ct \
            --part $i/$n --keys keys1/eval.key --quiet $ins 2>err.txt ||
            cat err.txt
        cat part.ct >>joined.ct
        i=$((i + 1))
    done
    "$sotto" decrypt tiny.plan --key keys1/secret.key joined.ct \
        --csv joined.csv --quiet $ins 2>err.txt
    if cmp -s joined.csv scores1.csv; then
        pass "$n parts join to the whole"
    else
        fail "$n parts join to the whole" "$(cat err.txt)"
    fi
done
# What is missing, doubled, out of order or of another job is noticed.
"$sotto" infer tiny.plan tiny.onnx images1.ct -o part.ct --part 2/3 \
    --keys keys1/eval.key --quiet $ins 2>err.txt
refuses 1 'missing, doubled or out of order' "a part alone" \
    "$sotto" decrypt tiny.plan --key keys1/secret.key part.ct --csv x.csv $ins
cat scores1.ct part.ct >joined.ct
refuses 1 'more than the 3 batches' "a part twice" \
    "$sotto" decrypt tiny.plan --key keys1/secret.key joined.ct --csv x.csv $ins
cat fresh.ct fresh.ct >joined.ct
refuses 1 'more than the 3 batches' "images twice" \
    "$sotto" infer tiny.plan tiny.onnx joined.ct -o x.ct \
    --keys keys1/eval.key $ins
"$sotto" encrypt tiny.plan --key keys1/secret.key test.idx --range 0:9 \
    -o nine.ct --quiet $ins 2>err.txt
cat nine.ct fresh.ct >joined.ct
refuses 1 'joined.ct' "images of two jobs" \
    "$sotto" infer tiny.plan tiny.onnx joined.ct -o x.ct \
    --keys keys1/eval.key $ins
refuses 2 'I/N' "part 0" "$sotto" infer tiny.plan tiny.onnx images1.ct \
    -o x.ct --part 0/3 $ins

finish
