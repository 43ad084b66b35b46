#!/bin/sh
# SPDX-License-Identifier: MIT
# make install puts everything in place: a program is built against the
# installed tree with nothing but pkg-config's flags, and runs. Prints TAP.
set -u
cd "$(dirname "$0")/../.." || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
number=0

check() { # NAME COMMAND…
    name=$1
    shift
    number=$((number + 1))
    if "$@" >"$work/log" 2>&1; then
        echo "ok $number - $name"
    else
        echo "not ok $number - $name"
        sed 's/^/# /' "$work/log"
    fi
}

skip_rest() { # REASON
    number=$((number + 1))
    echo "ok $number - a program built with pkg-config's flags # SKIP $1"
    exit 0
}

installed() {
    for file in bin/sotto lib/libsotto.a lib/pkgconfig/sotto.pc \
        include/sotto/sotto.h include/sotto/base/status.h; do
        [ -f "$root/usr/$file" ] || { echo "no $file"; return 1; }
    done
    # Nothing internal, and nothing outside the three folders.
    find "$root" -name '*_internal.h' | grep . && return 1
    [ "$(ls "$root/usr")" = "bin
include
lib" ]
}

every_public_header_is_there() {
    for header in base/*.h ntt/*.h rlwe/*.h ckks/*.h nn/*.h nn/*/*.h; do
        case $header in
        *\** | *_internal.h) continue ;;
        esac
        cmp "$header" "$root/usr/include/sotto/$header" || return 1
        grep -qx "#include \"$header\"" "$root/usr/include/sotto/sotto.h" ||
            return 1
    done
}

# Built elsewhere, so that no header of the source tree is found by chance.
program() {
    cp tests/apps/install_program.c "$work" && cd "$work" || return 1
    PKG_CONFIG_LIBDIR=$root/usr/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$root \
        pkg-config --cflags --libs sotto >flags || return 1
    cat flags
    # shellcheck disable=SC2046
    ${CC:-cc} -std=c11 -o program install_program.c $(cat flags) &&
        [ "$(./program)" = "2.25 6.25 0.0625" ]
}

root=$work/root
# B, CC and SAN come along in MAKEFLAGS when make test runs this.
check "make install" "${MAKE:-make}" -s install PREFIX=/usr DESTDIR="$root"
check "files are in place" installed
check "every public header is installed and included" \
    every_public_header_is_there
[ -z "${SOTTO_SAN:-}" ] || skip_rest "built with $SOTTO_SAN"
command -v pkg-config >/dev/null || skip_rest "pkg-config is missing"
check "a program built with pkg-config's flags" program
