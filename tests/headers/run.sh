#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Each public header compiles alone, as strict C99 and as strict C++11: run.sh INCLUDE_FOLDER C_COMPILER
set -eu
include=$1
cc=$2
case $cc in
    *clang*) cxx=$(echo "$cc" | sed 's/clang/clang++/') ;;
    *) cxx=$(echo "$cc" | sed 's/gcc/g++/; s/cc$/c++/') ;;
esac
command -v "$cxx" > /dev/null || cxx=c++
tested=0
for header in "$include"/heed/*.h; do
    name=heed/$(basename "$header")
    echo "$name as C99 ($cc), as C++11 ($cxx)"
    echo "#include <$name>" | "$cc" -std=c99 -pedantic-errors -Wall -Wextra -Werror -I"$include" -fsyntax-only -x c -
    echo "#include <$name>" | "$cxx" -std=c++11 -pedantic-errors -Wall -Wextra -Werror -I"$include" -fsyntax-only -x c++ -
    tested=$((tested + 1))
done
test "$tested" -gt 0
