#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What `make bench` runs: heed's own benchmark, then the peers beside it, where the virtual environment can be made.
set -u
cd "$(dirname "$0")/.." || exit 1
build=${HEED_BUILD:-build}
"$build/heed" bench || exit
"$build/bench_own_mask" || exit
if ! tools/venv.sh; then
    echo "The peers are left out: .venv could not be made (tools/venv.sh; HEED_PIP_ARGS passes pip your own index)."
    exit 0
fi
.venv/bin/python bench/peers/attention.py && .venv/bin/python bench/peers/train_gpt2.py &&
    .venv/bin/python bench/peers/generate_gpt2.py
