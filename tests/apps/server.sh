#!/bin/sh
# SPDX-License-Identifier: MIT
# The server as another user, who cannot read what the client has.
. "$(dirname "$0")/../support/apps.sh"

tiny 20 || {
    fail "a tiny network" "training or planning failed"
    finish
}
ins=--insecure-parameters
cp tiny.plan batch.plan
mkdir -m 755 client
{
    "$sotto" plan tiny.onnx -o single.plan --images 20 --packing single \
        --log2-n 10 $ins
    for packing in batch single; do
        "$sotto" keygen $packing.plan -o client/$packing $ins &&
            "$sotto" encrypt $packing.plan --key client/$packing/secret.key \
                test.idx -o $packing.ct $ins
    done
} >log.txt 2>&1 || fail "setup" "$(cat log.txt)"
"$sotto" eval tiny.onnx test.idx --csv plain.csv --quiet

if ! command -v setpriv >/dev/null 2>&1; then
    skip "the server as another user" "setpriv is missing"
    finish
fi
if [ "$(id -u)" -ne 0 ]; then
    skip "the server as another user" "only root can become another"
    finish
fi
as_nobody() {
    setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
}
# The program and the folders around may be out of another user's reach.
chmod 711 "$work"
mkdir server bin
cp "$sotto" bin/sotto
cp batch.plan single.plan tiny.onnx batch.ct single.ct server
for packing in batch single; do
    [ ! -e client/$packing/eval.key ] ||
        cp client/$packing/eval.key server/$packing.key
done
chmod 755 bin bin/sotto
chown -R 65534 server
if ! as_nobody "$work/bin/sotto" --version >/dev/null 2>&1; then
    skip "the server as another user" "$work cannot be reached by another"
    finish
fi
server=$work/bin/sotto

# serves PACKING: the server's step, with what it cannot do.
serves() {
    refuses 1 'Permission denied' "$1: the server cannot read the secret key" \
        as_nobody "$server" encrypt server/$1.plan \
        --key client/$1/secret.key test.idx -o server/no.ct $ins
    as_nobody test -r client/$1/secret.key &&
        fail "… nor can anything else of it" ||
        pass "… nor can anything else of it"
    check "it evaluates all the same" as_nobody "$server" infer \
        server/$1.plan server/tiny.onnx server/$1.ct -o server/$1.out \
        --keys server/$1.key $ins
    refuses 1 'Permission denied' "it cannot write into the client's folder" \
        as_nobody "$server" infer server/$1.plan server/tiny.onnx \
        server/$1.ct -o client/$1/scores.ct --keys server/$1.key $ins
    check "the client decrypts" "$sotto" decrypt $1.plan \
        --key client/$1/secret.key server/$1.out --csv scores.csv $ins
    # Without index and label; the bound only catches what is altogether wrong.
    paste -d, plain.csv scores.csv | awk -F, '
        NR > 1 {
            for (i = 3; i <= 12; i++) {
                e = $i - $(12 + i)
                if (e > 0.1 || e < -0.1) bad++
            }
        }
        END { exit NR != 21 || bad > 0 }'
    if [ $? -eq 0 ]; then
        pass "the scores are those of the plain network"
    else
        fail "the scores are those of the plain network" "$(cat scores.csv)"
    fi
}
serves batch
serves single
finish
