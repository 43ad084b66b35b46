#!/bin/sh
# SPDX-License-Identifier: MIT
# One image across the slots: the same commands, from end to end; the same bytes
# in any way; what is refused.
. "$(dirname "$0")/../support/apps.sh"

tiny 7 || {
    fail "a tiny network" "training or planning failed"
    finish
}
ins=--insecure-parameters
check "plan --packing single" "$sotto" plan tiny.onnx -o one.plan \
    --packing single --log2-n 10 $ins --json plan.json
check "the plan says so" grep -q '^packing single$' one.plan
check "… and plan.json" grep -q '"packing": "single"' plan.json

# ---- Through files ---------------------------------------------------------

seed='--seed single'
# Options are words.
# shellcheck disable=SC2086
{
    check "keygen" "$sotto" keygen one.plan -o client $seed $ins
    check "encrypt" "$sotto" encrypt one.plan --key client/secret.key test.idx \
        -o images.ct $seed $ins --json encrypt.json
}
cp out.txt encrypt.txt
check "… says how" grep -q '7 images of 1 ciphertext each' encrypt.txt
check "infer" "$sotto" infer one.plan tiny.onnx images.ct -o scores.ct \
    --keys client/eval.key $ins --trace trace.json
cp out.txt infer.txt
check "… says how long an image takes" \
    grep -q 'prepared in .*; each image ' infer.txt
check "decrypt" "$sotto" decrypt one.plan --key client/secret.key scores.ct \
    --csv scores.csv --labels test.lab $ins
check "eval" "$sotto" eval tiny.onnx test.idx --csv plain.csv

# near FILE: scores are those of the plain network; the bounds are the plan's,
# this only catches what is altogether wrong.
near() {
    paste -d, "$1" plain.csv | awk -F, '
        NR == 1 { n = NF / 2; next }
        {
            if ($1 != $(n + 1)) bad++
            for (i = 3; i <= n; i++) {
                e = $i - $(n + i)
                if (e < 0) e = -e
                if (e > 0.1) bad++
            }
        }
        END { exit NR != 8 || bad > 0 }'
}
check "encrypted scores are the plain ones" near scores.csv
for key in '"packing": "single"' '"batches": 7' '"seconds_prepare": ' \
    '"batch_seconds_median": ' '"kind": "affine"' '"kind": "square"'; do
    check "trace.json has $key" grep -q "$key" trace.json
done
"$sotto" inspect one.plan >inspect.txt 2>&1
check "inspect: one image over the slots" \
    grep -q 'one image over 512 slots' inspect.txt
check "inspect: layouts" grep -q 'input .*cts 1 period' inspect.txt

"$sotto" encrypt one.plan --key client/secret.key - -o - $ins --quiet \
    <test.idx 2>pipe.txt |
    "$sotto" infer one.plan tiny.onnx - -o - --keys client/eval.key $ins \
        --quiet 2>>pipe.txt |
    "$sotto" decrypt one.plan --key client/secret.key - $ins --quiet \
        >pipe.csv 2>>pipe.txt
near pipe.csv && pass "the same through pipes" ||
    fail "the same through pipes" "$(cat pipe.txt)"

# ---- The same bytes in any way ---------------------------------------------

for n in 1 3; do
    # shellcheck disable=SC2086
    {
        "$sotto" keygen one.plan -o keys$n --threads $n $seed $ins
        "$sotto" encrypt one.plan --key client/secret.key test.idx \
            -o images$n.ct --threads $n $seed $ins
        "$sotto" infer one.plan tiny.onnx images.ct -o scores$n.ct \
            --keys client/eval.key --threads $n $ins
    } >log.txt 2>&1
    check "$n threads make the same keys" cmp keys$n/eval.key client/eval.key
    check "… ciphertexts" cmp images$n.ct images.ct
    check "… encrypted scores" cmp scores$n.ct scores.ct
done
for backend in portable avx2 ifma; do
    SOTTO_BACKEND=$backend "$sotto" infer one.plan tiny.onnx images.ct \
        -o backend.ct --keys client/eval.key $ins >log.txt 2>&1
    check "$backend makes the same scores" cmp backend.ct scores.ct
