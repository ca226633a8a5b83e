// SPDX-License-Identifier: Apache-2.0
#include "nn/norm.h"

#include "base/dtype.h"
#include "base/memory.h"
#include "cpu/kernels.h"

#include <string.h>

enum { GROUP_ROWS = 32, STRIP = 128 };    // rows of one item; columns of one item where groups are added up

typedef struct {
    const layer_norm *norm;
    const cpu_pointwise *point;
    int64_t rows;
    const float *x, *added, *dy, *mean, *rstd;
    float *sum, *mean_out, *rstd_out, *dx, *partial, *dweight, *dbias;
    char *y;
    heed_dtype y_type;
} norm_work;

static void forward_rows(void *context, int64_t item, int worker) {
    const norm_work *w = context;
    const int64_t n = w->norm->width, end = int64_min((item + 1) * GROUP_ROWS, w->rows);
    for (int64_t r = item * GROUP_ROWS; r < end; r++) {
        w->point->norm(n, (float)w->norm->epsilon, w->x + r * n, w->added == NULL ? NULL : w->added + r * n,
                       w->sum == NULL ? NULL : w->sum + r * n, w->norm->weight, w->norm->bias, w->y_type,
                       w->y + (size_t)(r * n) * dtype_bytes(w->y_type), w->mean_out + r, w->rstd_out + r);
    }
}

void layer_norm_forward(const engine *e, const layer_norm *norm, int64_t rows, const float *x, const float *added, float *sum,
                        void *y, float *mean, float *rstd) {
    norm_work w = {.norm = norm, .point = &e->cpu->pointwise, .rows = rows, .x = x, .added = added, .sum = sum, .y = y,
                   .y_type = norm->y_type == HEED_BF16 ? HEED_BF16 : HEED_F32, .mean_out = mean, .rstd_out = rstd};
    threads_for(&e->team, int64_ceil_div(rows, GROUP_ROWS), forward_rows, &w);
}

// Each group of rows sums its own dweight and dbias; they are added up in the order of the groups afterwards.
static void backward_rows(void *context, int64_t item, int worker) {
    const norm_work *w = context;
    const int64_t n = w->norm->width, end = int64_min((item + 1) * GROUP_ROWS, w->rows);
    float *partial = w->partial + item * 2 * n;
    memset(partial, 0, (size_t)(2 * n) * sizeof(float));
    for (int64_t r = item * GROUP_ROWS; r < end; r++) {
        w->point->norm_grad(n, w->x + r * n, w->mean[r], w->rstd[r], w->norm->weight, w->dy + r * n, w->dx + r * n, partial,
                            partial + n);
    }
}

static void add_groups(void *context, int64_t item, int worker) {
    const norm_work *w = context;
    const int64_t n = w->norm->width, j = item * STRIP, columns = int64_min(n - j, STRIP);
    const int64_t groups = int64_ceil_div(w->rows, GROUP_ROWS);
    w->point->sum_rows(groups, columns, HEED_F32, w->partial + j, 2 * n, w->dweight + j);
    w->point->sum_rows(groups, columns, HEED_F32, w->partial + n + j, 2 * n, w->dbias + j);
}

size_t layer_norm_scratch_bytes(int64_t rows, int64_t width) {
    return size_mul(size_mul((size_t)int64_ceil_div(rows, GROUP_ROWS), (size_t)width), 2 * sizeof(float));
}

void layer_norm_backward(const engine *e, const layer_norm *norm, int64_t rows, const float *x, const float *mean,
                         const float *rstd, const float *dy, float *dx, float *dweight, float *dbias, bool add_parameters,
                         void *scratch) {
    norm_work w = {.norm = norm, .point = &e->cpu->pointwise, .rows = rows, .x = x, .mean = mean, .rstd = rstd, .dy = dy, .dx = dx,
                   .partial = scratch, .dweight = dweight, .dbias = dbias};
    threads_for(&e->team, int64_ceil_div(rows, GROUP_ROWS), backward_rows, &w);
    if (!add_parameters) {
        memset(dweight, 0, (size_t)norm->width * sizeof(float));
        memset(dbias, 0, (size_t)norm->width * sizeof(float));
    }
    threads_for(&e->team, int64_ceil_div(norm->width, STRIP), add_groups, &w);
}
