// SPDX-License-Identifier: Apache-2.0
#include "compare/call_run.h"

#include "base/dtype.h"
#include "base/error.h"
#include "base/memory.h"
#include "compare/formula.h"
#include "core/problem.h"

#include <stdio.h>
#include <string.h>

// The call's arrays in their storage types, and room for what comes out.
typedef struct {
    heed_problem problem;
    heed_args args;
    void *block[16];
    int blocks;
    bool failed;
} stored_call;

static void *take(stored_call *s, int64_t n, heed_dtype type) {
    void *block = memory_take_zeroed(size_mul((size_t)(n > 0 ? n : 1), dtype_bytes(type)));
    s->failed |= block == NULL;
    if (block != NULL) s->block[s->blocks++] = block;
    return block;
}

static void *store(stored_call *s, const double *from, int64_t n, heed_dtype type) {
    if (from == NULL) return NULL;
    void *to = take(s, n, type);
    for (int64_t i = 0; to != NULL && i < n; i++) dtype_store(type, to, i, (float)from[i]);
    return to;
}

static void stored_free(stored_call *s) {
    for (int i = 0; i < s->blocks; i++) memory_free(s->block[i]);
}

// q and k after rotary, where the claim has it; v.
static heed_status store_tensors(stored_call *s, const call *c, heed_error *error) {
    const heed_problem *p = &s->problem;
    const int64_t n_q = c->batch * c->heads * c->queries * c->channels, heads = c->batch * c->kv_heads;
    formula f;
    variant v = variant_of(c);
    v.rope.round_result = v.rope.layout != ROPE_NONE;
    const heed_status status = formula_begin(&f, c, &v, NULL, error);
    if (status != HEED_OK) return status;
    s->args.q = store(s, f.query, n_q, p->dtype);
    s->args.v = store(s, c->v, heads * c->keys * c->value_channels, p->kv_dtype);
    void *k = take(s, heads * c->keys * c->channels, p->kv_dtype);
    for (int64_t i = 0; k != NULL && i < heads * c->keys * c->channels; i++) {
        const int64_t t = i % c->channels, j = i / c->channels % c->keys, head = i / c->channels / c->keys;
        dtype_store(p->kv_dtype, k, i, (float)f.key_t[(head * c->channels + t) * c->keys + j]);
    }
    s->args.k = k;
    formula_end(&f);
    return HEED_OK;
}

static void store_rest(stored_call *s, const call *c) {
    const heed_problem *p = &s->problem;
    heed_args *a = &s->args;
    const int64_t rows = c->batch * c->heads * c->queries;
    a->sinks = store(s, c->sinks, c->heads, HEED_F32);
    a->slopes = store(s, c->slopes, c->heads, HEED_F32);
    a->bias = store(s, c->bias, c->bias == NULL ? 0 : problem_grid_size(&c->problem, c->problem.bias_axes), p->bias_dtype);
    a->mask = c->mask;
    a->key_range = c->key_range;
    a->key_count = c->key_count;
    a->offsets = c->offsets;
    a->documents = c->documents;
    a->seed = c->line.seed;
    a->out = take(s, rows * c->value_channels, p->dtype);
    a->lse = take(s, rows, HEED_F32);
}

static heed_status run_plan(stored_call *s, const heed_choice *choice, char name[64], heed_error *error) {
    heed_plan *plan;
    heed_status status = heed_plan_create(&plan, &s->problem, choice, error);
    if (status != HEED_OK) return status;
    snprintf(name, 64, "%s", heed_plan_implementation(plan));
    s->args.workspace_bytes = heed_workspace_bytes(plan);
    s->args.workspace = memory_take(s->args.workspace_bytes > 0 ? s->args.workspace_bytes : 1);
    if (s->args.workspace == NULL)
        status = error_set(error, HEED_NO_MEMORY, "no memory for a workspace of %zu bytes", s->args.workspace_bytes);
    if (status == HEED_OK) status = heed_run(plan, &s->args, error);
    memory_free(s->args.workspace);
    s->args.workspace = NULL;
    heed_plan_destroy(plan);
    return status;
}

static double *load(double **at, const void *from, int64_t n, heed_dtype type) {
    double *to = *at;
    for (int64_t i = 0; i < n; i++) to[i] = (double)dtype_load(type, from, i);
    *at += n;
    return to;
}

// The backward pass of the same arrays, from the forward results that are there.
static heed_status run_backward(stored_call *s, const call *c, const heed_choice *choice, char name[64], heed_error *error) {
    const heed_problem *p = &s->problem;
    heed_args *a = &s->args;
    const int64_t rows = c->batch * c->heads * c->queries, keys = c->batch * c->kv_heads * c->keys;
    a->dout = store(s, c->dout, rows * c->value_channels, p->dtype);
    a->dq = take(s, rows * c->channels, p->dtype);
    a->dk = take(s, keys * c->channels, p->kv_dtype);
    a->dv = take(s, keys * c->value_channels, p->kv_dtype);
    if (p->with & HEED_BIAS) a->dbias = take(s, problem_grid_size(&c->problem, c->problem.bias_axes), p->bias_dtype);
    if (p->with & HEED_SINKS) a->dsinks = take(s, c->heads, HEED_F32);
    if (p->with & HEED_SLOPES) a->dslopes = take(s, c->heads, HEED_F32);
    if (s->failed) return error_set(error, HEED_NO_MEMORY, "no memory for the gradients of a call");
    s->problem.pass = HEED_BACKWARD;
    return run_plan(s, choice, name, error);
}