done
check "infer --memory" "$sotto" infer one.plan tiny.onnx images.ct \
    -o memory.ct --keys client/eval.key --memory 1K $ins
check "… makes the same scores" cmp memory.ct scores.ct
: >joined.ct
for part in 1/3 2/3 3/3; do
    "$sotto" infer one.plan tiny.onnx images.ct -o part.ct --part $part \
        --keys client/eval.key --quiet $ins 2>err.txt
    cat part.ct >>joined.ct
done
"$sotto" decrypt one.plan --key client/secret.key joined.ct --csv joined.csv \
    --quiet $ins 2>err.txt
check "3 parts join to the whole" cmp joined.csv scores.csv

# ---- What is refused -------------------------------------------------------

"$sotto" plan tiny.onnx -o other.plan --packing single --log2-n 10 --images 2 \
    --quiet $ins 2>err.txt
refuses 1 'plan' "ciphertexts of another plan" \
    "$sotto" infer other.plan tiny.onnx images.ct -o no.ct \
    --keys client/eval.key $ins
refuses 1 'other parameters' "ciphertexts for the other packing" \
    "$sotto" infer tiny.plan tiny.onnx images.ct -o no.ct \
    --keys client/eval.key $ins
refuses 2 'expected --keys' "no keys" "$sotto" infer one.plan tiny.onnx \
    images.ct -o no.ct $ins
"$sotto" keygen tiny.plan -o batch $ins >log.txt 2>&1
if [ -e batch/eval.key ]; then
    refuses 1 '.' "keys for another plan" "$sotto" infer one.plan tiny.onnx \
        images.ct -o no.ct --keys batch/eval.key $ins
fi
head -c 100000 client/eval.key >cut.key
refuses 1 'cut.key' "keys that are cut off" "$sotto" infer one.plan tiny.onnx \
    images.ct -o no.ct --keys cut.key $ins
head -c $(($(wc -c <images.ct) - 1)) images.ct >cut.ct
refuses 1 'cut.ct' "ciphertexts that are cut off" "$sotto" infer one.plan \
    tiny.onnx cut.ct -o no.ct --keys client/eval.key $ins
[ ! -e no.ct ] && pass "nothing is left" || fail "nothing is left"

# ---- Under a public key ----------------------------------------------------

"$sotto" plan tiny.onnx -o public.plan --packing single --log2-n 10 --public \
    --quiet $ins 2>err.txt
check "keygen --public" "$sotto" keygen public.plan -o public --public $ins
check "encrypt --public-key" "$sotto" encrypt public.plan --public-key \
    public/public.key test.idx -o public.ct $ins
"$sotto" infer public.plan tiny.onnx public.ct -o public.out --quiet \
    --keys public/eval.key $ins 2>err.txt
"$sotto" decrypt public.plan --key public/secret.key public.out --quiet $ins \
    >public.csv 2>err.txt
near public.csv && pass "scores under the public key" ||
    fail "scores under the public key" "$(cat err.txt)"

# ---- The demo --------------------------------------------------------------

{
    printf '\000\000\010\003'
    be32 300
    be32 28
    be32 28
    tail -c +$((17 + 5000 * 784)) "$root/data/mnist/t10k-images-idx3-ubyte" |
        head -c $((300 * 784))
} >train.idx
{
    printf '\000\000\010\001'
    be32 300
    tail -c +5009 "$root/data/mnist/t10k-labels-idx1-ubyte" | head -c 300
} >train.lab
model small 'conv maps=2 kernel=5 stride=4' square flatten 'dense units=10' ||
    fail "a small network"
check "demo --images 1" "$sotto" demo --images 1 --model small.onnx \
    --data "$root/data/mnist" --report page.html --json demo.json
check "… packs one image" grep -q '"packing": "single"' demo.json
check "… says what an image takes" grep -q '"infer_per_image": ' demo.json
check "… in its report, too" grep -q 'an image at the server' page.html
check "… with layouts" grep -q 'layout of the scores' page.html
finish
