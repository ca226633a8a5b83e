// SPDX-License-Identifier: Apache-2.0
#include "nn/linear.h"

#include "base/memory.h"
#include "cpu/kernels.h"

#include <string.h>

// W as the (in, out) matrix it stands for, or as (out, in).
static matrix weight(linear_shape s, const float *w, bool out_in) {
    const bool stored_out_in = s.order == LINEAR_OUT_IN;
    return (matrix){w, stored_out_in ? s.in : s.out, stored_out_in != out_in};
}

typedef struct {
    int64_t rows, n;
    const float *bias, *dy;
    float *y;
    const cpu_pointwise *point;
} bias_work;

enum { BIAS_ROWS = 64, BIAS_COLS = 128 };    // an item: a few rows of y, or a strip of columns of dy

static void write_bias(void *context, int64_t item, int worker) {
    const bias_work *b = context;
    const int64_t end = int64_min((item + 1) * BIAS_ROWS, b->rows);
    for (int64_t r = item * BIAS_ROWS; r < end; r++) memcpy(b->y + r * b->n, b->bias, (size_t)b->n * sizeof(float));
}

static void sum_bias(void *context, int64_t item, int worker) {
    const bias_work *b = context;
    const int64_t j = item * BIAS_COLS;
    b->point->sum_rows(b->rows, int64_min(b->n - j, BIAS_COLS), b->dy + j, b->n, b->y + j);
}

// The bias is what the product is added to: y is written once more, but read in the product's own tiles.
void linear_forward(const engine *e, linear_shape s, int64_t rows, const float *x, const float *w, const float *bias, float *y) {
    if (bias != NULL) {
        bias_work work = {.rows = rows, .n = s.out, .bias = bias, .y = y};
        threads_for(&e->team, int64_ceil_div(rows, BIAS_ROWS), write_bias, &work);
    }
    matmul(e, rows, s.out, s.in, (matrix){x, s.in, false}, weight(s, w, false), y, s.out, bias != NULL);
}

void linear_dx(const engine *e, linear_shape s, int64_t rows, const float *dy, const float *w, float *dx) {
    matmul(e, rows, s.in, s.out, (matrix){dy, s.out, false}, weight(s, w, true), dx, s.in, false);
}

void linear_dw(const engine *e, linear_shape s, int64_t rows, const float *x, const float *dy, float *dw, float *dbias, bool add) {
    const matrix x_t = {x, s.in, true}, dy_t = {dy, s.out, true}, x_plain = {x, s.in, false}, dy_plain = {dy, s.out, false};
    if (s.order == LINEAR_IN_OUT) matmul(e, s.in, s.out, rows, x_t, dy_plain, dw, s.out, add);
    else matmul(e, s.out, s.in, rows, dy_t, x_plain, dw, s.in, add);
    if (dbias == NULL) return;
    if (!add) memset(dbias, 0, (size_t)s.out * sizeof(float));
    bias_work work = {.rows = rows, .n = s.out, .dy = dy, .y = dbias, .point = &e->cpu->pointwise};
    threads_for(&e->team, int64_ceil_div(s.out, BIAS_COLS), sum_bias, &work);
}
