// SPDX-License-Identifier: Apache-2.0
#include "compare/call.h"

#include "base/dtype.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/philox.h"
#include "core/impl.h"
#include "core/problem.h"

#include <string.h>

call_sequence call_sequence_of(const call *c, int64_t b) {
    call_sequence s = {.n_key = c->key_count != NULL ? c->key_count[b] : c->keys};
    switch (c->problem.align) {
    case HEED_BOTTOM_RIGHT: s.offset = s.n_key - c->queries; break;
    case HEED_TOP_LEFT: break;
    case HEED_OFFSET: s.offset = c->offsets != NULL ? c->offsets[b] : c->problem.offset; break;
    }
    s.end_valid = s.n_key;
    if (c->key_range != NULL) {
        s.first_valid = c->key_range[2 * b];
        s.end_valid = int64_min(s.n_key, c->key_range[2 * b + 1]);
    }
    return s;
}

// Cuts the call's memory, or (at NULL) counts it.
typedef struct { char *at; size_t used; } cutter;

static void *cut(cutter *k, int64_t n, size_t element, bool wanted) {
    if (!wanted) return NULL;
    void *p = k->at == NULL ? NULL : k->at + k->used;
    k->used = size_add(k->used, size_align(size_mul((size_t)int64_max(n, 1), element)));
    return p;
}

static void lay_out(call *c, cutter *k) {
    const unsigned with = c->problem.with;
    const int64_t rows = c->batch * c->heads * c->queries, kv = c->batch * c->kv_heads * c->keys, S = sizeof(double);
    c->q = cut(k, rows * c->channels, (size_t)S, true);
    c->k = cut(k, kv * c->channels, (size_t)S, true);
    c->v = cut(k, kv * c->value_channels, (size_t)S, true);
    c->dout = cut(k, rows * c->value_channels, (size_t)S, c->problem.pass == HEED_BACKWARD);
    c->sinks = cut(k, c->heads, (size_t)S, with & HEED_SINKS);
    c->slopes = cut(k, c->heads, (size_t)S, with & HEED_SLOPES);
    c->bias = cut(k, problem_grid_size(&c->problem, c->problem.bias_axes), (size_t)S, with & HEED_BIAS);
    c->mask = cut(k, problem_grid_size(&c->problem, c->problem.mask_axes), 1, with & HEED_MASK);
    c->keep = cut(k, rows * c->keys, 1, c->problem.dropout > 0);
    c->key_range = cut(k, 2 * c->batch, 4, with & HEED_KEY_RANGE);
    c->key_count = cut(k, c->batch, 4, with & HEED_KEY_COUNT);
    c->offsets = cut(k, c->batch, 4, with & HEED_OFFSETS);
    c->documents = cut(k, c->batch * c->keys, 4, with & HEED_DOCUMENTS);
}

heed_status call_begin(call *c, const problem_line *line, heed_error *error) {
    *c = (call){.line = *line};
    heed_problem *p = &c->line.problem;
    p->q = p->k = p->v = p->out = p->dout = p->dq = p->dk = p->dv = (heed_stride){0};
    p->bias = p->bool_mask = (heed_grid_stride){0};
    heed_status status = problem_complete(p, &c->problem, error);
    if (status != HEED_OK) return status;
    p = &c->problem;
    c->batch = p->batch, c->heads = p->heads, c->kv_heads = p->kv_heads, c->group = p->heads / p->kv_heads;
    c->queries = p->queries, c->keys = p->keys, c->channels = p->channels, c->value_channels = p->value_channels;
    cutter k = {0};
    lay_out(c, &k);
    c->memory = memory_take_zeroed(k.used);
    if (c->memory == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for a call of %zu bytes", k.used);
    k = (cutter){.at = c->memory};
    lay_out(c, &k);
    return HEED_OK;
}

void call_free(call *c) {
    memory_free(c->memory);
    memory_free(c->tables);
    c->memory = c->tables = NULL;
}

static void take_rows(const heed_problem *p, int which, int64_t batch, const void *from, double *to) {
    const problem_array a = problem_array_of(p, which);
    for (int64_t b = 0; b < batch; b++)
        for (int64_t h = 0; h < a.heads; h++)
            for (int64_t t = 0; t < a.tokens; t++) {
                const void *row = row_at(a.dtype, from, a.stride, b, h, t);
                for (int64_t i = 0; i < a.channels; i++) *to++ = (double)dtype_load(a.dtype, row, i);
            }
}

static void take_floats(const float *from, double *to, int64_t n) {
    for (int64_t i = 0; from != NULL && i < n; i++) to[i] = (double)from[i];
}

// The keep mask of CONTRACT's dropout, place by place.
static void draw_keep(call *c, uint64_t seed) {
    const uint32_t from = philox_keep_from(c->problem.dropout);
    uint8_t *to = c->keep;
    for (int64_t b = 0; b < c->batch; b++)
        for (int64_t h = 0; h < c->heads; h++)
            for (int64_t i = 0; i < c->queries; i++)
                for (int64_t j = 0; j < c->keys; j++)
                    *to++ = philox(seed, (uint32_t)(j / 4), (uint32_t)i, (uint32_t)h, (uint32_t)b).word[j % 4] >= from;
}

heed_status call_of_drawn(call *c, const drawn *d, heed_error *error) {
    const heed_status status = call_begin(c, &d->line, error);
    if (status != HEED_OK) return status;
    const heed_args *a = &d->args;
    take_rows(&d->problem, PROBLEM_Q, c->batch, a->q, c->q);
    take_rows(&d->problem, PROBLEM_K, c->batch, a->k, c->k);
    take_rows(&d->problem, PROBLEM_V, c->batch, a->v, c->v);
    if (c->dout != NULL) take_rows(&d->problem, PROBLEM_DOUT, c->batch, a->dout, c->dout);
    if (c->sinks != NULL) take_floats(a->sinks, c->sinks, c->heads);
    if (c->slopes != NULL) take_floats(a->slopes, c->slopes, c->heads);
    const int64_t n_bias = c->bias == NULL ? 0 : problem_grid_size(&c->problem, c->problem.bias_axes);
    for (int64_t i = 0; i < n_bias; i++) c->bias[i] = (double)dtype_load(c->problem.bias_dtype, a->bias, i);
    if (c->mask != NULL) memcpy(c->mask, a->mask, (size_t)problem_grid_size(&c->problem, c->problem.mask_axes));
    if (c->key_range != NULL) memcpy(c->key_range, a->key_range, (size_t)c->batch * 8);
    if (c->key_count != NULL) memcpy(c->key_count, a->key_count, (size_t)c->batch * 4);
    if (c->offsets != NULL) memcpy(c->offsets, a->offsets, (size_t)c->batch * 4);
    if (c->documents != NULL) memcpy(c->documents, a->documents, (size_t)(c->batch * c->keys) * 4);
    if (c->keep != NULL) draw_keep(c, a->seed);
    return HEED_OK;
}
