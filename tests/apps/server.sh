#!/bin/sh
# SPDX-License-Identifier: MIT
# The server as another user, who cannot read what the client has.
. "$(dirname "$0")/../support/apps.sh"

tiny 20 || {
    fail "a tiny network" "training or planning failed"
    finish
}
ins=--insecure-parameters
{
    "$sotto" keygen tiny.plan -o client $ins &&
        "$sotto" encrypt tiny.plan --key client/secret.key test.idx \
            -o images.ct $ins
} >log.txt 2>&1 || fail "setup" "$(cat log.txt)"

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
cp tiny.plan tiny.onnx images.ct server
[ ! -e client/eval.key ] || cp client/eval.key server
chmod 755 bin bin/sotto
chown -R 65534 server
if ! as_nobody "$work/bin/sotto" --version >/dev/null 2>&1; then
    skip "the server as another user" "$work cannot be reached by another"
    finish
fi
server=$work/bin/sotto

refuses 1 'Permission denied' "the server cannot read the secret key" \
    as_nobody "$server" encrypt server/tiny.plan --key client/secret.key \
    test.idx -o server/no.ct $ins
as_nobody test -r client/secret.key && fail "… nor can anything else of it" ||
    pass "… nor can anything else of it"
check "it evaluates all the same" as_nobody "$server" infer server/tiny.plan \
    server/tiny.onnx server/images.ct -o server/scores.ct \
    --keys server/eval.key $ins
refuses 1 'Permission denied' "it cannot write into the client's folder" \
    as_nobody "$server" infer server/tiny.plan server/tiny.onnx \
    server/images.ct -o client/scores.ct --keys server/eval.key $ins
check "the client decrypts" "$sotto" decrypt tiny.plan \
    --key client/secret.key server/scores.ct --csv scores.csv $ins
"$sotto" eval tiny.onnx test.idx --csv plain.csv --quiet
cut -d, -f1,2 plain.csv >want.csv
cut -d, -f1,2 scores.csv >have.csv
# Labels of such a tiny network may differ where two scores are close.
same=$(paste -d, want.csv have.csv | awk -F, '$2 == $4' | grep -c '')
if [ "$same" -ge 19 ]; then
    pass "the labels are those of the plain network"
else
    fail "the labels are those of the plain network" "$same of 21 lines"
fi
finish
