#!/bin/sh
# SPDX-License-Identifier: MIT
# Puts program, library, headers and sotto.pc in place (make install).
#
#   tools/install.sh WHERE PREFIX VERSION PROGRAM LIBRARY HEADER…
#
# WHERE is DESTDIR and PREFIX together; sotto.pc names PREFIX alone. Headers
# keep their paths below include/sotto; sotto/sotto.h includes them all.
set -eu
where=${1:?}
prefix=${2:?}
version=${3:?}
program=${4:?}
library=${5:?}
shift 5

install -d "$where/bin" "$where/lib/pkgconfig" "$where/include/sotto"
install -m 755 "$program" "$where/bin/sotto"
install -m 644 "$library" "$where/lib/libsotto.a"

umbrella=$where/include/sotto/sotto.h
{
    echo '/* SPDX-License-Identifier: MIT'
    echo ' * All of Sotto, from the ground up. */'
    echo '#ifndef SOTTO_SOTTO_H'
    echo '#define SOTTO_SOTTO_H'
    echo
    for floor in base ntt rlwe ckks nn; do
        for header; do
            case $header in
            "$floor"/*)
                install -d "$where/include/sotto/${header%/*}"
                install -m 644 "$header" "$where/include/sotto/$header"
                echo "#include \"$header\""
                ;;
            esac
        done
    done
    echo
    echo '#endif'
} >"$umbrella"

# Headers name each other by floor ("base/status.h"), hence the second -I.
cat >"$where/lib/pkgconfig/sotto.pc" <<END
prefix=$prefix
includedir=\${prefix}/include
libdir=\${prefix}/lib

Name: sotto
Description: Encrypted inference of convolutional networks
Version: $version
Cflags: -I\${includedir} -I\${includedir}/sotto -pthread
Libs: -L\${libdir} -lsotto -pthread -lm
END