static heed_status take_results(call_results *r, const stored_call *s, const call *c, heed_error *error) {
    const heed_problem *p = &s->problem;
    const heed_args *a = &s->args;
    const int64_t rows = c->batch * c->heads * c->queries, keys = c->batch * c->kv_heads * c->keys;
    const int64_t bias = a->dbias == NULL ? 0 : problem_grid_size(&c->problem, c->problem.bias_axes);
    const int64_t forward = rows * (c->value_channels + 1);
    const int64_t gradients = rows * c->channels + keys * (c->channels + c->value_channels) + bias + 2 * c->heads;
    const int64_t backward = a->dq == NULL ? 0 : gradients;
    double *at = r->memory = memory_take(size_mul((size_t)(forward + backward + 1), sizeof(double)));
    if (at == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for the results of a call");
    r->of.out = load(&at, a->out, rows * c->value_channels, p->dtype);
    r->of.lse = load(&at, a->lse, rows, HEED_F32);
    if (a->dq == NULL) return HEED_OK;
    r->of.dq = load(&at, a->dq, rows * c->channels, p->dtype);
    r->of.dk = load(&at, a->dk, keys * c->channels, p->kv_dtype);
    r->of.dv = load(&at, a->dv, keys * c->value_channels, p->kv_dtype);
    if (a->dbias != NULL) r->of.dbias = load(&at, a->dbias, bias, p->bias_dtype);
    if (a->dsinks != NULL) r->of.dsinks = load(&at, a->dsinks, c->heads, HEED_F32);
    if (a->dslopes != NULL) r->of.dslopes = load(&at, a->dslopes, c->heads, HEED_F32);
    return HEED_OK;
}

// Gradients by q and k as they were given: turned back, and rounded once more, as a model's own backward pass does.
static heed_status turn_results_back(call_results *r, const call *c, heed_error *error) {
    const heed_problem *p = &c->problem;
    const variant v = variant_of(c);
    formula f = {.memory = NULL};
    if (v.rope.layout == ROPE_NONE || r->of.dq == NULL) return HEED_OK;
    heed_status status = formula_begin(&f, c, &v, NULL, error);
    if (status == HEED_OK) status = formula_inputs_back(&f, &r->of, NULL, error);
    formula_end(&f);
    const int64_t rows = c->batch * c->heads * c->queries * c->channels, keys = c->batch * c->kv_heads * c->keys * c->channels;
    for (int64_t i = 0; i < rows; i++) r->of.dq[i] = formula_round(p->dtype, r->of.dq[i]);
    for (int64_t i = 0; i < keys; i++) r->of.dk[i] = formula_round(p->kv_dtype, r->of.dk[i]);
    return status;
}

heed_status call_run(call_results *r, const call *c, const heed_choice *choice, const char *preset, heed_error *error) {
    *r = (call_results){.memory = NULL};
    stored_call s = {.problem = c->problem};
    const bool backward = c->problem.pass == HEED_BACKWARD;
    s.problem.pass = HEED_FORWARD;
    if (s.problem.keys == 0) s.problem.keys = HEED_NO_KEYS;    // the claim is complete, where 0 means none; a plan completes again
    if (c->problem.page_size > 0)    // a claim about pages is a claim about their order: the rows lie dense here
        s.problem.page_size = s.problem.page_count = 0;
    heed_status status = preset == NULL ? HEED_OK : heed_problem_preset(&s.problem, preset, error);
    if (status == HEED_OK) status = store_tensors(&s, c, error);
    if (status == HEED_OK) store_rest(&s, c);
    if (status == HEED_OK && s.failed) status = error_set(error, HEED_NO_MEMORY, "no memory for the arrays of a call");
    if (status == HEED_OK) status = run_plan(&s, choice, r->implementation, error);
    if (status == HEED_OK && backward) status = run_backward(&s, c, choice, r->implementation, error);
    if (status == HEED_OK) status = take_results(r, &s, c, error);
    if (status == HEED_OK) status = turn_results_back(r, c, error);
    stored_free(&s);
    if (status != HEED_OK) call_results_free(r);
    return status;
}

void call_results_free(call_results *r) {
    memory_free(r->memory);
    r->memory = NULL;
}

observed call_results_observed(const call_results *r) {
    const ref_results *of = &r->of;
    return (observed){.out = of->out, .lse = of->lse, .dq = of->dq, .dk = of->dk, .dv = of->dv, .dsinks = of->dsinks,
                      .dslopes = of->dslopes, .dbias = of->dbias};
}
