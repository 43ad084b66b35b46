#!/bin/sh
# SPDX-License-Identifier: MIT
# Wrong things get a clear message, exit code 1, and leave nothing half written.
. "$(dirname "$0")/../support/apps.sh"

tiny 20 || {
    fail "a tiny network" "training or planning failed"
    finish
}
ins=--insecure-parameters
seed='--seed wrong-test'
{
    # shellcheck disable=SC2086
    "$sotto" keygen tiny.plan -o client $seed $ins
    "$sotto" keygen tiny.plan -o other $ins
    "$sotto" encrypt tiny.plan --key client/secret.key test.idx -o images.ct \
        $ins
    "$sotto" infer tiny.plan tiny.onnx images.ct -o scores.ct \
        --keys client/eval.key $ins
} >setup.txt 2>&1 || fail "setup" "$(cat setup.txt)"
mkdir out

encrypt() { # PLAN KEY IMAGES
    "$sotto" encrypt "$1" --key "$2" "$3" -o out/images.ct $ins --quiet
}
infer() { # PLAN MODEL IMAGES [KEYS]
    "$sotto" infer "$1" "$2" "$3" -o out/scores.ct \
        --keys "${4:-client/eval.key}" $ins --quiet
}
decrypt() { # PLAN KEY SCORES
    "$sotto" decrypt "$1" --key "$2" "$3" --csv out/scores.csv \
        --json out/scores.json $ins --quiet
}

# ---- Keys and plans --------------------------------------------------------

refuses 1 'key' "another key" decrypt tiny.plan other/secret.key scores.ct
"$sotto" plan tiny.onnx -o again.plan --images 20 --log2-n 11 --quiet $ins \
    2>err.txt
refuses 1 'parameters' "a key of other parameters" \
    encrypt again.plan client/secret.key test.idx
"$sotto" plan tiny.onnx -o wide.plan --images 600 --log2-n 10 --quiet $ins \
    2>err.txt
cmp -s tiny.plan wide.plan && fail "two plans differ"
refuses 1 'plan' "another plan's ciphertexts" \
    infer wide.plan tiny.onnx images.ct
refuses 1 'plan' "another plan's scores" \
    decrypt wide.plan client/secret.key scores.ct
refuses 1 'secret key' "ciphertexts for a key" \
    decrypt tiny.plan images.ct scores.ct
refuses 1 '.' "images for scores" \
    decrypt tiny.plan client/secret.key images.ct
refuses 1 'ciphertexts' "a key for ciphertexts" \
    infer tiny.plan tiny.onnx client/secret.key
sed 's/^images 20$/images 21/' tiny.plan >forged.plan
refuses 1 'forged.plan' "a changed plan" \
    encrypt forged.plan client/secret.key test.idx
model tiny2 'conv maps=2 kernel=3 stride=3' square flatten 'dense units=9' \
    >/dev/null 2>&1 || model tiny2 flatten 'dense units=10' square \
    'dense units=10' >/dev/null
refuses 1 'identity' "another model" infer tiny.plan tiny2.onnx images.ct
"$sotto" decrypt tiny.plan --key client/secret.key scores.ct $ins >out.txt \
    2>err.txt
grep -q 'warning: .*--seed' err.txt && pass "a key made with --seed warns" ||
    fail "a key made with --seed warns" "$(cat err.txt)"

# ---- Keys are kept ---------------------------------------------------------

before=$(sum client/secret.key)
refuses 1 'client/.*exists.*--force' "existing keys are kept" \
    "$sotto" keygen tiny.plan -o client $ins
[ "$(sum client/secret.key)" = "$before" ] && pass "… unchanged" ||
    fail "… unchanged"
cp -r client forced
check "--force overwrites" "$sotto" keygen tiny.plan -o forced --force $ins
[ "$(sum forced/secret.key)" != "$before" ] && pass "… changed" ||
    fail "… changed"
