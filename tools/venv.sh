#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes .venv with what tests/python and bench/peers need, once; HEED_PIP_ARGS passes a user's own index to pip.
# Exits with 1 when the packages cannot be had: the caller then skips those tests by name.
#   tools/venv.sh        .venv
#   tools/venv.sh old    .venv-old: transformers 4 beside .venv's torch, and an older torch in a folder of its own (800 MB to
#                        fetch, 1.6 GB unpacked; HEED_OLD_TORCH=0 leaves it out)
set -u
cd "$(dirname "$0")/.." || exit 1
old_torch=2.4.1    # the last before 2.5; for Python 3.8 to 3.12

# shellcheck disable=SC2086  # several arguments in one variable
fetch() { "$1/bin/python" -m pip install --quiet --disable-pip-version-check ${HEED_PIP_ARGS:-} "${@:2}" < /dev/null; }

packages_of() { "$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }

# environment FOLDER REQUIREMENTS "what must import": makes or completes it.
environment() {
    local folder=$1 wanted
    wanted=$(cat "$2"; python3 --version)
    [ -x "$folder/bin/python" ] && [ "$(cat "$folder/heed-has" 2> /dev/null)" = "$wanted" ] && return 0
    echo "making $folder: $(grep -v '^#' "$2" | tr '\n' ' ')"
    # A folder of the same Python only gets what is new; any other is made anew.
    [ "$("$folder/bin/python" --version 2> /dev/null)" = "$(python3 --version)" ] || python3 -m venv --clear "$folder" || return 1
    rm -f "$(packages_of "$folder")/heed.pth"    # while pip looks, the packages of .venv are no part of the folder
    fetch "$folder" -r "$2" || return 1
    [ "$folder" = .venv ] || packages_of .venv > "$(packages_of "$folder")/heed.pth"
    "$folder/bin/python" -c "import $3" || return 1
    printf '%s\n' "$wanted" > "$folder/heed-has"
}

# PyPI's old torch for x86-64 asks for NVIDIA's libraries, which its CPU code never calls: stand-ins are enough.
old_torch() {
    local folder=.venv-old/torch-$old_torch
    [ -e "$folder/heed-has" ] && return 0
    rm -rf "$folder"
    echo "making $folder"
    fetch .venv-old --no-deps --target "$folder" "torch==$old_torch" || return 1
    [ "$(uname -m)" != x86_64 ] || python3 tools/cuda_stubs.py "$folder/torch/lib" || return 1
    PYTHONPATH=$folder .venv-old/bin/python -c 'import torch' || return 1
    touch "$folder/heed-has"
}

case ${1:-} in
    "")
        environment .venv tests/python/requirements.txt \
            'torch, transformers, tokenizers, safetensors, tensorboard, onnx, einops, numpy, pytest'
        ;;
    old)
        environment .venv-old tests/python/requirements-old.txt 'torch, transformers' || exit 1
        [ "${HEED_OLD_TORCH:-1}" = 0 ] || old_torch
        ;;
    *) echo "tools/venv.sh: $1 is neither nothing nor 'old'" >&2; exit 64 ;;
esac
