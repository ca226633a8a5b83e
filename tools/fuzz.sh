#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every parser against inputs that libFuzzer makes up, under the address and undefined behaviour sanitizers. A file
# tests/fuzz/<name>.c is a target. Two (FUZZ_JOBS) run at a time, FUZZ_SECONDS (60) each; what they learn is kept in
# build-fuzz/corpus, and an input that breaks a promise in build-fuzz/crashes, with the command that shows it again.
#   tools/fuzz.sh                            all targets
#   FUZZ=json FUZZ_SECONDS=3600 tools/fuzz.sh    one, for an hour
# Exit status: 0, 1 when a target failed, 77 when this machine's clang has no libFuzzer (said in one line).
set -u
cd "$(dirname "$0")/.." || exit 1
seconds=${FUZZ_SECONDS:-60} jobs=${FUZZ_JOBS:-2} folder=build-fuzz
names=()
for source in tests/fuzz/*.c; do names+=("$(basename "$source" .c)"); done
if [ -n "${FUZZ:-}" ]; then
    [ -e "tests/fuzz/$FUZZ.c" ] || { echo "tools/fuzz.sh: FUZZ is '$FUZZ'; it must be one of: ${names[*]}" >&2; exit 64; }
    names=("$FUZZ")
fi

probe=$(mktemp)
trap 'rm -rf "$probe"' EXIT
if ! printf 'int LLVMFuzzerTestOneInput(const char *d, unsigned long n) { return 0; }\n' |
    clang -fsanitize=fuzzer,address,undefined -x c - -o "$probe" > /dev/null 2>&1; then
    echo "clang's libFuzzer is not on this machine"
    exit 77
fi
mkdir -p $folder/crashes
generator=()
[ -e $folder/CMakeCache.txt ] || { command -v ninja > /dev/null && generator=(-G Ninja); }
if ! { cmake -S . -B $folder "${generator[@]}" -DCMAKE_C_COMPILER=clang -DHEED_ONEDNN=OFF -DCMAKE_BUILD_TYPE=Debug \
    "-DCMAKE_C_FLAGS_DEBUG=-O1 -gline-tables-only" -DHEED_SANITIZE=address,undefined,fuzzer-no-link &&
    cmake --build $folder --target fuzz -j "$(nproc)"; } > $folder/build.log 2>&1; then
    tail -40 $folder/build.log
    exit 1
fi
python3 tests/fuzz/seeds.py $folder/seeds || exit 1

# One target. No input above 4 KiB may need a single block of more than 64 MB, or more than 20 seconds (quadratic time shows).
fuzz_one() {
    local name=$1 log=$folder/$1.log place status dictionary=()
    place=$(mktemp -d "$([ -w /dev/shm ] && echo /dev/shm || echo "${TMPDIR:-/tmp}")/heed-fuzz-XXXXXX")
    mkdir -p "$folder/corpus/$name"
    [ ! -e "$folder/seeds/$name.dict" ] || dictionary=("-dict=$folder/seeds/$name.dict")
    TMPDIR=$place ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1 OMP_NUM_THREADS=1 "$folder/fuzz_$name" \
        -max_total_time="$seconds" -max_len=4096 -timeout=20 -rss_limit_mb=1024 -malloc_limit_mb=64 -print_final_stats=1 \
        -artifact_prefix="$folder/crashes/$name-" "${dictionary[@]}" "$folder/corpus/$name" "$folder/seeds/$name" > "$log" 2>&1
    status=$?
    rm -rf "$place"
    if [ $status = 0 ]; then
        echo "ok $name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs," \
            "$(grep -oE 'cov: [0-9]+' "$log" | tail -1 | cut -d' ' -f2) edges covered"
    else
        echo "FAILED $name, in $log:"
        grep -vE '^#|^\s*$|^stat::|^NEW_FUNC' "$log" | tail -40 | sed 's/^/    | /'
        echo "    again: $folder/fuzz_$name $(sed -n 's/.*Test unit written to //p' "$log" | tail -1)"
    fi
    return $status
}
export -f fuzz_one
export folder seconds
printf '%s\n' "${names[@]}" | xargs -P "$jobs" -I{} bash -c 'fuzz_one {}' || exit 1
