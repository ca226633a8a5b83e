#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# check_isa_leak.sh BUILD: the object of each row of isa.def exports exactly its table, and no other object holds an
# instruction that needs more than the base of x86-64 (a ymm, zmm or tmm register): such a leak kills heed on older CPUs.
set -eu
cd "$(dirname "$0")/.."
build=${1:-build}
rows=0 failed=0
objects() { find "$build/CMakeFiles" -path "*$1*" -name '*.o'; }
while read -r isa; do
    object=$(objects "/heed_isa_$isa.dir/")
    [ -n "$object" ] || continue    # a row for another processor
    rows=$((rows + 1))
    exported=$(nm -g --defined-only "$object" | awk '{ print $3 }' | tr '\n' ' ')
    if [ "$exported" != "cpu_kernels_$isa " ]; then
        echo "$isa exports '$exported', allowed is only cpu_kernels_$isa"
        failed=1
    fi
done < <(sed -nE 's/^ISA\(([a-z0-9_]+),.*/\1/p' src/cpu/isa.def)
[ "$rows" -gt 0 ] || { echo "no object of any row of isa.def in $build"; exit 1; }
others=0
if [ "$(uname -m)" = x86_64 ]; then
    for object in $(objects /heed_objects.dir/) $(objects /heed_app.dir/) $(objects /heed_isa_scalar.dir/); do
        others=$((others + 1))
        if objdump -d --no-show-raw-insn "$object" | grep -m 3 -E '%(ymm|zmm|tmm|k[0-7])\b' > "$build/leak.txt"; then
            echo "${object#"$build"/} holds instructions of another instruction set:"
            cat "$build/leak.txt"
            failed=1
        fi
    done
    rm -f "$build/leak.txt"
    [ "$others" -gt 0 ] || { echo "no other object in $build"; exit 1; }
fi
echo "check_isa_leak: $rows tables, $others other objects"
exit $failed
