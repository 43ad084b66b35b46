#!/bin/sh
# SPDX-License-Identifier: MIT
# Models that Sotto writes give the same scores in ONNX Runtime.
#
#   tests/interop/run.sh EXPORT BUILD-FOLDER   (from the top folder)
#
# The other way round, models of another making (those of the fuzzing corpus)
# give the same scores in Sotto.
#
# EXPORT writes models, images and Sotto's scores into BUILD-FOLDER/interop;
# compare.mjs runs them in onnxruntime-web, which works in node without a
# browser. It is installed beside the script, into a folder that git ignores.
set -eu

export=$1
out=$2/interop
here=tests/interop

tests/need.sh node nodejs
tests/need.sh npm npm
if [ ! -d $here/node_modules/onnxruntime-web ]; then
    echo "fetching onnxruntime-web (about 100 MB) into $here/node_modules"
    (cd $here && npm install --ignore-scripts --no-audit --no-fund \
        --no-package-lock --loglevel=error)
fi
rm -rf "$out"
mkdir -p "$out"
mkdir "$out/foreign"
for file in tests/fuzz/corpus/onnx/*; do
    cp "$file" "$out/foreign/${file##*/}.onnx"
done
"$export" "$out" data/mnist/t10k-images-idx3-ubyte models/*.onnx \
    "$out"/foreign/*.onnx
node $here/compare.mjs "$out"
