// SPDX-License-Identifier: Apache-2.0
// What layers compute with: a team of threads and the kernels of this CPU. Every layer's work is split into items whose
// size depends on shapes only, so results are bit-identical for any number of threads.
#pragma once

#include "base/threads.h"

struct cpu_kernels;    // cpu/kernels.h

typedef struct {
    threads team;
    const struct cpu_kernels *cpu;
} engine;

engine engine_best(int n_threads);    // 0: as many as OpenMP would take
