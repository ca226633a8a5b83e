// SPDX-License-Identifier: Apache-2.0
#include "nn/dropout.h"

#include "base/memory.h"
#include "cpu/kernels.h"

#include <string.h>

enum { ROWS = 16 };    // of one item

typedef struct {
    const cpu_kernels *cpu;
    const dropout *drop;
    int64_t rows, width;
    const float *x;
    float *y;
} dropout_work;

static void drop_rows(void *context, int64_t item, int worker) {
    const dropout_work *w = context;
    const int64_t first = item * ROWS, n = int64_min(w->rows - first, ROWS);
    float *y = w->y + first * w->width;
    if (w->y != w->x) memcpy(y, w->x + first * w->width, (size_t)(n * w->width) * sizeof *y);
    w->cpu->dropout(n, w->width, y, w->width, w->drop, first, 0);
}

void dropout_apply(const engine *e, const dropout *d, int64_t rows, int64_t width, const float *x, float *y) {
    dropout_work w = {e->cpu, d, rows, width, x, y};
    threads_for(&e->team, int64_ceil_div(rows, ROWS), drop_rows, &w);
}
