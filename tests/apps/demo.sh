#!/bin/sh
# SPDX-License-Identifier: MIT
# The demo with a small network of real picture size: its JSON, its page, what
# it leaves behind.
. "$(dirname "$0")/../support/apps.sh"

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
model small 'conv maps=1 kernel=5 stride=4' square flatten 'dense units=10' ||
    fail "a small network"

mkdir tmp
TMPDIR=$work/tmp
export TMPDIR
check "demo" "$sotto" demo --images 600 --model small.onnx \
    --data "$root/data/mnist" --report page.html --json demo.json
cp out.txt demo.txt

missing=
for key in model images correct_plain correct_encrypted label_differences \
    worst_logit_error predicted_logit_error worst_he_error predicted_he_error \
    log2_n log2_qp security_bits backend threads seconds keygen encrypt infer \
    decrypt bytes secret_key eval_key input output peak_bytes; do
    grep -q "^ *\"$key\": " demo.json || missing="$missing $key"
done
[ -z "$missing" ] && pass "the JSON has all keys" ||
    fail "the JSON has all keys" "missing:$missing"
check "real parameters" grep -q '"security_bits": \(128\|192\|256\)' demo.json

# number KEY: the first value of a key.
number() {
    sed -n "s/^ *\"$1\": \([-+.0-9e]*\),*\$/\1/p" demo.json | head -n 1
}
within() {
    awk -v a="$(number "$1")" -v b="$(number "$2")" \
        'BEGIN { exit !(a > 0 && a <= b) }'
}
check "HE errors stay within the prediction" \
    within worst_he_error predicted_he_error
check "all errors stay within the prediction" \
    within worst_logit_error predicted_logit_error
check "as many right as in plain" \
    test "$(number correct_encrypted)" -eq "$(number correct_plain)"
for word in 'security' 'log2 scale' 'accuracy' 'rounding' 'slots are empty' \
    'no secret key'; do
    check "it says: $word" grep -q "$word" demo.txt
done
check "the page is whole" grep -q '</html>' page.html
if grep -q 'http:\|https:\|src=\|@import\|url(' page.html; then
    fail "the page loads nothing" "$(grep -o 'https*:[^"]*' page.html)"
else
    pass "the page loads nothing"
fi
check "its charts are inline" grep -q '<svg' page.html
[ -z "$(ls tmp)" ] && pass "nothing stays" || fail "nothing stays" "$(ls tmp)"

refuses 1 'at most 10000' "more images than there are" "$sotto" demo \
    --images 10001 --model small.onnx --data "$root/data/mnist" --report no.html
refuses 1 'give --data' "no test images" "$sotto" demo --data nowhere
refuses 1 'No such file' "no model" "$sotto" demo --model no.onnx \
    --data "$root/data/mnist" --report no.html --images 1
[ -z "$(ls tmp)" ] && [ ! -e no.html ] && pass "nothing stays after an error" ||
    fail "nothing stays after an error" "$(ls tmp)"

stop_when 'ls tmp/sotto-demo-*/server/images.ct*' \
    "$sotto" demo --model small.onnx --data "$root/data/mnist" --report no.html
if [ $status -eq 1 ] && [ -z "$(ls tmp)" ] && [ ! -e no.html ]; then
    pass "a signal ends it, and nothing stays"
else
    fail "a signal ends it, and nothing stays" \
        "exit $status: $(ls tmp) $(cat err.txt)"
fi
finish
