// SPDX-License-Identifier: Apache-2.0
// What one attention shows by itself, through the public header only.
#include "cli/doctor_nan.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/random.h"

enum { HEADS = 4, CHANNELS = 32 };    // gpt2-nano's

typedef struct { const nan_texts *t; int n_threads; float *x, *y, *lse; } layer;

// y = attention(x, x, x), causal with the texts' padding.
static heed_status attend(const layer *l, heed_empty rule, const float *x, float *y, heed_error *error) {
    const heed_problem p = {.batch = NAN_TEXTS, .heads = HEADS, .queries = l->t->length, .channels = CHANNELS,
                            .align = HEED_TOP_LEFT, .with = HEED_KEY_RANGE, .empty_row = rule, .mask = {heed_causal()}};
    const heed_choice choice = {.threads = l->n_threads};
    heed_plan *plan;
    heed_status status = heed_plan_create(&plan, &p, &choice, error);
    if (status != HEED_OK) return status;
    const size_t bytes = heed_workspace_bytes(plan);
    void *workspace = memory_take(bytes + 1);
    const heed_args a = {.q = x, .k = x, .v = x, .out = y, .lse = l->lse, .key_range = l->t->key_range, .workspace = workspace,
                         .workspace_bytes = bytes};
    status = workspace == NULL ? error_set(error, HEED_NO_MEMORY, "out of memory") : heed_run(plan, &a, error);
    memory_free(workspace);
    heed_plan_destroy(plan);
    return status;
}

// Rows (of any head) for which the test holds, in each text.
static void count_rows(const layer *l, const float *y, int64_t rows[NAN_TEXTS]) {
    for (int64_t b = 0; b < NAN_TEXTS; b++) {
        rows[b] = 0;
        for (int64_t i = 0; i < l->t->length; i++) {
            bool bad = false;
            for (int64_t h = 0; h < HEADS; h++) {
                const int64_t row = (b * HEADS + h) * l->t->length + i;
                if (y == NULL) bad |= l->lse[row] == -INFINITY;
                for (int64_t c = 0; y != NULL && c < CHANNELS; c++) bad |= !isfinite(y[row * CHANNELS + c]);
            }
            rows[b] += bad;
        }
    }
}

// How far the first row of the first text is from the mean of all its values, head by head.
static double distance_to_mean(const layer *l) {
    double most = 0;
    for (int64_t h = 0; h < HEADS; h++)
        for (int64_t c = 0; c < CHANNELS; c++) {
            double sum = 0;
            for (int64_t j = 0; j < l->t->length; j++) sum += (double)l->x[(h * l->t->length + j) * CHANNELS + c];
            most = fmax(most, fabs((double)l->y[h * l->t->length * CHANNELS + c] - sum / (double)l->t->length));
        }
    return most;
}

static heed_status look(const layer *l, nan_layers *r, float *again, heed_error *error) {
    heed_status status = attend(l, HEED_EMPTY_ZERO, l->x, l->y, error);
    if (status != HEED_OK) return status;
    count_rows(l, NULL, r->empty_rows);
    if ((status = attend(l, HEED_EMPTY_MEAN, l->x, l->y, error)) != HEED_OK) return status;
    r->mean_distance = distance_to_mean(l);
    if ((status = attend(l, HEED_EMPTY_NAN, l->x, l->y, error)) != HEED_OK) return status;
    count_rows(l, l->y, r->first_layer);
    if ((status = attend(l, HEED_EMPTY_NAN, l->y, again, error)) != HEED_OK) return status;
    count_rows(l, again, r->second_layer);
    return HEED_OK;
}

heed_status nan_layers_compute(nan_layers *r, const nan_texts *t, uint64_t seed, int n_threads, heed_error *error) {
    const int64_t rows = NAN_TEXTS * HEADS * t->length, n = rows * CHANNELS;
    float *memory = memory_take((size_t)(3 * n + rows) * sizeof *memory);
    if (memory == NULL) return error_set(error, HEED_NO_MEMORY, "out of memory");
    const layer l = {.t = t, .n_threads = n_threads, .x = memory, .y = memory + n, .lse = memory + 3 * n};
    random_stream random = random_of(seed, 0);
    for (int64_t i = 0; i < n; i++) l.x[i] = (float)random_normal(&random);
    const heed_status status = look(&l, r, memory + 2 * n, error);
    memory_free(memory);
    return status;
}
