#!/bin/sh
# SPDX-License-Identifier: MIT
# Makes sure that CMocka is there before the first test is compiled; as root,
# or where sudo asks no password, a missing one is installed (Debian, Ubuntu).
set -u

present() {
    dir=$(mktemp -d) || exit 1
    printf '%s\n' '#include <stdarg.h>' '#include <stddef.h>' \
        '#include <setjmp.h>' '#include <stdint.h>' '#include <cmocka.h>' \
        'int main(void) { return (int)(sizeof(struct CMUnitTest) == 0); }' \
        >"$dir/t.c"
    # CC may hold flags, so that another prefix can be given: unquoted.
    # shellcheck disable=SC2086
    ${CC:-gcc} -o "$dir/t" "$dir/t.c" -lcmocka >/dev/null 2>&1
    found=$?
    rm -rf "$dir"
    return "$found"
}

install_with() { # command prefix, may be empty
    echo "CMocka is missing; installing libcmocka-dev"
    "$@" apt-get update -q >/dev/null &&
        "$@" env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -q --no-install-recommends libcmocka-dev \
            >/dev/null
}

present && exit 0
if command -v apt-get >/dev/null 2>&1; then
    if [ "$(id -u)" -eq 0 ]; then
        install_with env
    elif sudo -n true 2>/dev/null; then
        install_with sudo -n
    fi
fi
present && exit 0
echo "The tests need CMocka. Install it with
    sudo apt-get update && sudo apt-get install -y libcmocka-dev
or point the build to it: make test CFLAGS=-I/where LDFLAGS=-L/where" >&2
exit 1
