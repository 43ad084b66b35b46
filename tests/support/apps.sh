# shellcheck shell=sh
# SPDX-License-Identifier: MIT
# For tests/apps/*.sh: a folder of their own, TAP results, a tiny network.
#
#   . "$(dirname "$0")/../support/apps.sh"
#
# Leaves: $sotto (the program), $root (Sotto's folder), $work (empty, removed at
# the end; the present folder).
set -u
LC_ALL=C
export LC_ALL
root=$(cd "$(dirname "$0")/../.." && pwd)
sotto=${SOTTO:-$root/sotto}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
cd "$work" || exit 1

number=0
failed=0

# pass WHAT, fail WHAT [WHY], skip WHAT WHY
pass() {
    number=$((number + 1))
    echo "ok $number - $1"
}
fail() {
    number=$((number + 1))
    failed=1
    echo "not ok $number - $1"
    [ $# -lt 2 ] || echo "$2" | sed 's/^/# /'
}
skip() {
    number=$((number + 1))
    echo "ok $number - $1 # SKIP $2"
}

# check WHAT COMMAND…: passes when the command succeeds.
check() {
    what=$1
    shift
    if "$@" >out.txt 2>err.txt; then
        pass "$what"
    else
        fail "$what" "exit $? of $*: $(cat err.txt)"
    fi
}

# refuses CODE TEXT WHAT COMMAND…: passes when the command ends with CODE and
# its message holds TEXT (a basic regular expression).
refuses() {
    code=$1
    message=$2
    what=$3
    shift 3
    "$@" >out.txt 2>err.txt
    status=$?
    if [ "$status" -ne "$code" ]; then
        fail "$what" "exit $status, expected $code, of $*: $(cat err.txt)"
    elif ! grep -q -e "$message" err.txt; then
        fail "$what" "expected a message with '$message': $(cat err.txt)"
    else
        pass "$what"
    fi
}

# stop_when CONDITION COMMAND…: starts the command, asks it to stop as soon as
# eval CONDITION holds (after ten seconds or at its own end all the same), and
# leaves $status.
stop_when() {
    condition=$1
    shift
    "$@" >out.txt 2>err.txt &
    pid=$!
    tries=0
    until eval "$condition" >/dev/null 2>&1 || [ $tries -eq 500 ] ||
        ! kill -0 $pid 2>/dev/null; do
        sleep 0.02
        tries=$((tries + 1))
    done
    kill -TERM $pid 2>/dev/null
    wait $pid
    status=$?
}

# finish: the plan line and the exit code.
finish() {
    echo "1..$number"
    exit "$failed"
}

# ---- Data ------------------------------------------------------------------

# be32 NUMBER: a big-endian number of 32 bits on standard output.
be32() {
    # The format is the octal text of the bytes.
    # shellcheck disable=SC2059
    printf "$(printf '\\%03o\\%03o\\%03o\\%03o' $(($1 / 16777216)) \
        $(($1 / 65536 % 256)) $(($1 / 256 % 256)) $(($1 % 256)))"
}

# images FILE COUNT SIDE [SKIP]: grey pictures of SIDE×SIDE, cut from real ones.
images() {
    {
        printf '\000\000\010\003'
        be32 "$2"
        be32 "$3"
        be32 "$3"
        tail -c +$((17 + 90 + ${4:-0})) \
            "$root/data/mnist/t10k-images-idx3-ubyte" |
            head -c $(($2 * $3 * $3))
    } >"$1"
}

# labels FILE COUNT: labels 0 … 9.
labels() {
    {
        printf '\000\000\010\001'
        be32 "$2"
        tail -c +9 "$root/data/mnist/t10k-labels-idx1-ubyte" | head -c "$2"
    } >"$1"
}

# model NAME LAYER…: trains NAME.onnx for a moment on train.idx, train.lab.
model() {
    name=$1
    shift
    {
        echo "name = $name"
        echo "seed = 1"
        echo "train_images = train.idx"
        echo "train_labels = train.lab"
        echo "epochs = 1"
        echo "batch = 32"
        echo "optimiser = sgd"
        echo "learning_rate = ${RATE:-0.01}"
        for layer; do
            echo "layer = $layer"
        done
    } >"$name.conf"
    "$sotto" train "$name.conf" -o "$name.onnx" --quiet --threads 1
}

# tiny: images of 6×6 (train.idx, train.lab, test.idx), tiny.onnx and tiny.plan,
# a network with one convolution, one square and one dense layer in a small
# insecure ring of 512 slots.
tiny() {
    images train.idx 200 6
    labels train.lab 200
    images test.idx "${1:-20}" 6 1000
    labels test.lab "${1:-20}"
    model tiny 'conv maps=2 kernel=3 stride=3' square flatten \
        'dense units=10' || return 1
    "$sotto" plan tiny.onnx -o tiny.plan --images "${1:-20}" --quiet \
        --packing batch --log2-n 10 --insecure-parameters 2>plan.txt || {
        cat plan.txt >&2
        return 1
    }
}

# Prints the modification-proof content of a file: its checksum.
sum() {
    cksum <"$1"
}
