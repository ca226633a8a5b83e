#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Everything heed can prove about itself, in one go (`make test`). The last line sums it up; a failure names the command
# that runs it again; what could not be tested on this machine is named as skipped, never counted as passed.
#   tools/test.sh            all steps
#   tools/test.sh STEP...    only these: checks release clang asan tsan aarch64 install python planted fuzz bench
# HEED_FULL=1 (make test-full): interruptions and failing calls at every moment instead of a drawn few, some minutes more; and
# the whole planted-defect suite (step planted), about half an hour.
set -u
cd "$(dirname "$0")/.." || exit 1
unset MAKEFLAGS MFLAGS MAKELEVEL HEED_CPU HEED_BUILD
export PYTHONDONTWRITEBYTECODE=1
# Waiting threads give their core back at once (gcc's OpenMP, LLVM's): beside neighbours, spinning costs far more than it saves.
export GOMP_SPINCOUNT=${GOMP_SPINCOUNT:-0} KMP_BLOCKTIME=${KMP_BLOCKTIME:-0}
jobs=$(nproc 2> /dev/null || echo 2)
steps=("$@")
[ $# -gt 0 ] || steps=(checks release clang asan tsan aarch64 install python ${HEED_FULL:+planted} fuzz bench)
logs=build-test-logs
mkdir -p "$logs"
generator=(-G "Unix Makefiles")
command -v ninja > /dev/null && generator=(-G Ninja)

passed=0 failed=0 skipped=0
failures=()
started=$SECONDS

fail() { # NAME "command that runs it again" [LOG]
    failed=$((failed + 1))
    failures+=("$1"$'\n'"      again: $2")
    echo "  FAILED $1"
    echo "      again: $2"
    [ $# -lt 3 ] || tail -n 60 "$3" | sed 's/^/      | /'
}
skip() { # "name: reason"
    skipped=$((skipped + 1))
    echo "  skipped: $1"
}
step() { # NAME "command that runs it again" command...: one test, its output kept in a log
    local name=$1 again=$2 begin=$SECONDS
    shift 2
    if timeout 1200 "$@" > "$logs/$name.log" 2>&1 < /dev/null; then
        passed=$((passed + 1))
        echo "  ok $name ($((SECONDS - begin)) s)"
    else
        fail "$name" "$again" "$logs/$name.log"
        return 1
    fi
}
# configure_and_build NAME FOLDER CMake arguments...: one test. Sanitized code makes gcc warn of what cannot happen, so that
# only the plain builds take warnings for errors.
configure_and_build() {
    local name=$1 folder=$2 keep=()
    shift 2
    [ -e "$folder/CMakeCache.txt" ] || keep=("${generator[@]}")
    build_it() { cmake -S . -B "$folder" "${keep[@]}" "$@" && cmake --build "$folder" -j "$jobs"; }
    local begin=$SECONDS
    if build_it "$@" > "$logs/build-$name.log" 2>&1 < /dev/null; then
        passed=$((passed + 1))
        echo "  ok build-$name ($((SECONDS - begin)) s)"
    else
        fail "build-$name" "cmake -S . -B $folder $* && cmake --build $folder" "$logs/build-$name.log"
        return 1
    fi
}
# ctests FOLDER [ctest arguments]: counts each ctest, and every named skip inside of one.
ctests() {
    local folder=$1 begin=$SECONDS name summary bad total log
    shift
    log=$logs/ctest-$folder.log
    ctest --test-dir "$folder" --output-on-failure -j "$jobs" "$@" > "$log" 2>&1 < /dev/null
    summary=$(grep -E '^[0-9]+% tests passed' "$log" | tail -1)
    if [ -z "$summary" ]; then
        fail "ctest $folder" "ctest --test-dir $folder $*" "$log"
        return 1
    fi
    bad=$(sed -nE 's/.* ([0-9]+) tests? failed.*/\1/p' <<< "$summary")    # newer versions leave it out when it is 0
    bad=${bad:-0}
    total=$(sed -E 's/.*out of ([0-9]+).*/\1/' <<< "$summary")
    passed=$((passed + total - bad))
    echo "  ok $((total - bad)) of $total tests in $folder ($((SECONDS - begin)) s)"
    while read -r name; do
        fail "$folder: $name" "ctest --test-dir $folder -R '^$name\$' --output-on-failure"
    done < <(sed -nE 's/^[[:space:]]+[0-9]+ - (\S+) \(.*/\1/p' "$log")
    [ "$bad" = 0 ] || grep -v -E '^ *[0-9]+/[0-9]+ Test +#.* Passed ' "$log" | tail -n 150 | sed 's/^/      | /'
    while read -r name; do skip "$folder: $name"; done < <(
        sed -n 's/^skipped: //p' "$folder/Testing/Temporary/LastTest.log" | sort -u)
}

checks() {
    step layers tools/check_layers.py python3 tools/check_layers.py
    step style tools/check_style.py python3 tools/check_style.py
    step ignored tools/check_ignored.py python3 tools/check_ignored.py
    step readme tools/check_readme.py python3 tools/check_readme.py
}

release() {
    configure_and_build release build -DHEED_WERROR=ON -DCMAKE_BUILD_TYPE=Release || return
    ctests build
    step isa-leak "tools/check_isa_leak.sh build" tools/check_isa_leak.sh build
}

clang() {
    if ! command -v clang > /dev/null; then
        skip "clang: not on this machine"
        return
    fi
    configure_and_build clang build-clang -DHEED_WERROR=ON -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_COMPILER=clang || return
    ctests build-clang -R '^(impls|kernels|simd|grad)$'
}

asan() {
    configure_and_build asan build-asan -DHEED_WERROR=OFF -DCMAKE_BUILD_TYPE=Debug "-DCMAKE_C_FLAGS_DEBUG=-O1 -g" \
        -DHEED_SANITIZE=address,undefined || return
    ASAN_OPTIONS=detect_leaks=1 ctests build-asan -LE slow
}

tsan() { # OpenMP's runtime is opaque to it: only what runs on a caller's own pool of pthreads
    configure_and_build tsan build-tsan -DHEED_WERROR=OFF -DCMAKE_BUILD_TYPE=Debug "-DCMAKE_C_FLAGS_DEBUG=-O1 -g" \
        -DHEED_SANITIZE=thread -DHEED_PROGRAM=OFF || return
    ctests build-tsan -L pool
}

aarch64() {
    if [ "$(uname -m)" = aarch64 ]; then
        skip "aarch64: this machine is one, the other steps tested it"
        return
    fi
    if ! command -v qemu-aarch64 > /dev/null || ! command -v aarch64-linux-gnu-gcc > /dev/null; then
        skip "aarch64: qemu-aarch64 or aarch64-linux-gnu-gcc is not on this machine"
        return
    fi
    configure_and_build aarch64 build-aarch64 -DHEED_WERROR=ON -DCMAKE_BUILD_TYPE=Release -DHEED_PROGRAM=OFF \
        -DCMAKE_TOOLCHAIN_FILE=tools/aarch64.cmake || return
    ctests build-aarch64 -L smoke
}

install() { # the door itself, then the README's program through pkg-config, as a user would
    step install "tools/check_install.sh" tools/check_install.sh
}

python() {
    local begin=$SECONDS name summary log=$logs/python.log
    if ! tools/venv.sh > "$logs/venv.log" 2>&1; then
        tail -n 3 "$logs/venv.log" | sed 's/^/      | /'
        while read -r name; do skip "$name (its virtual environment could not be made: tools/venv.sh)"; done < <(
            grep -nE '^def test_' tests/python/test_*.py | sed -E 's/:[0-9]+:def (test_\w+).*/::\1/')
        return
    fi
    # Without the second one its tests skip by name.
    tools/venv.sh old > "$logs/venv-old.log" 2>&1 || tail -n 3 "$logs/venv-old.log" | sed 's/^/      | /'
    [ $((SECONDS - begin)) -lt 5 ] || echo "  virtual environments made ($((SECONDS - begin)) s)"
    begin=$SECONDS
    HEED_BUILD=build timeout 1800 .venv/bin/python -m pytest tests/python -q -p no:cacheprovider > "$log" 2>&1 < /dev/null
    summary=$(grep -E '^=* ?[0-9]+ (passed|failed|skipped|error).* in [0-9.]+s' "$log" | tail -1)
    if [ -z "$summary" ]; then
        fail "python" ".venv/bin/python -m pytest tests/python" "$log"
        return 1
    fi
    count() { grep -oE "[0-9]+ $1" <<< "$summary" | grep -oE '^[0-9]+' || echo 0; }
    passed=$((passed + $(count passed)))
    echo "  ok $(count passed) tests against PyTorch, transformers and others ($((SECONDS - begin)) s)"
    while read -r name; do fail "$name" ".venv/bin/python -m pytest '$name'"; done < <(
        sed -nE 's/^(FAILED|ERROR) (\S+).*/\2/p' "$log")
    ! grep -qE '^(FAILED|ERROR) ' "$log" || tail -n 120 "$log" | sed 's/^/      | /'
    while read -r name; do skip "$name"; done < <(sed -n 's/^skipped: //p' "$log")
}

planted() { # what docs/diagnosis.md has figures of; several steps, so that one that fails says where to go on
    local one kind count first
    for one in "planted 1000 0" "planted 1000 1000" "pairs 500 0" "theirs 1000 0" "foreign 104 0" \
        "clean 2500 0" "clean 2500 2500" "clean 2500 5000" "clean 2500 7500"; do
        read -r kind count first <<< "$one"
        local again=".venv/bin/python tests/python/planted_judge.py $kind $count --from $first"
        step "$kind-$first" "$again" env HEED_BUILD=build OPENBLAS_NUM_THREADS=1 $again \
            && sed 's/^/      /' "$logs/$kind-$first.log"
    done
}

fuzz() { # each target a test: 10 s of inputs, two at a time. Long runs: make fuzz
    local begin=$SECONDS log=$logs/fuzz.log status name
    FUZZ_SECONDS=${FUZZ_SECONDS:-10} tools/fuzz.sh > "$log" 2>&1 < /dev/null
    status=$?
    if [ $status = 77 ]; then
        for name in tests/fuzz/*.c; do skip "fuzz $(basename "$name" .c): $(tail -1 "$log")"; done
        return
    fi
    sed 's/^/  /' "$log"
    passed=$((passed + $(grep -c '^ok ' "$log")))
    while read -r name; do fail "fuzz $name" "FUZZ=$name tools/fuzz.sh"; done < <(sed -nE 's/^FAILED (\w+),.*/\1/p' "$log")
    [ $status = 0 ] || grep -q '^FAILED ' "$log" || fail fuzz "tools/fuzz.sh"
    echo "  fuzz targets ran ($((SECONDS - begin)) s)"
}

bench() {
    step bench-quick "build/heed bench --quick" build/heed bench --quick
}

for one in "${steps[@]}"; do
    case $one in
        checks | release | clang | asan | tsan | aarch64 | install | python | planted | fuzz | bench) ;;
        *) echo "tools/test.sh: no step is called '$one'" >&2; exit 64 ;;
    esac
    echo "$one"
    "$one"
done

echo
echo "$((SECONDS - started)) s; logs in $logs/"
if [ ${#failures[@]} -gt 0 ]; then
    echo "failed:"
    printf '  %s\n' "${failures[@]}"
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
