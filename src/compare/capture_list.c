// SPDX-License-Identifier: Apache-2.0
// A call as the arrays of a file.
#include "compare/capture.h"

#include "base/dtype.h"
#include "base/error.h"
#include "base/memory.h"
#include "core/problem.h"

#include <string.h>

static tensor_type type_of(heed_dtype type) {
    return type == HEED_BF16 ? TENSOR_BF16 : type == HEED_F16 ? TENSOR_F16 : TENSOR_F32;
}

// Cuts memory for the elements; at NULL only counts.
typedef struct { capture_list *list; char *at; size_t used; } lister;

static tensor_view *add(lister *l, const char *name, tensor_type type, int dims, const int64_t *shape) {
    tensor_view *t = &l->list->array[l->list->n++];
    *t = (tensor_view){.name = name, .type = type, .dims = dims, .elements = 1};
    for (int i = 0; i < dims; i++) t->elements *= t->shape[i] = shape[i];
    t->bytes = (size_t)t->elements * tensor_type_bytes(type);
    t->data = l->at == NULL ? NULL : l->at + l->used;
    l->used = size_add(l->used, size_align(t->bytes > 0 ? t->bytes : 1));
    return t;
}

static void add_reals(lister *l, const char *name, heed_dtype type, const double *from, int dims, const int64_t *shape) {
    if (from == NULL) return;
    const tensor_view *t = add(l, name, type_of(type), dims, shape);
    for (int64_t i = 0; t->data != NULL && i < t->elements; i++) dtype_store(type, (void *)(uintptr_t)t->data, i, (float)from[i]);
}

static void add_bytes(lister *l, const char *name, tensor_type type, const void *from, int dims, const int64_t *shape) {
    if (from == NULL) return;
    const tensor_view *t = add(l, name, type, dims, shape);
    if (t->data != NULL && t->bytes > 0) memcpy((void *)(uintptr_t)t->data, from, t->bytes);
}

static void add_flags(lister *l, const char *name, const uint8_t *from, int dims, const int64_t *shape) {
    if (from == NULL) return;
    const tensor_view *t = add(l, name, TENSOR_BOOL, dims, shape);
    for (int64_t i = 0; t->data != NULL && i < t->elements; i++) ((uint8_t *)(uintptr_t)t->data)[i] = from[i] != 0;
}

// All four axes, 1 where the array has none.
static void grid_shape(const call *c, unsigned axes, int64_t shape[4]) {
    const int64_t extent[] = {c->batch, c->heads, c->queries, c->keys};
    for (int i = 0; i < 4; i++) shape[i] = axes >> i & 1 ? extent[i] : 1;
}

static void add_all(lister *l, const call *c, const ref_results *r) {
    const heed_problem *p = &c->problem;
    const int64_t q[] = {c->batch, c->heads, c->queries, c->channels}, k[] = {c->batch, c->kv_heads, c->keys, c->channels};
    const int64_t v[] = {c->batch, c->kv_heads, c->keys, c->value_channels}, out[] = {c->batch, c->heads, c->queries,
                                                                                      c->value_channels};
    const int64_t all[] = {c->batch, c->heads, c->queries, c->keys}, range[] = {c->batch, 2}, tokens[] = {c->batch, c->keys};
    const int64_t table[] = {c->positions, c->channels / 2};
    int64_t bias[4], mask[4];
    grid_shape(c, p->bias_axes, bias);
    grid_shape(c, p->mask_axes, mask);
    add_reals(l, "q", p->dtype, c->q, 4, q);
    add_reals(l, "k", p->kv_dtype, c->k, 4, k);
    add_reals(l, "v", p->kv_dtype, c->v, 4, v);
    add_reals(l, "sinks", HEED_F32, c->sinks, 1, &c->heads);
    add_reals(l, "slopes", HEED_F32, c->slopes, 1, &c->heads);
    add_reals(l, "bias", p->bias_dtype, c->bias, 4, bias);
    add_flags(l, "mask", c->mask, 4, mask);
    add_flags(l, "keep", c->keep, 4, all);
    add_bytes(l, "key_range", TENSOR_I32, c->key_range, 2, range);
    add_bytes(l, "key_count", TENSOR_I32, c->key_count, 1, &c->batch);
    add_bytes(l, "documents", TENSOR_I32, c->documents, 2, tokens);
    add_bytes(l, "cos", TENSOR_F64, c->cos, 2, table);
    add_bytes(l, "sin", TENSOR_F64, c->sin, 2, table);
    add_reals(l, "dout", p->dtype, c->dout, 4, out);
    if (r == NULL) return;
    add_reals(l, "out", p->dtype, r->out, 4, out);
    add_reals(l, "lse", HEED_F32, r->lse, 3, out);
    add_reals(l, "dq", p->dtype, r->dq, 4, q);
    add_reals(l, "dk", p->kv_dtype, r->dk, 4, k);
    add_reals(l, "dv", p->kv_dtype, r->dv, 4, v);
    add_reals(l, "dbias", p->bias_dtype, r->dbias, 4, bias);
    add_reals(l, "dsinks", HEED_F32, r->dsinks, 1, &c->heads);
    add_reals(l, "dslopes", HEED_F32, r->dslopes, 1, &c->heads);
}

heed_status capture_list_of(capture_list *list, const call *c, const call_results *results, heed_error *error) {
    *list = (capture_list){.n = 0};
    problem_line line = c->line;
    line.layout_bshd = false;
    line.problem.page_size = line.problem.page_count = 0;    // rows lie dense in a capture
    problem_line_print(&line, list->problem, sizeof list->problem);
    const ref_results *r = results == NULL ? NULL : &results->of;
    lister l = {.list = list};
    add_all(&l, c, r);
    list->memory = memory_take(l.used);
    if (list->memory == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for a capture of %zu bytes", l.used);
    *list = (capture_list){.memory = list->memory};
    problem_line_print(&line, list->problem, sizeof list->problem);
    l = (lister){.list = list, .at = list->memory};
    add_all(&l, c, r);
    return HEED_OK;
}
