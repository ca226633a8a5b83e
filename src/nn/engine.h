// SPDX-License-Identifier: Apache-2.0
// What layers compute with: a team of threads and the kernels of this CPU. Every layer's work is split into items whose
// size depends on shapes only, so results are bit-identical for any number of threads.
#pragma once

#include "base/error.h"
#include "base/threads.h"

struct cpu_kernels;    // cpu/kernels.h

typedef struct {
    threads team;
    const struct cpu_kernels *cpu;
    struct matmul_kept *products;  // nn/matmul.c's own
    float *partial;                // ENGINE_PARTIAL floats: partial sums of products with a few rows (nn/linear.c)
} engine;

enum { ENGINE_PARTIAL = 1 << 20 };    // 16 rows of GPT-2's widest layer in up to 8 parts; memory that is not used is not touched

// n_threads 0: as many as OpenMP would take. cpu: kernels by name ("avx2"), NULL: the best, or what HEED_CPU says.
heed_status engine_create(engine *, int n_threads, const char *cpu, heed_error *);
void engine_destroy(engine *);    // a zeroed one is fine
