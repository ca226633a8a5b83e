// SPDX-License-Identifier: Apache-2.0
#include "nn/activation.h"

#include "base/memory.h"
#include "cpu/kernels.h"

enum { ITEM = 1 << 15 };    // elements: 128 KB of each array, so that several fit in L2

typedef struct {
    const cpu_pointwise *point;
    int64_t n;
    const float *x, *dy;
    float *dx, *y;
} activation_work;

static void gelu_item(void *context, int64_t item, int worker) {
    const activation_work *w = context;
    const int64_t at = item * ITEM, n = int64_min(w->n - at, ITEM);
    w->point->gelu(n, w->x + at, w->y + at);
}

static void gelu_grad_item(void *context, int64_t item, int worker) {
    const activation_work *w = context;
    const int64_t at = item * ITEM, n = int64_min(w->n - at, ITEM);
    w->point->gelu_grad(n, w->x + at, w->dy + at, w->dx + at, w->y == NULL ? NULL : w->y + at);
}

static void add_item(void *context, int64_t item, int worker) {
    const activation_work *w = context;
    const int64_t at = item * ITEM, n = int64_min(w->n - at, ITEM);
    w->point->add(n, w->x + at, w->dy + at, w->y + at);
}

void gelu_forward(const engine *e, int64_t n, const float *x, float *y) {
    activation_work w = {.point = &e->cpu->pointwise, .n = n, .x = x, .y = y};
    threads_for(&e->team, int64_ceil_div(n, ITEM), gelu_item, &w);
}

void gelu_backward(const engine *e, int64_t n, const float *x, const float *dy, float *dx, float *y) {
    activation_work w = {.point = &e->cpu->pointwise, .n = n, .x = x, .dy = dy, .dx = dx, .y = y};
    threads_for(&e->team, int64_ceil_div(n, ITEM), gelu_grad_item, &w);
}

void add_forward(const engine *e, int64_t n, const float *a, const float *b, float *sum) {
    activation_work w = {.point = &e->cpu->pointwise, .n = n, .x = a, .dy = b, .y = sum};
    threads_for(&e->team, int64_ceil_div(n, ITEM), add_item, &w);
}
