// SPDX-License-Identifier: Apache-2.0
#include "nn/activation.h"

#include "base/dtype.h"
#include "base/memory.h"
#include "cpu/kernels.h"

enum { ITEM = 1 << 15 };    // elements: 128 KB of each array, so that several fit in L2

typedef struct {
    const cpu_kernels *kernels;
    heed_dtype type;
    int64_t n;
    const void *x, *dy;
    void *dx, *y;
} activation_work;

static size_t bytes_to(const activation_work *w, int64_t at) { return (size_t)at * dtype_bytes(w->type); }

static void gelu_item(void *context, int64_t item, int worker) {
    const activation_work *w = context;
    const int64_t at = item * ITEM, n = int64_min(w->n - at, ITEM);
    const size_t skip = bytes_to(w, at);
    w->kernels->pointwise.gelu(n, w->type, (const char *)w->x + skip, (char *)w->y + skip);
}

static void gelu_grad_item(void *context, int64_t item, int worker) {
    const activation_work *w = context;
    const int64_t at = item * ITEM, n = int64_min(w->n - at, ITEM);
    const size_t skip = bytes_to(w, at);
    w->kernels->pointwise.gelu_grad(n, w->type, (const char *)w->x + skip, (const char *)w->dy + skip, (char *)w->dx + skip,
                        w->y == NULL ? NULL : (char *)w->y + skip);
}

static void round_item(void *context, int64_t item, int worker) {
    const activation_work *w = context;
    const int64_t at = item * ITEM, n = int64_min(w->n - at, ITEM);
    w->kernels->rows_to(1, n, HEED_BF16, (uint16_t *)w->y + at, n, (const float *)w->x + at, n, NULL);
}

void gelu_forward(const engine *e, heed_dtype type, int64_t n, const void *x, void *y) {
    activation_work w = {.kernels = e->cpu, .type = type, .n = n, .x = x, .y = y};
    threads_for(&e->team, int64_ceil_div(n, ITEM), gelu_item, &w);
}

void gelu_backward(const engine *e, heed_dtype type, int64_t n, const void *x, const void *dy, void *dx, void *y) {
    activation_work w = {.kernels = e->cpu, .type = type, .n = n, .x = x, .dy = dy, .dx = dx, .y = y};
    threads_for(&e->team, int64_ceil_div(n, ITEM), gelu_grad_item, &w);
}

void round_to_bf16(const engine *e, int64_t n, const float *x, uint16_t *y) {
    activation_work w = {.kernels = e->cpu, .n = n, .x = x, .y = y};
    threads_for(&e->team, int64_ceil_div(n, ITEM), round_item, &w);
}
