#!/bin/sh
# SPDX-License-Identifier: MIT
# Whether a tool is there:  tests/need.sh TOOL DEBIAN-PACKAGE
# Says what is skipped without it, and fails.
command -v "$1" >/dev/null 2>&1 && exit 0
echo "skipped: $1 is missing (Debian: apt-get install $2)" >&2
exit 1
