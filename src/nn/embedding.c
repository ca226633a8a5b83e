// SPDX-License-Identifier: Apache-2.0
#include "nn/embedding.h"

#include "base/memory.h"
#include "cpu/kernels.h"

enum { ROWS = 64, STRIP = 64 };    // tokens of one forward item; channels of one backward item

typedef struct {
    const cpu_pointwise *point;
    int64_t rows, width;
    const int32_t *id, *position;
    const float *tokens, *positions, *dy;
    float *y, *dtokens, *dpositions;
} embedding_work;

static void look_up(void *context, int64_t item, int worker) {
    const embedding_work *w = context;
    const int64_t end = int64_min((item + 1) * ROWS, w->rows);
    for (int64_t t = item * ROWS; t < end; t++) {
        w->point->add(w->width, w->tokens + w->id[t] * w->width, w->positions + w->position[t] * w->width, w->y + t * w->width);
    }
}

void embedding_forward(const engine *e, int64_t rows, int64_t width, const int32_t *id, const int32_t *position,
                       const float *tokens, const float *positions, float *y) {
    embedding_work w = {.point = &e->cpu->pointwise, .rows = rows, .width = width, .id = id, .position = position,
                        .tokens = tokens, .positions = positions, .y = y};
    threads_for(&e->team, int64_ceil_div(rows, ROWS), look_up, &w);
}

// A token may occur many times: cut by channels, never by tokens, every sum runs in the order of t.
static void scatter(void *context, int64_t item, int worker) {
    const embedding_work *w = context;
    const int64_t j = item * STRIP, n = int64_min(w->width - j, STRIP);
    for (int64_t t = 0; t < w->rows; t++) {
        const float *dy = w->dy + t * w->width + j;
        float *token = w->dtokens + w->id[t] * w->width + j, *place = w->dpositions + w->position[t] * w->width + j;
        w->point->add(n, token, dy, token);
        w->point->add(n, place, dy, place);
    }
}

void embedding_backward(const engine *e, int64_t rows, int64_t width, const int32_t *id, const int32_t *position,
                        const float *dy, float *dtokens, float *dpositions) {
    embedding_work w = {.point = &e->cpu->pointwise, .rows = rows, .width = width, .id = id, .position = position, .dy = dy,
                        .dtokens = dtokens, .dpositions = dpositions};
    threads_for(&e->team, int64_ceil_div(width, STRIP), scatter, &w);
}
