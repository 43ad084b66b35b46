#!/bin/sh
# SPDX-License-Identifier: MIT
# The stage programs of the ML-inference benchmark, driven as its harness does:
# the same programs, arguments, folders and files, without its Python. Prints
# TAP.
set -u
cd "$(dirname "$0")/../.." || exit 1
here=$(pwd)
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
number=0

report() { # NAME STATUS
    number=$((number + 1))
    if [ "$2" -eq 0 ]; then
        echo "ok $number - $1"
    else
        echo "not ok $number - $1"
        sed 's/^/# /' "$work/log"
    fi
}

# The first COUNT test images as the harness prints them, and their labels.
inputs() { # COUNT FOLDER
    mkdir -p "$2"
    od -A n -v -t u1 -w784 -j 16 -N $((784 * $1)) \
        data/mnist/t10k-images-idx3-ubyte |
        awk '{ for (i = 1; i <= 784; i++)
                   printf "%.6f%s", $i / 255, i < 784 ? " " : "\n" }' \
            >"$2/test_pixels.txt"
    od -A n -v -t u1 -w1 -j 8 -N "$1" data/mnist/t10k-labels-idx1-ubyte |
        awk '{ print $1 }' >"$2/test_labels.txt"
}

# Steps 2 to 9 of the harness, run in the root of its tree.
harness() { # BUILD SIZE NAME
    rm -rf "io/$3"
    mkdir -p "io/$3"
    "$1/client_key_generation" "$2" &&
        "$1/server_preprocess_model" &&
        "$1/client_preprocess_input" "$2" &&
        "$1/client_encode_encrypt_input" "$2" &&
        "$1/server_encrypted_compute" "$2" &&
        "$1/client_decrypt_decode" "$2" &&
        "$1/client_postprocess" "$2"
}

# Both files have COUNT lines, of which at least RIGHT are the same.
accurate() { # NAME COUNT RIGHT
    paste "datasets/$1/intermediate/test_labels.txt" \
        "io/$1/encrypted_model_predictions.txt" |
        awk -v n="$2" -v least="$3" '$1 == $2 { right++ }
            END { exit NR != n || right < least }'
}

measured() { # NAME: what the harness weighs, and reads as a report
    [ -s "io/$1/public_keys/plan" ] && [ -s "io/$1/ciphertexts_upload/images.ct" ] &&
        [ -s "io/$1/ciphertexts_download/scores.ct" ] &&
        grep -q '"total": ' "io/$1/server_reported_steps.json"
}

apps/suite/tree.sh "$work/tree" "$SOTTO" "$SOTTO_SUITE" \
    models/cryptonets-mnist.onnx >"$work/log" 2>&1
report "the tree is laid out" $?
inputs 1 "$work/tree/datasets/single/intermediate"
inputs 15 "$work/tree/datasets/small/intermediate"
cd "$work/tree" || exit 1

harness submissions/mnist/build 0 single >"$work/log" 2>&1
report "single, newer layout" $?
accurate single 1 1 >>"$work/log" 2>&1 && measured single
report "single: the label, sizes and report" $?
harness submission/build 1 small >"$work/log" 2>&1
report "small, older layout" $?
accurate small 15 14 >>"$work/log" 2>&1 && measured small
report "small: 15 labels, sizes and report" $?

# What is wrong is said, with status 1 or 2, and leaves nothing.
rm io/small/encrypted_model_predictions.txt io/small/intermediate/images.idx
sed -i '3s/^[^ ]* /0.5 /' datasets/small/intermediate/test_pixels.txt
submission/build/client_preprocess_input 1 >"$work/log" 2>&1
[ $? -eq 1 ] && grep -q 'line 3, pixel 0 is 0.5' "$work/log" &&
    [ ! -e io/small/intermediate/images.idx ]
report "a pixel between two grey levels is refused" $?
submission/build/client_preprocess_input 4 >"$work/log" 2>&1
[ $? -eq 2 ]
report "an unknown size is refused" $?
submission/build/stages 1 >"$work/log" 2>&1
[ $? -eq 2 ]
report "an unknown stage is refused" $?
cd "$here" || exit 1
echo "1..$number"
