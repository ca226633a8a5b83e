#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs to a temporary prefix through the Makefile's own door, and builds and runs the README's program against it
# as a user would, through pkg-config.
set -eu
cd "$(dirname "$0")/.."
prefix=$(mktemp -d)
trap 'rm -rf "$prefix"' EXIT
make install PREFIX="$prefix/usr"
export PKG_CONFIG_PATH=$prefix/usr/lib/pkgconfig:$prefix/usr/lib/$(uname -m)-linux-gnu/pkgconfig:$prefix/usr/lib64/pkgconfig
pkg-config --modversion heed
libraries=$(pkg-config --variable=libdir heed)
python3 tools/check_readme.py --print > "$prefix/readme.c"
# shellcheck disable=SC2046  # several flags
"${CC:-cc}" -std=c11 -Wall -Wextra -Werror "$prefix/readme.c" -o "$prefix/readme" $(pkg-config --cflags --libs heed) -lm
LD_LIBRARY_PATH=$libraries "$prefix/readme"
LD_LIBRARY_PATH=$libraries "$prefix/usr/bin/heed" --version
# Only what the public headers declare is visible in the library.
hidden=$(nm -D --defined-only "$libraries"/libheed.so | awk '{ print $3 }' | grep -v '^heed_' || true)
if [ -n "$hidden" ]; then
    echo "libheed.so exports what no public header declares: $hidden"
    exit 1
fi
# DESTDIR, as packagers use it: nothing outside the stage.
make install PREFIX=/usr DESTDIR="$prefix/stage"
test -e "$prefix/stage/usr/include/heed/heed.h"
grep -qx 'prefix=/usr' "$(find "$prefix/stage" -name heed.pc)"
