// SPDX-License-Identifier: Apache-2.0
#include "nn/linear.h"

#include "base/dtype.h"
#include "base/memory.h"
#include "cpu/kernels.h"

#include <string.h>

// W as the (in, out) matrix it stands for, or as (out, in).
static matrix weight(linear_shape s, const void *w, bool out_in) {
    const bool stored_out_in = s.order == LINEAR_OUT_IN;
    return (matrix){w, stored_out_in ? s.in : s.out, stored_out_in != out_in, s.type};
}

// ---- A few rows: a token or two at a time ---------------------------------------------------------------------------------

// Each weight is used so seldom that reading it is all the time there is: w is read once, as it lies, in runs as long as can
// be. So W[in][out] is cut by rows, each worker adds up its own, and the partial sums are added in order; W[out][in] is cut
// by outputs. Both cuts follow from the shape: the number of threads changes no bit.
typedef struct {
    linear_shape shape;
    int64_t rows, size;    // of x and y; inputs or outputs of one item
    const float *x, *bias;
    const char *w;
    float *sums, *partial;    // (rows, out): y, or what is rounded to it; (items - 1, rows, out): of the items after the first
    const struct cpu_kernels *cpu;
} few_work;

enum { FEW_ITEMS = 8, FEW_INPUTS = 32, FEW_OUTPUTS = 256, FEW_DEPTH = 8 };

static void few_inputs(void *context, int64_t item, int worker) {
    const few_work *f = context;
    const int64_t in = f->shape.in, out = f->shape.out, t = item * f->size;
    float *y = item == 0 ? f->sums : f->partial + (item - 1) * f->rows * out;
    for (int64_t r = 0; r < f->rows; r++) {
        if (item == 0 && f->bias != NULL) memcpy(y + r * out, f->bias, (size_t)out * sizeof(float));
        else memset(y + r * out, 0, (size_t)out * sizeof(float));
    }
    f->cpu->pointwise.rows_times(f->rows, out, int64_min(f->size, in - t), f->x + t, in, f->shape.type,
                                 f->w + (size_t)(t * out) * dtype_bytes(f->shape.type), out, y, out);
}

static void few_outputs(void *context, int64_t item, int worker) {
    const few_work *f = context;
    const int64_t in = f->shape.in, out = f->shape.out, end = int64_min(out, (item + 1) * f->size);
    const size_t element = dtype_bytes(f->shape.type);
    for (int64_t j = item * f->size; j < end; j += FEW_DEPTH) {
        const int64_t n = int64_min(FEW_DEPTH, end - j);
        for (int64_t r = 0; r < f->rows; r++) {
            float *y = f->sums + r * out + j;
            f->cpu->dot_rows(n, in, f->shape.type, f->w + (size_t)(j * in) * element, in, f->x + r * in, y);
            for (int64_t i = 0; f->bias != NULL && i < n; i++) y[i] += f->bias[j + i];
        }
    }
}

// Of the engine's memory, bf16 takes room for x in f32, and for sums where y is bf16; the rest is for partial sums.
static int64_t few_room(linear_shape s) {
    const int64_t x = s.type == HEED_BF16 ? s.in : 0, sums = s.y_type == HEED_BF16 ? s.out : 0;
    return LINEAR_FEW_ROWS * (x + sums);
}

static void few_forward(const engine *e, linear_shape s, int64_t rows, const void *x, const void *w, const float *bias, void *y) {
    const bool narrow = s.y_type == HEED_BF16;
    if (s.type != HEED_BF16) s.type = HEED_F32;
    few_work f = {s, rows, FEW_OUTPUTS, x, bias, w, narrow ? e->partial : y, e->partial + few_room(s), e->cpu};
    if (s.type == HEED_BF16) {
        float *wide = e->partial + (narrow ? LINEAR_FEW_ROWS * s.out : 0);
        e->cpu->f32.rows_of(wide, rows, s.in, s.in, HEED_BF16, x, s.in, 1.0f);
        f.x = wide;
    }
    if (s.order == LINEAR_OUT_IN) {
        threads_for(&e->team, int64_ceil_div(s.out, f.size), few_outputs, &f);
    } else {
        const int64_t most = 1 + (ENGINE_PARTIAL - few_room(s)) / (LINEAR_FEW_ROWS * s.out);
        f.size = int64_max(int64_ceil_div(s.in, int64_min(FEW_ITEMS, most)), FEW_INPUTS);
        const int64_t items = int64_ceil_div(s.in, f.size);
        threads_for(&e->team, items, few_inputs, &f);
        e->cpu->pointwise.sum_rows(items - 1, rows * s.out, HEED_F32, f.partial, rows * s.out, f.sums);
    }
    if (narrow) e->cpu->rows_to(rows, s.out, HEED_BF16, y, s.out, f.sums, s.out, NULL);
}

// ---- Many rows ------------------------------------------------------------------------------------------------------------

void linear_forward(const engine *e, linear_shape s, int64_t rows, const void *x, const void *w, const float *bias, void *y) {
    if (rows <= LINEAR_FEW_ROWS && few_room(s) <= ENGINE_PARTIAL) {
        few_forward(e, s, rows, x, w, bias, y);
        return;
    }
    matmul(e, &(multiplication){.m = rows, .n = s.out, .k = s.in, .a = {x, s.in, false, s.type}, .b = weight(s, w, false), .c = y,
                         .ldc = s.out, .c_type = s.y_type, .bias = bias});
}

void linear_dx(const engine *e, linear_shape s, int64_t rows, const void *dy, const void *w, void *dx) {
    matmul(e, &(multiplication){.m = rows, .n = s.in, .k = s.out, .a = {dy, s.out, false, s.type}, .b = weight(s, w, true), .c = dx,
                         .ldc = s.in, .c_type = s.dx_type});
}

typedef struct {
    const cpu_pointwise *point;
    int64_t rows, n;
    heed_dtype type;
    const char *dy;
    float *dbias;
} bias_work;

enum { BIAS_COLS = 128 };    // columns of one item

static void sum_bias(void *context, int64_t item, int worker) {
    const bias_work *b = context;
    const int64_t j = item * BIAS_COLS;
    b->point->sum_rows(b->rows, int64_min(b->n - j, BIAS_COLS), b->type, b->dy + (size_t)j * dtype_bytes(b->type), b->n,
                       b->dbias + j);
}

void linear_dw(const engine *e, linear_shape s, int64_t rows, const void *x, const void *dy, float *dw, float *dbias, bool add) {
    multiplication p = {.m = s.in, .n = s.out, .k = rows, .a = {x, s.in, true, s.type}, .b = {dy, s.out, false, s.type}, .c = dw,
                 .ldc = s.out, .add = add};
    if (s.order == LINEAR_OUT_IN) {
        p.m = s.out, p.n = s.in, p.ldc = s.in;
        p.a = (matrix){dy, s.out, true, s.type};
        p.b = (matrix){x, s.in, false, s.type};
    }
    matmul(e, &p);
    if (dbias == NULL) return;
    if (!add) memset(dbias, 0, (size_t)s.out * sizeof(float));
    bias_work work = {&e->cpu->pointwise, rows, s.out, s.type == HEED_BF16 ? HEED_BF16 : HEED_F32, dy, dbias};
    threads_for(&e->team, int64_ceil_div(s.out, BIAS_COLS), sum_bias, &work);
}
