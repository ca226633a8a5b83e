// SPDX-License-Identifier: Apache-2.0
#include "nn/engine.h"

#include "base/memory.h"
#include "cpu/kernels.h"
#include "nn/matmul.h"

heed_status engine_create(engine *e, int n_threads, const char *cpu, heed_error *error) {
    *e = (engine){0};
    if (n_threads < 0) return error_set(error, HEED_INVALID, "threads is %d; it must be at least 1, or 0 for all", n_threads);
    const int most = threads_available();
    e->team.workers = n_threads == 0 || n_threads > most ? most : n_threads;
    e->cpu = cpu_kernels_best(cpu, error);
    if (e->cpu == NULL) return HEED_DEVICE;
    e->partial = memory_take(ENGINE_PARTIAL * sizeof(float));
    if (e->partial == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for the partial sums of layers");
    const heed_status status = matmul_open(e, error);
    if (status != HEED_OK) engine_destroy(e);
    return status;
}

void engine_destroy(engine *e) {
    matmul_close(e);
    memory_free(e->partial);
    *e = (engine){0};
}
