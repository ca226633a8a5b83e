#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing to build heed (tools/deps.sh build) or to run all its tests (tools/deps.sh test) from the
# packages of Debian or Ubuntu: names every package and why it is wanted, touches nothing that is there. Elsewhere, and
# without root or passwordless sudo, it prints the one command to run and exits with 1.
set -u
scope=${1:-build}
case $scope in build | test) ;; *)
    echo "tools/deps.sh: the argument is build or test, not '$scope'" >&2
    exit 64
    ;;
esac

compiler=$(command -v cc || command -v gcc || command -v clang || true)
have() { command -v "$1" > /dev/null 2>&1; }
header() { [ -n "$compiler" ] && echo "#include <$1>" | "$compiler" -E -x c - > /dev/null 2>&1; }
library() { have pkg-config && pkg-config --exists "$1"; }
openmp() { [ -n "$compiler" ] && echo 'int main(void) { return 0; }' | "$compiler" -fopenmp -x c - -o /dev/null 2> /dev/null; }
clang_fuzzer() {
    have clang && echo 'int LLVMFuzzerTestOneInput(const char *d, unsigned long n) { return 0; }' |
        clang -fsanitize=fuzzer,address -x c - -o /dev/null 2> /dev/null
}
clang_openmp() {
    have clang && echo 'int main(void) { return 0; }' | clang -fopenmp -x c - -o /dev/null 2> /dev/null
}
# Debian has it apart, by clang's version: libclang-rt-14-dev. It is there only once clang is.
clang_runtime() {
    local version
    version=$(clang -dumpversion 2> /dev/null ||
        apt-cache show clang 2> /dev/null | sed -n 's/^Depends:.*clang-\([0-9]*\).*/\1/p' | head -1)
    echo "libclang-rt-${version%%.*}-dev"
}
modern_cmake() {
    local version
    version=$(cmake --version 2> /dev/null | sed -n 's/^cmake version \([0-9.]*\).*/\1/p')
    [ -n "$version" ] && [ "$(printf '%s\n' 3.21 "$version" | sort -V | head -1)" = 3.21 ]
}

native=$(uname -m)
missing=() optional=()
# want LEVEL PACKAGE "why" probe...: notes PACKAGE when the probe fails. LEVEL optional: heed builds without it.
want() {
    local level=$1 package=$2 why=$3
    shift 3
    "$@" && return
    if [ ${#missing[@]} -eq 0 ] && [ ${#optional[@]} -eq 0 ]; then
        echo "Missing on this machine:"
    fi
    printf '  %-28s %s\n' "$package" "$why"
    if [ "$level" = optional ]; then optional+=("$package"); else missing+=("$package"); fi
}

want needed gcc "the C compiler (clang does as well)" test -n "$compiler"
want needed libc6-dev "the C library's headers" header stdio.h
want needed make "runs the Makefile's doors, and the build where Ninja is absent" have make
want needed cmake "the build system (3.21 or later)" have cmake
want needed ninja-build "builds in parallel, says less" have ninja
want needed pkg-config "finds libraries" have pkg-config
want needed libpcre2-dev "regular expressions of the GPT-2 tokenizer" library libpcre2-8
want needed libjansson-dev "reads and writes JSON" library jansson
want needed zlib1g-dev "checksums of a checkpoint's files; NumPy's .npz" library zlib
want optional libdnnl-dev "oneDNN: faster linear layers in the trainer" header oneapi/dnnl/dnnl.h
if [ -n "$compiler" ] && ! openmp; then
    want needed libomp-dev "OpenMP, the threads of the library" false
fi
if [ "$scope" = test ]; then
    want needed g++ "checks that the public header is valid C++" eval 'have c++ || have g++ || have clang++'
    want needed git "lists the files that the style checks read" have git
    want needed python3 "runs the checks and the tests against PyTorch" have python3
    want needed python3-venv "the tests' virtual environment" python3 -c 'import ensurepip, venv'
    want needed binutils "nm and objdump: no instruction leaks out of its kernel" have objdump
    want needed clang "the second compiler that must build without warnings" have clang
    want needed libomp-dev "OpenMP for clang" clang_openmp
    want optional "$(clang_runtime)" "libFuzzer: inputs made up against every parser" clang_fuzzer
    want optional zsh "its completion of heed's command lines" have zsh
    want optional fish "its completion of heed's command lines" have fish
    want optional mandoc "a second reader of the manual's pages" have mandoc
    want optional chromium "opens the pages that heed writes" eval 'have chromium || have chromium-browser || have google-chrome'
    if [ "$native" = x86_64 ]; then
        want needed qemu-user "runs the aarch64 smoke test" have qemu-aarch64
        want needed gcc-aarch64-linux-gnu "compiles the aarch64 smoke test" have aarch64-linux-gnu-gcc
        want needed libc6-dev-arm64-cross "the C library of the aarch64 smoke test" test -e /usr/aarch64-linux-gnu/include/stdio.h
    fi
fi

old_cmake() {
    have cmake && ! modern_cmake || return 1
    echo "heed needs cmake 3.21 or later; this machine has $(cmake --version | head -1 | cut -d' ' -f3)." >&2
    echo "Debian 12, Ubuntu 22.04 and later bring it; on an older system: python3 -m pip install cmake" >&2
}

if [ ${#missing[@]} -eq 0 ] && [ ${#optional[@]} -eq 0 ]; then
    old_cmake && exit 1
    exit 0
fi

# Debian's package names; without apt there is nothing this script could install.
if ! have apt-get; then
    echo "This is neither Debian nor Ubuntu: please install the above by this system's own package manager" >&2
    echo "(docs/dependencies.md has Homebrew's names), then run the command again." >&2
    [ ${#missing[@]} -eq 0 ]
    exit
fi
if [ "$(id -u)" = 0 ]; then
    as_root=()
elif have sudo && sudo -n true 2> /dev/null; then
    as_root=(sudo -n)
else
    if [ ${#missing[@]} -eq 0 ]; then
        echo "heed builds without it; to have it: sudo apt-get install ${optional[*]}"
        old_cmake && exit 1
        exit 0
    fi
    echo "Please run this one command (it needs root), then try again:" >&2
    everything=("${missing[@]}" "${optional[@]}")
    echo "    sudo apt-get update && sudo apt-get install --no-install-recommends ${everything[*]}" >&2
    exit 1
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -y -q "$@" >> "$log" 2>&1 < /dev/null; }
echo "Installing them from the distribution's packages..."
apt update || echo "  (the package lists could not be refreshed; trying with those at hand)"
if [ ${#missing[@]} -gt 0 ] && ! apt install --no-install-recommends "${missing[@]}"; then
    tail -20 "$log" >&2
    echo "The packages could not be installed; this is the command that failed:" >&2
    echo "    apt-get install --no-install-recommends ${missing[*]}" >&2
    exit 1
fi
for package in "${optional[@]}"; do
    apt install --no-install-recommends "$package" || echo "  $package cannot be had here; heed is built and tested without it."
done
old_cmake && exit 1
exit 0
