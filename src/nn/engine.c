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
    e->worker_bytes = size_align(matmul_worker_bytes());
    if (e->worker_bytes == 0) return HEED_OK;
    e->scratch = memory_take(size_mul(e->worker_bytes, (size_t)e->team.workers));
    if (e->scratch != NULL) return HEED_OK;
    engine_destroy(e);
    return error_set(error, HEED_NO_MEMORY, "no memory for the scratch of %d threads", e->team.workers);
}

void engine_destroy(engine *e) {
    memory_free(e->scratch);
    memory_free(e->partial);
    *e = (engine){0};
}
