#!/bin/sh
# SPDX-License-Identifier: MIT
# sotto plan: choices beside the habit, costs committed or measured, and a plan
# that needs a switching key from keygen to decrypt.
. "$(dirname "$0")/../support/apps.sh"
ins=--insecure-parameters
tiny || exit 1

# lists WHAT FILE PATTERN: passes when the file has a line of the pattern.
lists() {
    if grep -q -e "$3" "$2"; then
        pass "$1"
    else
        fail "$1" "no line '$3' in: $(cat "$2")"
    fi
}

check "plan" "$sotto" plan tiny.onnx -o one.plan --images 20 --log2-n 12 \
    --explain --json plan.json
cp out.txt shown.txt
lists "… shows what was chosen" shown.txt '^  chosen '
lists "… and what the habit would take" shown.txt '^  habit '
lists "… and its costs" shown.txt 'butterfly '
lists "… in JSON" plan.json '"plain_chain"'
lists "… the table is the committed one" one.plan '^costs committed$'
check "plan again" "$sotto" plan tiny.onnx -o two.plan --images 20 --log2-n 12
check "… gives the same" cmp one.plan two.plan

check "plan --measure" "$sotto" plan tiny.onnx -o measured.plan --images 20 \
    --log2-n 12 --measure
lists "… records the table" measured.plan '^costs measured 13 0x'
check "… and can be read" "$sotto" inspect measured.plan

# The habit relinearises.
check "plan --plain-chain" "$sotto" plan tiny.onnx -o tiny.plan --plain-chain \
    --images 20 --log2-n 10 $ins
lists "… needs a key" tiny.plan '^key power 2 '
check "keygen" "$sotto" keygen tiny.plan -o client $ins
check "encrypt" "$sotto" encrypt tiny.plan --key client/secret.key test.idx \
    -o images.ct $ins
refuses 2 'switching key' "infer without it" "$sotto" infer tiny.plan \
    tiny.onnx images.ct -o scores.ct $ins
check "infer" "$sotto" infer tiny.plan tiny.onnx images.ct -o scores.ct \
    --keys client/eval.key --json infer.json $ins
cp out.txt shown.txt
lists "… shows predicted and measured times" shown.txt \
    '^  all  *predicted .* took '
lists "… in JSON" infer.json '"predicted_seconds"'
check "decrypt" "$sotto" decrypt tiny.plan --key client/secret.key scores.ct \
    --csv scores.csv $ins
if [ "$(wc -l <scores.csv)" -eq 21 ]; then
    pass "… 20 images and a title"
else
    fail "… 20 images and a title" "$(cat scores.csv)"
fi

finish
