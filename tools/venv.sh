#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes .venv with what tests/python and bench/peers need, once; HEED_PIP_ARGS passes a user's own index to pip.
# Exits with 1 when the packages cannot be had: the caller then skips those tests by name.
set -u
cd "$(dirname "$0")/.." || exit 1
wanted=$(cat tests/python/requirements.txt; python3 --version)
[ -x .venv/bin/python ] && [ "$(cat .venv/heed-has 2> /dev/null)" = "$wanted" ] && exit 0
echo "making .venv: $(grep -v '^#' tests/python/requirements.txt | tr '\n' ' ')"
# A folder of the same Python only gets what is new; any other is made anew.
same=$(.venv/bin/python --version 2> /dev/null)
[ "$same" = "$(python3 --version)" ] || python3 -m venv --clear .venv || exit 1
# shellcheck disable=SC2086  # several arguments in one variable
.venv/bin/python -m pip install --quiet --disable-pip-version-check ${HEED_PIP_ARGS:-} \
    -r tests/python/requirements.txt < /dev/null || exit 1
.venv/bin/python -c 'import torch, transformers, tokenizers, safetensors, tensorboard, numpy, pytest' || exit 1
printf '%s\n' "$wanted" > .venv/heed-has