refuses 1 'cannot be made' "a folder that cannot be" \
    "$sotto" keygen tiny.plan -o test.idx/client $ins

# ---- Damaged files ---------------------------------------------------------

# flip FILE OFFSET OUT: the byte at OFFSET is replaced.
flip() {
    cp "$1" "$3"
    printf '\252' | dd of="$3" bs=1 seek="$2" conv=notrunc 2>/dev/null
    cmp -s "$1" "$3" && printf '\125' |
        dd of="$3" bs=1 seek="$2" conv=notrunc 2>/dev/null
}
# size FILE
size() {
    wc -c <"$1" | tr -d ' '
}

damaged=0
# try WHAT COMMAND…: the command must end with 1 and a message.
try() {
    note=$1
    shift
    damaged=$((damaged + 1))
    "$@" >out.txt 2>err.txt
    status=$?
    if [ "$status" -ne 1 ] || ! grep -q '^sotto [a-z]*: ..*' err.txt; then
        fail "damaged: $note" "exit $status: $(cat err.txt)"
    fi
}
n=$(size images.ct)
for at in 0 8 10 40 100 135 136 150 180 201 260 $((n / 2)) $((n - 1)); do
    flip images.ct "$at" bad.ct
    try "byte $at of the images" infer tiny.plan tiny.onnx bad.ct
done
for at in 0 7 100 136 137 200 220 $((n / 3)) $((n - 1)); do
    head -c "$at" images.ct >bad.ct
    try "images cut at $at" infer tiny.plan tiny.onnx bad.ct
done
n=$(size scores.ct)
for at in 3 20 120 140 190 $((n / 2)) $((n - 1)); do
    flip scores.ct "$at" bad.ct
    try "byte $at of the scores" decrypt tiny.plan client/secret.key bad.ct
    head -c "$at" scores.ct >bad.ct
    try "scores cut at $at" decrypt tiny.plan client/secret.key bad.ct
done
n=$(size client/secret.key)
for at in 1 50 130 160 $((n / 2)) $((n - 1)); do
    flip client/secret.key "$at" bad.key
    try "byte $at of the key" encrypt tiny.plan bad.key test.idx
    head -c "$at" client/secret.key >bad.key
    try "key cut at $at" encrypt tiny.plan bad.key test.idx
done
n=$(size tiny.plan)
for at in 0 20 $((n / 3)) $((n / 2)) $((n - 2)); do
    flip tiny.plan "$at" bad.plan
    try "byte $at of the plan" encrypt bad.plan client/secret.key test.idx
    head -c "$at" tiny.plan >bad.plan
    try "plan cut at $at" encrypt bad.plan client/secret.key test.idx
done
n=$(size tiny.onnx)
for at in 0 10 $((n / 2)) $((n - 1)); do
    head -c "$at" tiny.onnx >bad.onnx
    try "model cut at $at" "$sotto" plan bad.onnx -o out/bad.plan $ins
done
for at in 3 4 8 12 16 100; do
    head -c "$at" test.idx >bad.idx
    try "pictures cut at $at" encrypt tiny.plan client/secret.key bad.idx
done
{
    cat images.ct
    printf 'tail'
} >bad.ct
try "bytes behind the images" infer tiny.plan tiny.onnx bad.ct
{
    cat test.idx
    printf 'tail'
} >bad.idx
try "bytes behind the pictures" encrypt tiny.plan client/secret.key bad.idx
: >empty
try "an empty plan" encrypt empty client/secret.key test.idx
try "an empty key" encrypt tiny.plan empty test.idx
try "an empty model" "$sotto" plan empty -o out/bad.plan $ins
try "empty images" infer tiny.plan tiny.onnx empty
try "a folder for a file" encrypt tiny.plan client test.idx
pass "$damaged damaged files are refused"
# A length field that promises 2^62 bytes must not be believed.
printf '\377\377\377\377\377\377\377\077' >huge
{
    head -c 160 images.ct
    cat huge huge
    tail -c +177 images.ct
} >bad.ct
refuses 1 'bad.ct' "an oversized record" infer tiny.plan tiny.onnx bad.ct

