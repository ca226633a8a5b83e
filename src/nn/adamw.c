// SPDX-License-Identifier: Apache-2.0
#include "nn/adamw.h"

#include "base/memory.h"
#include "cpu/kernels.h"

#include <math.h>

enum { ITEM = 1 << 16, BATCH = 512 };    // elements of one item; items whose sums are held at once

typedef struct {
    const cpu_pointwise *point;
    adamw_factors factors;
    float *value, *m, *v;
    const float *grad;
    uint16_t *rounded;
    int64_t n, first;
    double partial[BATCH];
} adamw_work;

static void step_item(void *context, int64_t item, int worker) {
    const adamw_work *w = context;
    const int64_t at = item * ITEM, n = int64_min(w->n - at, ITEM);
    w->point->adamw(n, &w->factors, w->value + at, w->grad + at, w->m + at, w->v + at,
                    w->rounded == NULL ? NULL : w->rounded + at);
}

void adamw_step(const engine *e, const adamw *o, int64_t step, double grad_scale, const parameter *p, int64_t count,
                float *const *m, float *const *v) {
    adamw_work w = {.point = &e->cpu->pointwise};
    w.factors = (adamw_factors){
        .grad_scale = (float)grad_scale, .rest1 = (float)(1 - o->beta1), .beta2 = (float)o->beta2, .rest2 = (float)(1 - o->beta2),
        .step_size = (float)(o->learning_rate / (1 - pow(o->beta1, (double)step))),
        .root_scale = (float)(1 / sqrt(1 - pow(o->beta2, (double)step))), .epsilon = (float)o->epsilon,
    };
    for (int64_t i = 0; i < count; i++) {
        w.factors.keep = (float)(p[i].decay ? 1 - o->learning_rate * o->weight_decay : 1);
        w.value = p[i].value, w.rounded = p[i].rounded, w.grad = p[i].grad, w.m = m[i], w.v = v[i];
        w.n = parameter_count(&p[i]);
        threads_for(&e->team, int64_ceil_div(w.n, ITEM), step_item, &w);
    }
}

static void squares_item(void *context, int64_t item, int worker) {
    adamw_work *w = context;
    const int64_t at = (w->first + item) * ITEM, n = int64_min(w->n - at, ITEM);
    w->partial[item] = w->point->sum_squares(n, w->grad + at);
}

double gradient_norm(const engine *e, const parameter *p, int64_t count) {
    adamw_work w = {.point = &e->cpu->pointwise};
    double sum = 0;
    for (int64_t i = 0; i < count; i++) {
        w.grad = p[i].grad;
        w.n = parameter_count(&p[i]);
        const int64_t items = int64_ceil_div(w.n, ITEM);
        for (w.first = 0; w.first < items; w.first += BATCH) {
            const int64_t held = int64_min(items - w.first, BATCH);
            threads_for(&e->team, held, squares_item, &w);
            for (int64_t j = 0; j < held; j++) sum += w.partial[j];
        }
    }
    return sqrt(sum);
}

double gradient_clip_scale(double norm, double max_norm) {
    if (max_norm <= 0) return 1;
    const double scale = max_norm / (norm + 1e-6);
    return scale < 1 ? scale : 1;
}
