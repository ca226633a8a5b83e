// SPDX-License-Identifier: Apache-2.0
// The parts of a block beside attention, which are no implementation's: linear layers against double.
#include "cli/doctor_phases.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/random.h"
#include "nn/reference.h"

typedef struct {
    linear_shape shape;
    int64_t rows;
    void *x, *w, *y;                           // as stored
    double *exact_x, *exact_w, *exact_b, *right;
    float *b;
    void *memory;
} layer;

static void *take(char **at, int64_t n, size_t element) {
    void *p = *at;
    *at += size_align((size_t)n * element);
    return p;
}

static heed_status layer_make(layer *l, uint64_t seed, heed_error *error) {
    const int64_t n_x = l->rows * l->shape.in, n_w = l->shape.in * l->shape.out, n_y = l->rows * l->shape.out;
    char *at = l->memory = memory_take_zeroed((size_t)(2 * (n_x + n_w + n_y + l->shape.out)) * sizeof(double) + 1024);
    if (at == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for a layer");
    l->exact_x = take(&at, n_x, 8), l->exact_w = take(&at, n_w, 8), l->exact_b = take(&at, l->shape.out, 8);
    l->right = take(&at, n_y, 8);
    l->x = take(&at, n_x, 4), l->w = take(&at, n_w, 4), l->b = take(&at, l->shape.out, 4), l->y = take(&at, n_y, 4);
    random_stream r = random_of(seed, 0);
    for (int64_t i = 0; i < n_x + n_w; i++) {
        void *to = i < n_x ? l->x : l->w;
        const int64_t j = i < n_x ? i : i - n_x;
        dtype_store(l->shape.type, to, j, (float)random_normal(&r));
        (i < n_x ? l->exact_x : l->exact_w)[j] = (double)dtype_load(l->shape.type, to, j);
    }
    for (int64_t i = 0; i < l->shape.out; i++) l->exact_b[i] = (double)(l->b[i] = (float)random_normal(&r));
    reference_linear(l->shape, l->rows, l->exact_x, l->exact_w, l->exact_b, l->right);
    return HEED_OK;
}

// An f32 sum of n products in any order is within n u of the sum of their sizes (Higham 2002, section 3.1).
static void layer_judge(phase_result *r, const layer *l) {
    const double u = 0x1p-24;
    for (int64_t i = 0; i < l->rows; i++)
        for (int64_t o = 0; o < l->shape.out; o++) {
            double size = fabs(l->exact_b[o]);
            for (int64_t t = 0; t < l->shape.in; t++)
                size += fabs(l->exact_x[i * l->shape.in + t] * l->exact_w[t * l->shape.out + o]);
            const double bound = (double)(l->shape.in + 1) * u * size;
            const double error = fabs((double)((const float *)l->y)[i * l->shape.out + o] - l->right[i * l->shape.out + o]);
            if (error <= bound || r->outcome == PHASE_FAIL) continue;
            r->outcome = PHASE_FAIL;
            snprintf(r->sentence, sizeof r->sentence, "row %lld, channel %lld is wrong by %.3g; at most %.3g is rounding",
                     (long long)i, (long long)o, error, bound);
        }
}

heed_status phase_run_linear(phase_result *r, const phase_row *row, const phase_subject *s, heed_error *error) {
    layer l = {.memory = NULL};
    int rows, in, out;
    if (sscanf(row->text, "rows:%d in:%d out:%d", &rows, &in, &out) != 3)
        return error_set(error, HEED_INVALID, "\"%s\" is no layer", row->text);
    l.rows = rows;
    l.shape = (linear_shape){in, out, LINEAR_IN_OUT, .type = strstr(row->text, "bf16") != NULL ? HEED_BF16 : HEED_F32};
    engine e;
    heed_status status = engine_create(&e, s->threads, s->cpu, error);
    if (status != HEED_OK) return status;
    status = layer_make(&l, s->seed, error);
    if (status == HEED_OK) {
        linear_forward(&e, l.shape, l.rows, l.x, l.w, l.b, l.y);
        layer_judge(r, &l);
    }
    memory_free(l.memory);
    engine_destroy(&e);
    return status;
}
