#!/bin/sh
# SPDX-License-Identifier: MIT
# Lays out the stage programs as the benchmark's harness expects them, in its
# newer layout (submissions/mnist) and its older one (submission).
#
#   apps/suite/tree.sh TREE SOTTO STAGES MODEL
#
# TREE is replaced. SOTTO and STAGES are the two programs, MODEL an ONNX file.
set -eu
tree=${1:?usage: tree.sh TREE SOTTO STAGES MODEL}
sotto=${2:?}
stages=${3:?}
model=${4:?}

home=$tree/submissions/mnist/build
rm -rf "$tree"
mkdir -p "$home" "$tree/scripts" "$tree/submission"
cp "$stages" "$home/stages"
cp "$model" "$home/model.onnx"
for size in single:1 small:15 medium:1000 large:10000; do
    "$sotto" plan "$model" --images "${size#*:}" --quiet \
        -o "$home/${size%:*}.plan"
done
for stage in client_key_generation server_preprocess_model \
    client_preprocess_input client_encode_encrypt_input \
    server_encrypted_compute client_decrypt_decode client_postprocess; do
    ln -s stages "$home/$stage"
done
cp -r "$home" "$tree/submission/build"

# What the harness runs before it measures.
for script in get_openfhe.sh build_task.sh; do
    printf '#!/bin/sh\n# Everything is built already (make suite).\nexit 0\n' \
        >"$tree/scripts/$script"
    chmod +x "$tree/scripts/$script"
done
