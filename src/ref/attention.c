// SPDX-License-Identifier: Apache-2.0
// The reference: double throughout, no tiles, nothing skipped but what the problem hides. Read attention.inl first.
#define REAL double
#include "ref/attention.inl"

static void finish_row(ref_head *h, int64_t i) { store_row(h, i); }

void ref_compute(const heed_problem *p, const heed_args *a, const ref_results *r, void *scratch) {
    compute(p, a, r, scratch, finish_row);
}

// ---- The same as an implementation --------------------------------------------------------------------------------

static heed_refusal refuse(const heed_problem *p, const heed_machine *machine) { return refuse_unbuilt(p); }

// Some 30 ns a pair and 2 ns a product, in double, on one thread: only so that the report can print it.
static double cost(const heed_problem *p, const heed_machine *machine) {
    const double pairs = (double)p->heads * (double)p->queries * (double)p->keys;
    return pairs * (30 + 2 * (double)(p->channels + p->value_channels) * (p->pass == HEED_BACKWARD ? 3 : 1));
}

typedef struct { int64_t out, lse, dq, dk, dv, dbias, dsinks, dslopes; } sizes;

static sizes sizes_of(const heed_problem *p) {
    const int64_t queries = p->batch * p->heads * p->queries, keys = p->batch * p->kv_heads * p->keys;
    const bool backward = p->pass == HEED_BACKWARD;
    if (!backward) return (sizes){.out = queries * p->value_channels, .lse = queries};
    return (sizes){.dq = queries * p->channels, .dk = keys * p->channels, .dv = keys * p->value_channels,
                   .dbias = p->with & HEED_BIAS ? problem_grid_size(p, p->bias_axes) : 0, .dsinks = p->heads, .dslopes = p->heads};
}

static heed_status plan(heed_plan *plan, heed_error *error) {
    const sizes n = sizes_of(&plan->problem);
    const int64_t all[] = {n.out, n.lse, n.dq, n.dk, n.dv, n.dbias, n.dsinks, n.dslopes};
    size_t bytes = size_align(scratch_bytes(&plan->problem));
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        bytes = size_add(bytes, size_align(size_mul((size_t)all[i], sizeof(double))));
    plan->shared_bytes = bytes;
    return HEED_OK;
}

static double *take(char **at, int64_t n, bool wanted) {
    double *array = (double *)*at;
    *at += size_align((size_t)n * sizeof(double));
    return wanted && n > 0 ? array : NULL;
}

static void store_rows(const heed_problem *p, int which, void *to, const double *from) {
    const problem_array a = problem_array_of(p, which);
    for (int64_t b = 0; b < p->batch; b++)
        for (int64_t h = 0; h < a.heads; h++)
            for (int64_t t = 0; t < a.tokens; t++)
                for (int64_t c = 0; c < a.channels; c++)
                    dtype_store(a.dtype, row_at_mut(a.dtype, to, a.stride, b, h, t), c, (float)*from++);
}

static void store_plain(heed_dtype type, void *to, const double *from, int64_t n) {
    for (int64_t i = 0; from != NULL && i < n; i++) dtype_store(type, to, i, (float)from[i]);
}

static void run(const heed_plan *plan, const heed_args *a) {
    const heed_problem *p = &plan->problem;
    const sizes n = sizes_of(p);
    char *at = plan_shared(a);
    void *scratch = at;
    at += size_align(scratch_bytes(p));
    ref_results r = {.out = take(&at, n.out, true), .lse = take(&at, n.lse, a->lse != NULL)};
    r.dq = take(&at, n.dq, true);
    r.dk = take(&at, n.dk, true);
    r.dv = take(&at, n.dv, true);
    r.dbias = take(&at, n.dbias, a->dbias != NULL);
    r.dsinks = take(&at, n.dsinks, a->dsinks != NULL);
    r.dslopes = take(&at, n.dslopes, a->dslopes != NULL);
    ref_compute(p, a, &r, scratch);
    if (p->pass == HEED_FORWARD) {
        store_rows(p, PROBLEM_OUT, a->out, r.out);
        store_plain(HEED_F32, a->lse, r.lse, n.lse);
        return;
    }
    store_rows(p, PROBLEM_DQ, a->dq, r.dq);
    if (r.dk != NULL) store_rows(p, PROBLEM_DK, a->dk, r.dk);
    if (r.dv != NULL) store_rows(p, PROBLEM_DV, a->dv, r.dv);
    store_plain(p->bias_dtype, a->dbias, r.dbias, n.dbias);
    store_plain(HEED_F32, a->dsinks, r.dsinks, n.dsinks);
    store_plain(HEED_F32, a->dslopes, r.dslopes, n.dslopes);
}

extern const heed_impl impl_ref, impl_ref_bwd;
const heed_impl impl_ref = {"ref", HEED_FORWARD, true, refuse, cost, plan, run};
const heed_impl impl_ref_bwd = {"ref", HEED_BACKWARD, true, refuse, cost, plan, run};
