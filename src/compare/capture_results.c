// SPDX-License-Identifier: Apache-2.0
// What came out of a captured call; its rotary tables; whether two captures were given the same.
#include "compare/capture_shape.h"

#include "base/error.h"
#include "base/memory.h"
#include "core/problem.h"

#include <math.h>
#include <string.h>

// ---- Results ------------------------------------------------------------------------------------------------------

typedef struct { const char *name; capture_shape shape; heed_dtype type; double **to; } result;

static heed_status take_results(result *list, int n, call_results *r, const capture *from, heed_error *error) {
    size_t doubles = 1;
    for (int i = 0; i < n; i++)
        if (capture_find(from, list[i].name) != NULL) doubles = size_add(doubles, (size_t)capture_elements(&list[i].shape));
    double *at = r->memory = memory_take(size_mul(doubles, sizeof *at));
    if (at == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for the results in %s", from->from);
    for (int i = 0; i < n; i++) {
        const tensor_view *t = capture_find(from, list[i].name);
        if (t == NULL) continue;
        *list[i].to = at;
        at += capture_elements(&list[i].shape);
        const heed_status status = capture_take(*list[i].to, from, t, &list[i].shape, false, list[i].type, false, error);
        if (status != HEED_OK) return status;
    }
    return HEED_OK;
}

heed_status capture_results(call_results *r, const capture *from, const call *c, heed_error *error) {
    *r = (call_results){.memory = NULL};
    const heed_problem *p = &c->problem;
    static const char *const grid[] = {"sequences", "heads", "queries", "keys"};
    const capture_shape out = {4, {c->batch, c->heads, c->queries, c->value_channels}, {"sequences", "heads", "queries",
                                                                                        "channels"}};
    const capture_shape lse = {3, {c->batch, c->heads, c->queries}, {"sequences", "heads", "queries"}};
    const capture_shape k = {4, {c->batch, c->kv_heads, c->keys, c->channels}, {"sequences", "kv heads", "keys", "channels"}};
    const capture_shape heads = {1, {c->heads}, {"heads"}};
    capture_shape q = out, v = k, bias = {4, {1, 1, 1, 1}, {grid[0], grid[1], grid[2], grid[3]}};
    q.extent[3] = c->channels;
    v.extent[3] = c->value_channels;
    const int64_t extent[] = {c->batch, c->heads, c->queries, c->keys};
    for (int i = 0; i < 4; i++)
        if (p->bias_axes >> i & 1) bias.extent[i] = extent[i];
    result list[] = {
        {"out", out, p->dtype, &r->of.out}, {"lse", lse, HEED_F32, &r->of.lse},
        {"dq", q, p->dtype, &r->of.dq}, {"dk", k, p->kv_dtype, &r->of.dk}, {"dv", v, p->kv_dtype, &r->of.dv},
        {"dbias", bias, p->bias_dtype, &r->of.dbias}, {"dsinks", heads, HEED_F32, &r->of.dsinks},
        {"dslopes", heads, HEED_F32, &r->of.dslopes},
    };
    int n = 2;    // gradients only where they are claimed
    if (p->pass == HEED_BACKWARD) n = (int)(sizeof list / sizeof *list);
    if (capture_find(from, "out") == NULL)
        return error_set(error, HEED_INVALID, "%s lacks out, the result of the call (batch, heads, queries, channels)", from->from);
    const heed_status status = take_results(list, n, r, from, error);
    if (status != HEED_OK) call_results_free(r);
    return status;
}

// ---- Rotary tables ------------------------------------------------------------------------------------------------

// A table has a column for each pair of channels, or (as transformers keeps it) one for each channel, pairs alike.
static heed_status take_table(double *to, const capture *from, const tensor_view *t, const call *c, int64_t positions, bool whole,
                              heed_error *error) {
    const int64_t pairs = c->channels / 2, columns = whole ? c->channels : pairs;
    const capture_shape s = {2, {positions, columns}, {"positions", "channels (d / 2 or d)"}};
    capture_grid g;
    const heed_status status = capture_fit(&g, from, t, &s, false, error);
    if (status != HEED_OK) return status;
    if (!tensor_type_is_real(t->type) && t->type != TENSOR_U16)
        return error_set(error, HEED_INVALID, "%s: %s has type %s; floats are needed", from->from, t->name,
                         tensor_type_name(t->type));
    const bool neighbours = c->line.rope.layout == ROPE_PAIRS;
    for (int64_t row = 0; row < positions; row++)
        for (int64_t i = 0; i < pairs; i++) {
            const int64_t first = whole && neighbours ? 2 * i : i, second = neighbours ? first + 1 : first + pairs;
            to[row * pairs + i] = capture_real(&g, row * columns + first);
            if (whole && to[row * pairs + i] != capture_real(&g, row * columns + second))
                return error_set(error, HEED_INVALID, "%s: %s at position %lld differs between channels %lld and %lld, which turn "
                                 "together",
                                 from->from, t->name, (long long)row, (long long)first, (long long)second);
        }
    return HEED_OK;
}

heed_status capture_rotary(call *c, const capture *from, heed_error *error) {
    const tensor_view *cosine = capture_find(from, "cos"), *sine = capture_find(from, "sin");
    if (c->line.rope.layout == ROPE_NONE || (cosine == NULL && sine == NULL)) return HEED_OK;
    if (cosine == NULL || sine == NULL)
        return error_set(error, HEED_INVALID, "%s has %s but not %s: both or neither", from->from, cosine != NULL ? "cos" : "sin",
                         cosine != NULL ? "sin" : "cos");
    if (cosine->dims < 2)
        return error_set(error, HEED_INVALID, "%s: cos has %d axes; (positions, d / 2 or d) is needed", from->from, cosine->dims);
    const int64_t positions = cosine->shape[cosine->dims - 2], pairs = c->channels / 2;
    const bool whole = c->channels > 1 && cosine->shape[cosine->dims - 1] == c->channels;
    int64_t most = c->keys, n;
    for (int64_t b = 0; b < c->batch; b++) most = int64_max(most, c->queries + call_sequence_of(c, b).offset);
    if (positions < most)
        return error_set(error, HEED_INVALID, "%s: cos has %lld positions, but the call reaches %lld", from->from,
                         (long long)positions,
                         (long long)most);
    if (!int64_mul(positions, pairs, &n) || n > INT64_MAX / 32)
        return error_set(error, HEED_INVALID, "%s: cos has too many positions", from->from);
    c->tables = memory_take(size_mul((size_t)int64_max(1, 2 * n), sizeof(double)));
    if (c->tables == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for the rotary tables of %s", from->from);
    c->cos = c->tables;
    c->sin = c->cos + n;
    c->positions = positions;
    heed_status status = take_table(c->cos, from, cosine, c, positions, whole, error);
    if (status == HEED_OK) status = take_table(c->sin, from, sine, c, positions, whole, error);
    return status;
}

// ---- The same inputs ----------------------------------------------------------------------------------------------

static heed_status same_reals(const char *name, const double *x, const double *y, int64_t n, const char *a, const char *b,
                              heed_error *error) {
    for (int64_t i = 0; x != NULL && i < n; i++)
        if (x[i] != y[i] && !(x[i] != x[i] && y[i] != y[i]))
            return error_set(error, HEED_INVALID, "%s and %s were not given the same: element %lld of %s is %.9g and %.9g", a, b,
                             (long long)i, name, x[i], y[i]);
    return HEED_OK;
}

static heed_status same_bytes(const char *name, const void *x, const void *y, size_t bytes, const char *a, const char *b,
                              heed_error *error) {
    if (x == NULL || memcmp(x, y, bytes) == 0) return HEED_OK;
    return error_set(error, HEED_INVALID, "%s and %s were not given the same: %s differs", a, b, name);
}

static heed_status same_flags(const char *name, const uint8_t *x, const uint8_t *y, int64_t n, const char *a, const char *b,
                              heed_error *error) {
    for (int64_t i = 0; x != NULL && i < n; i++)
        if ((x[i] != 0) != (y[i] != 0))
            return error_set(error, HEED_INVALID, "%s and %s were not given the same: element %lld of %s is %d and %d", a, b,
                             (long long)i, name, x[i] != 0, y[i] != 0);
    return HEED_OK;
}

static bool same_sizes(const call *x, const call *y) {
    return x->batch == y->batch && x->heads == y->heads && x->kv_heads == y->kv_heads && x->queries == y->queries &&
           x->keys == y->keys && x->channels == y->channels && x->value_channels == y->value_channels &&
           x->problem.with == y->problem.with && x->problem.pass == y->problem.pass && (x->keep == NULL) == (y->keep == NULL) &&
           x->problem.bias_axes == y->problem.bias_axes && x->problem.mask_axes == y->problem.mask_axes &&
           x->problem.dtype == y->problem.dtype;
}

heed_status capture_same_inputs(const call *x, const char *a, const call *y, const char *b, heed_error *error) {
    if (!same_sizes(x, y))
        return error_set(error, HEED_INVALID, "%s and %s claim calls of other sizes, types or arrays; --problem can say what both "
                         "are", a,
                         b);
    const int64_t rows = x->batch * x->heads * x->queries, kv = x->batch * x->kv_heads * x->keys, H = x->heads;
    const struct { const char *name; const double *x, *y; int64_t n; } reals[] = {
        {"q", x->q, y->q, rows * x->channels}, {"k", x->k, y->k, kv * x->channels}, {"v", x->v, y->v, kv * x->value_channels},
        {"dout", x->dout, y->dout, rows * x->value_channels}, {"sinks", x->sinks, y->sinks, H}, {"slopes", x->slopes, y->slopes, H},
        {"bias", x->bias, y->bias, x->bias == NULL ? 0 : problem_grid_size(&x->problem, x->problem.bias_axes)},
    };
    const struct { const char *name; const void *x, *y; int64_t bytes; } others[] = {
        {"key_range", x->key_range, y->key_range, 8 * x->batch},
        {"key_count", x->key_count, y->key_count, 4 * x->batch}, {"documents", x->documents, y->documents, 4 * x->batch * x->keys},
    };
    const int64_t n_mask = x->mask == NULL ? 0 : problem_grid_size(&x->problem, x->problem.mask_axes);
    heed_status status = same_flags("mask", x->mask, y->mask, n_mask, a, b, error);
    if (status == HEED_OK) status = same_flags("keep", x->keep, y->keep, rows * x->keys, a, b, error);
    for (size_t i = 0; status == HEED_OK && i < sizeof reals / sizeof *reals; i++)
        status = same_reals(reals[i].name, reals[i].x, reals[i].y, reals[i].n, a, b, error);
    for (size_t i = 0; status == HEED_OK && i < sizeof others / sizeof *others; i++)
        status = same_bytes(others[i].name, others[i].x, others[i].y, (size_t)others[i].bytes, a, b, error);
    return status;
}
