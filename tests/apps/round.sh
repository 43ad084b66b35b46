#!/bin/sh
# SPDX-License-Identifier: MIT
# One inference from end to end with a tiny network, and what it leaves.
. "$(dirname "$0")/../support/apps.sh"

tiny 20 || {
    fail "a tiny network" "training or planning failed"
    finish
}
ins=--insecure-parameters

# ---- Through files ---------------------------------------------------------

check "keygen" "$sotto" keygen tiny.plan -o client $ins --json keygen.json
check "secret.key is for its owner only" \
    test "$(ls -l client/secret.key | cut -c1-10)" = -rw-------
check "encrypt" "$sotto" encrypt tiny.plan --key client/secret.key test.idx \
    -o images.ct $ins --json encrypt.json
check "infer" "$sotto" infer tiny.plan tiny.onnx images.ct -o scores.ct \
    --keys client/eval.key $ins --trace trace.json --json infer.json
check "decrypt" "$sotto" decrypt tiny.plan --key client/secret.key scores.ct \
    --csv scores.csv --json scores.json --labels test.lab $ins
check "eval" "$sotto" eval tiny.onnx test.idx --labels test.lab --csv plain.csv \
    --json eval.json

# Largest difference of two CSV files of scores, and lines that do not fit.
distance() {
    paste -d, "$1" "$2" | awk -F, '
        NR == 1 { n = NF / 2; next }
        {
            if ($1 != $(n + 1)) bad++
            for (i = 3; i <= n; i++) {
                e = $i - $(n + i)
                if (e < 0) e = -e
                if (e > worst) worst = e
            }
        }
        END { print NR - 1, bad + 0, (worst < limit ? "near" : worst) }
        ' limit="$3"
}
# The bounds are the plan's; this only catches what is altogether wrong.
if [ "$(distance scores.csv plain.csv 0.2)" = "20 0 near" ]; then
    pass "encrypted scores are the plain ones"
else
    fail "encrypted scores are the plain ones" \
        "$(distance scores.csv plain.csv 0.2)"
fi
check "the first line names the columns" \
    grep -q '^index,label,score0,score1,.*,score9$' scores.csv
for key in images correct accuracy; do
    check "eval.json has $key" grep -q "^  \"$key\": [0-9.]*,\$" eval.json
done
check "scores.json has noise and results" grep -q '"noise_std": ' scores.json
check "… and labels" grep -q '^      "label": [0-9],$' scores.json
check "trace.json has steps" grep -q '"kind": "affine"' trace.json
check "encrypt.json" grep -q '"images": 20,' encrypt.json
check "keygen.json" grep -q '"from_seed": false' keygen.json

# ---- Through pipes ---------------------------------------------------------

"$sotto" encrypt tiny.plan --key client/secret.key - -o - $ins --quiet \
    <test.idx 2>pipe.txt |
    "$sotto" infer tiny.plan tiny.onnx - -o - --keys client/eval.key $ins \
        --quiet 2>>pipe.txt |
    "$sotto" decrypt tiny.plan --key client/secret.key - $ins --quiet \
        >pipe.csv 2>>pipe.txt
if [ "$(distance pipe.csv plain.csv 0.2)" = "20 0 near" ]; then
    pass "the same through pipes"
else
    fail "the same through pipes" "$(cat pipe.txt)"
fi

# ---- Parts of the images ---------------------------------------------------

check "encrypt --range" "$sotto" encrypt tiny.plan --key client/secret.key \
    test.idx --range 7:9 -o range.ct $ins
"$sotto" infer tiny.plan tiny.onnx range.ct -o range.out --quiet \
    --keys client/eval.key $ins 2>err.txt
"$sotto" decrypt tiny.plan --key client/secret.key range.out $ins --quiet \
    >range.csv 2>err.txt
sed -n '9,10p' plain.csv | cut -d, -f2 >want.txt
sed 1d range.csv | cut -d, -f2 | cmp -s - want.txt &&
    pass "a range gives these images" ||
    fail "a range gives these images" "$(cat range.csv)"
refuses 1 'passes the end, expected at most 20' "a range past the end" \
    "$sotto" encrypt tiny.plan --key client/secret.key test.idx \
    --range 19:21 -o no.ct $ins
check "waste is told" \
    sh -c '"$0" "$@" | grep -q "511 of 512 slots are empty"' "$sotto" encrypt \
    tiny.plan --key client/secret.key test.idx --range 0:1 -o one.ct $ins

# ---- Public key ------------------------------------------------------------

"$sotto" plan tiny.onnx -o public.plan --images 20 --public --quiet \
    --log2-n 10 $ins 2>err.txt
check "keygen --public" "$sotto" keygen public.plan -o public --public $ins
check "encrypt --public-key" "$sotto" encrypt public.plan --public-key \
    public/public.key test.idx -o public.ct $ins
"$sotto" infer public.plan tiny.onnx public.ct -o public.out --quiet \
    --keys public/eval.key $ins 2>err.txt
"$sotto" decrypt public.plan --key public/secret.key public.out $ins --quiet \
    >public.csv 2>err.txt
[ "$(distance public.csv plain.csv 0.2)" = "20 0 near" ] &&
    pass "scores under the public key" ||
    fail "scores under the public key" "$(cat err.txt)"
refuses 2 'sotto plan --public' "no public key without a plan for it" \
    "$sotto" keygen tiny.plan -o nopublic --public $ins

# ---- inspect ---------------------------------------------------------------

# says FILE TEXT: inspect tells what a file is.
says() {
    "$sotto" inspect "$1" >out.txt 2>err.txt
    if grep -q -e "$2" out.txt; then
        pass "inspect $1: $2"
    else
        fail "inspect $1: $2" "$(cat out.txt err.txt)"
    fi
}
says tiny.plan '^kind *plan'
says tiny.plan 'INSECURE'
says client/secret.key '^kind *secret key'
says public/public.key '^kind *public key'
says images.ct '^kind *ciphertexts'
says images.ct '^marks *insecure'
says images.ct '^images *20 '
says tiny.onnx '^kind *ONNX model'
says test.idx '^shape *\[1,6,6\]'
says test.lab '^labels *20'
refuses 1 'no file that Sotto knows' "inspect something else" \
    "$sotto" inspect "$root/Makefile"
if [ -e client/eval.key ]; then
    says client/eval.key '^kind *evaluation keys'
fi

# ---- Left behind -----------------------------------------------------------

if find . -name '*.tmp' | grep -q .; then
    fail "no temporary files stay" "$(find . -name '*.tmp')"
else
    pass "no temporary files stay"
fi
finish