# ---- Models ----------------------------------------------------------------

model relu 'conv maps=2 kernel=3 stride=3' relu flatten 'dense units=10'
refuses 1 'Relu' "Relu is refused by name" \
    "$sotto" plan relu.onnx -o out/relu.plan --log2-n 10 $ins
check "… but evaluated" "$sotto" eval relu.onnx test.idx
sed 's/Conv/Conx/' tiny.onnx >conx.onnx
refuses 1 'Conx' "an unknown operator is named" \
    "$sotto" plan conx.onnx -o out/conx.plan $ins
refuses 1 'N = 2^10' "a network too deep for its ring" \
    "$sotto" plan tiny.onnx -o out/deep.plan --log2-n 10
set -- flatten
k=0
while [ $k -lt 70 ]; do
    set -- "$@" 'dense units=4' batch_norm square
    k=$((k + 1))
done
RATE=1e-12 model deep "$@" 'dense units=10'
refuses 1 'deep.onnx: .*N = 2^17' "too deep a network for any ring" \
    "$sotto" plan deep.onnx -o out/deep.plan
refuses 1 'insecure\|128' "insecure parameters need a word" \
    "$sotto" keygen tiny.plan -o out/client
images other.idx 5 7
refuses 1 '\[1,7,7\], expected \[1,6,6\]' "pictures of another shape" \
    encrypt tiny.plan client/secret.key other.idx
refuses 1 '\[1,7,7\], expected \[1,6,6\]' "… in eval" \
    "$sotto" eval tiny.onnx other.idx

# Pictures without bright pixels promise a range that others leave.
{
    head -c 16 train.idx
    tail -c +17 train.idx | tr '\101-\377' '\100'
} >dim.idx
"$sotto" plan tiny.onnx -o dim.plan --images 20 --calibrate dim.idx --quiet \
    --log2-n 10 $ins 2>err.txt || fail "a plan for dim pictures" "$(cat err.txt)"
"$sotto" keygen dim.plan -o dim --quiet $ins 2>err.txt
refuses 1 'the plan takes values from' "pixels outside the planned range" \
    encrypt dim.plan dim/secret.key test.idx

# ---- Where nothing can be written ------------------------------------------

if [ -c /dev/full ]; then
    refuses 1 'No space left' "ciphertexts on a full disk" "$sotto" encrypt \
        tiny.plan --key client/secret.key test.idx -o /dev/full $ins
    refuses 1 'No space left' "scores on a full disk" "$sotto" infer tiny.plan \
        tiny.onnx images.ct -o /dev/full --keys client/eval.key $ins
    refuses 1 'No space left' "a table on a full disk" "$sotto" decrypt \
        tiny.plan --key client/secret.key scores.ct --csv /dev/full $ins
    refuses 1 'No space left' "a plan on a full disk" "$sotto" plan tiny.onnx \
        -o /dev/full --log2-n 10 $ins
else
    skip "a full disk" "no /dev/full"
fi
# A limit on file sizes stands for a disk that fills up on the way.
refuses 1 'out/images.ct' "a disk that fills up" sh -c "ulimit -f 8;
    '$sotto' encrypt tiny.plan --key client/secret.key test.idx \
    -o out/images.ct $ins"
refuses 1 'nofolder' "an output in no folder" "$sotto" encrypt tiny.plan \
    --key client/secret.key test.idx -o nofolder/images.ct $ins

# ---- Left behind -----------------------------------------------------------

if [ -n "$(ls out)" ]; then
    fail "no output after an error" "$(ls out)"
else
    pass "no output after an error"
fi
if find . -name '*.tmp' | grep -q .; then
    fail "no temporary files stay" "$(find . -name '*.tmp')"
else
    pass "no temporary files stay"
fi
finish
