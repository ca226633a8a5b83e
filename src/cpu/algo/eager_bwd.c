// SPDX-License-Identifier: Apache-2.0
// Backward of all scores of a few rows at a time, kv head by kv head.
//
//     forward: out = w . v      so:  dv += w^T . dout,  dk += draw^T . (scale q),  dq = scale draw . k
#include "cpu/algo/dbias.h"
#include "cpu/algo/grad_tile.h"
#include "cpu/algo/rows.h"
#include "cpu/rates.h"

#include <string.h>

enum { ROWS_AT_ONCE = 24 };

static heed_refusal refuse(const heed_problem *p, const heed_machine *machine) { return refuse_unbuilt(p); }

static double cost(const heed_problem *p, const heed_machine *machine) {
    const rates r = rates_of(machine->cpu);
    const double pair = r.product * (double)(3 * p->channels + 2 * p->value_channels) + 1.5 * r.softmax + 2 * rates_edit_ns(p, &r);
    return r.call + r.pack * rates_floats(p) + rates_all(p) * (1.1 * pair + r.eager);
}

typedef struct {
    grad_tile tile;
    packed_head packed;
    float *dk, *dv, *dq, *delta, *factor;
} scratch;

static size_t scratch_at(const heed_plan *plan, const heed_args *args, char *base, scratch *w) {
    const heed_problem *p = &plan->problem;
    const cpu_product *mm = &plan->machine.cpu->f32;
    const size_t f = sizeof(float), keys = (size_t)p->keys, D = (size_t)p->channels, Dv = (size_t)p->value_channels;
    const size_t n[] = {grad_tile_begin(NULL, plan, args, ROWS_AT_ONCE, p->keys, NULL), packed_bytes(p, mm), size_mul(keys, D * f),
                        size_mul(keys, Dv * f), ROWS_AT_ONCE * D * f, ROWS_AT_ONCE * f, ROWS_CHUNK * f};
    size_t at[sizeof n / sizeof *n], bytes = 0;
    for (size_t i = 0; i < sizeof n / sizeof *n; i++) {
        at[i] = bytes;
        bytes = size_add(bytes, size_align(n[i]));
    }
    if (base == NULL) return bytes;
    grad_tile_begin(&w->tile, plan, args, ROWS_AT_ONCE, p->keys, base);
    w->packed = packed_at(p, mm, base + at[1]);
    w->dk = (float *)(base + at[2]);
    w->dv = (float *)(base + at[3]);
    w->dq = (float *)(base + at[4]);
    w->delta = (float *)(base + at[5]);
    w->factor = (float *)(base + at[6]);
    return bytes;
}

static heed_status plan(heed_plan *plan, heed_error *error) {
    const heed_problem *p = &plan->problem;
    const size_t mine = scratch_at(plan, NULL, NULL, NULL), dbias = dbias_scratch_bytes(plan);
    plan->tile_query = ROWS_AT_ONCE;
    plan->tile_key = p->keys;
    plan->shared_bytes = p->with & HEED_SLOPES ? size_align(size_mul((size_t)(p->batch * p->heads), sizeof(double))) : 0;
    plan->worker_bytes = mine > dbias ? mine : dbias;
    return HEED_OK;
}

typedef struct { const heed_plan *plan; const heed_args *args; } call;

static double *slope_sum(const call *c, int64_t b, int64_t head) {
    return (double *)plan_shared(c->args) + b * c->plan->problem.heads + head;
}

static void run_rows(const call *c, scratch *w, const edit_sequence *s, int64_t head, int64_t row0, bool bad_k) {
    const heed_problem *p = &c->plan->problem;
    const int64_t m = int64_min(ROWS_AT_ONCE, p->queries - row0);
    rows_delta(c->plan, c->args, s, head, row0, m, w->delta);
    memset(w->dq, 0, (size_t)(m * p->channels) * sizeof(float));
    grad_tile_rows(&w->tile, s, head, row0, m, w->delta);
    const heed_rect_class class = s->n_key == 0 ? HEED_RECT_SKIP : edit_classify(s, (edit_rect){head, row0, m, 0, s->n_key});
    if (class != HEED_RECT_SKIP && grad_tile_compute(&w->tile, class, w->packed.k_turned, w->packed.v_turned, 0, s->n_key, bad_k)) {
        grad_tile_add(&w->tile, &w->packed, 0, w->dk, w->dv, w->dq);
        if (c->args->dslopes != NULL) *slope_sum(c, s->batch, head) += grad_tile_slope(&w->tile);
    }
    rows_store_dq(c->plan, c->args, s, head, row0, m, w->dq, w->factor);
}

static void run_head(void *context, int64_t item, int worker) {
    const call *c = context;
    const heed_problem *p = &c->plan->problem;
    const int64_t g = item % p->kv_heads, group = p->heads / p->kv_heads;
    const edit_sequence s = edit_begin(p, c->args, item / p->kv_heads);
    scratch w;
    scratch_at(c->plan, c->args, plan_scratch(c->plan, c->args, worker), &w);
    bool bad_k = false;
    for (int64_t tile = 0; tile * TILE_KEYS < s.n_key; tile++) {
        packed_fill(&w.packed, p, c->args, &c->plan->machine.cpu->f32, s.batch, g, s.n_key, tile);
        bad_k |= w.packed.bad_k[tile] != 0;
    }
    memset(w.dk, 0, (size_t)(p->keys * p->channels) * sizeof(float));
    memset(w.dv, 0, (size_t)(p->keys * p->value_channels) * sizeof(float));
    for (int64_t head = g * group; head < (g + 1) * group; head++) {
        if (c->args->dslopes != NULL) *slope_sum(c, s.batch, head) = 0;
        for (int64_t row0 = 0; row0 < p->queries; row0 += ROWS_AT_ONCE) run_rows(c, &w, &s, head, row0, bad_k);
    }
    const bool nan = rows_nan_group(c->plan, c->args, &s, g);
    if (p->keys > 0) rows_store_dkv(c->plan, c->args, &s, g, 0, p->keys, nan, w.dk, w.dv);
}

static void run_dsink(void *context, int64_t head, int worker) {
    const call *c = context;
    rows_dsink(c->plan, c->args, head, plan_scratch(c->plan, c->args, worker));
}

static void run(const heed_plan *plan, const heed_args *args) {
    const heed_problem *p = &plan->problem;
    call c = {plan, args};
    threads_for(&plan->team, p->batch * p->kv_heads, run_head, &c);
    for (int64_t head = 0; args->dslopes != NULL && head < p->heads; head++) {
        double sum = 0;
        for (int64_t b = 0; b < p->batch; b++) sum += *slope_sum(&c, b, head);
        args->dslopes[head] = (float)sum;
    }
    if (args->dsinks != NULL) threads_for(&plan->team, p->heads, run_dsink, &c);
    if (args->dbias != NULL) dbias_run(plan, args);
}

extern const heed_impl impl_eager_bwd;
const heed_impl impl_eager_bwd = {"cpu.eager", HEED_BACKWARD, false, refuse, cost, plan, run};
