#!/bin/sh
# SPDX-License-Identifier: MIT
# Signals: runs stop soon, leave nothing half written, training goes on.
. "$(dirname "$0")/../support/apps.sh"

tiny 60000 || {
    fail "a tiny network" "training or planning failed"
    finish
}
ins=--insecure-parameters

# stops WHAT FILE COMMAND…: asks the command to stop once it writes FILE.
stops() {
    what=$1
    file=$2
    shift 2
    stop_when 'ls "$file".*.tmp' "$@"
    if [ $status -ne 1 ]; then
        fail "$what stops" "exit $status: $(cat err.txt)"
    elif ls "$file"* >/dev/null 2>&1; then
        fail "$what stops" "left $(ls "$file"*)"
    elif grep -q 'stopped\|cancel' err.txt; then
        pass "$what stops"
    else
        fail "$what stops" "$(cat err.txt)"
    fi
}

"$sotto" keygen tiny.plan -o client --quiet $ins 2>err.txt
stops "encrypt" part.ct "$sotto" encrypt tiny.plan --key client/secret.key \
    test.idx -o part.ct $ins
"$sotto" encrypt tiny.plan --key client/secret.key test.idx -o images.ct \
    --quiet $ins 2>err.txt
stops "infer" scores.ct "$sotto" infer tiny.plan tiny.onnx images.ct \
    -o scores.ct --keys client/eval.key $ins

# ---- Training --------------------------------------------------------------

images train.idx 5000 6
labels train.lab 5000
cat >long.conf <<EOF
name = long
seed = 5
train_images = train.idx
train_labels = train.lab
epochs = 12
batch = 32
optimiser = sgd momentum=0.9
learning_rate = 0.01
checkpoint = long.state
layer = conv maps=8 kernel=3
layer = square
layer = flatten
layer = dense units=10
EOF
sed 's/long.state/whole.state/' long.conf >whole.conf
check "an undisturbed run" "$sotto" train whole.conf -o whole.onnx
refuses 1 'no checkpoint' "nothing to resume from" \
    "$sotto" train long.conf -o long.onnx --resume

stop_when "grep '^epoch *2/' out.txt" "$sotto" train long.conf -o long.onnx
if [ $status -eq 1 ] && [ ! -e long.onnx ] && [ -s long.state ]; then
    pass "training stops with a checkpoint"
else
    fail "training stops with a checkpoint" \
        "exit $status: $(ls) $(cat out.txt err.txt)"
fi
check "it goes on" "$sotto" train long.conf -o long.onnx --resume
check "… to the same model" cmp long.onnx whole.onnx
check "--restart begins anew" "$sotto" train long.conf -o again.onnx --restart
check "… with the same result" cmp again.onnx whole.onnx
refuses 2 'expected one' "--resume and --restart" \
    "$sotto" train long.conf -o x.onnx --resume --restart
sed 's/learning_rate = 0.01/learning_rate = 0.02/' long.conf >other.conf
refuses 1 'checkpoint\|long.state' "another configuration's checkpoint" \
    "$sotto" train other.conf -o x.onnx --resume
refuses 1 'other.conf:2' "a wrong configuration names its line" \
    sh -c "printf 'name = x\nlayr = y\n' >other.conf;
    '$sotto' train other.conf -o x.onnx"
finish
