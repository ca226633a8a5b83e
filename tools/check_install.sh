#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs to a temporary prefix through the Makefile's own door, and builds and runs the README's program against it
# as a user would, through pkg-config; then examples/ as a CMake project of its own, after the whole tree has moved.
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
# The manual has a page for each verb, and each shell its completion, where it looks for them.
share=$prefix/usr/share
for page in heed heed-train heed-runs heed-runs-diff; do test -s "$share/man/man1/$page.1"; done
if command -v man > /dev/null && man -l "$share/man/man1/heed.1" > /dev/null 2>&1; then
    MANPATH=$share/man man heed-train > "$prefix/train.txt"
    grep -q -e '--learning_rate' "$prefix/train.txt"
fi
bash -c "source '$share/bash-completion/completions/heed'; complete -p heed"
test -s "$share/zsh/site-functions/_heed"
test -s "$share/fish/vendor_completions.d/heed.fish"
# Only what the public headers declare is visible in the library.
hidden=$(nm -D --defined-only "$libraries"/libheed.so | awk '{ print $3 }' | grep -v '^heed_' || true)
if [ -n "$hidden" ]; then
    echo "libheed.so exports what no public header declares: $hidden"
    exit 1
fi
# find_package(heed), from where nobody installed it: the package must be relocatable, and no other minor version will do.
mv "$prefix/usr" "$prefix/moved"
cmake -S examples -B "$prefix/examples" \
    -DCMAKE_PREFIX_PATH="$prefix/moved" -DCMAKE_C_FLAGS="-Wall -Wextra -Wno-unused-parameter -Werror"
grep -q "^heed_DIR:PATH=$prefix/moved/" "$prefix/examples/CMakeCache.txt"
cmake --build "$prefix/examples"
ctest --test-dir "$prefix/examples" --output-on-failure --no-tests=error
mkdir "$prefix/other"
printf 'cmake_minimum_required(VERSION 3.21)\nproject(other LANGUAGES C)\nfind_package(heed 0.99 REQUIRED)\n' \
    > "$prefix/other/CMakeLists.txt"
if cmake -S "$prefix/other" -B "$prefix/other/out" -DCMAKE_PREFIX_PATH="$prefix/moved" > "$prefix/other/log" 2>&1; then
    echo "find_package(heed 0.99) must not accept this version"
    exit 1
fi
grep -q '"0.99"' "$prefix/other/log"
# DESTDIR, as packagers use it: nothing outside the stage.
make install PREFIX=/usr DESTDIR="$prefix/stage"
test -e "$prefix/stage/usr/include/heed/heed.h"
grep -qx 'prefix=/usr' "$(find "$prefix/stage" -name heed.pc)"
