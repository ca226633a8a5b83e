// SPDX-License-Identifier: Apache-2.0
// Forward attention as it is written down: all scores of a few rows, masks and edits over every one of them, softmax, product.
// Nothing is skipped. The plain one to compare with, and the cheapest where everything fits into one tile anyway.
#include "cpu/algo/eager_rows.h"
#include "cpu/algo/packed.h"
#include "cpu/algo/rows.h"
#include "cpu/rates.h"

#include <math.h>
#include <string.h>

enum { ROWS_AT_ONCE = 24 };    // their scores of 1024 keys are 96 KB: L2

static heed_refusal refuse(const heed_problem *p, const heed_machine *machine) { return refuse_unbuilt(p); }

static double cost(const heed_problem *p, const heed_machine *machine) {
    const rates r = rates_of(machine->cpu);
    const double pair = r.product * (double)(p->channels + p->value_channels) + r.softmax + rates_edit_ns(p, &r);
    if (eager_rows_suit(p)) return r.call + 0.5 * r.pack * rates_floats(p) + rates_all(p) * (2 * pair + r.eager);
    return r.call + r.pack * rates_floats(p) + rates_all(p) * (1.1 * pair + r.eager);
}

typedef struct {
    float *q, *s, *o, *max, *sum, *factor, *row;
    uint8_t *seen;
    double *mean;
    int64_t ld;    // of s and seen
} scratch;

static size_t scratch_at(const heed_problem *p, char *base, scratch *to) {
    const int64_t ld = p->keys + 16;    // rows whose length is a multiple of 4 KB would thrash L1
    const size_t scores = size_mul(ROWS_AT_ONCE, (size_t)ld), f = sizeof(float);
    const size_t q = size_mul(ROWS_AT_ONCE, (size_t)p->channels * f), row = (size_t)p->value_channels * f;
    const size_t n[] = {q, size_mul(scores, f), size_mul(ROWS_AT_ONCE, row), ROWS_AT_ONCE * f, ROWS_AT_ONCE * f, ROWS_AT_ONCE * f,
                        row, scores, 2 * row};
    size_t at[sizeof n / sizeof *n], bytes = 0;
    for (size_t i = 0; i < sizeof n / sizeof *n; i++) {
        at[i] = bytes;
        bytes = size_add(bytes, size_align(n[i]));
    }
    if (to == NULL) return bytes;
    *to = (scratch){(float *)(base + at[0]), (float *)(base + at[1]), (float *)(base + at[2]), (float *)(base + at[3]),
                    (float *)(base + at[4]), (float *)(base + at[5]), (float *)(base + at[6]), (uint8_t *)(base + at[7]),
                    (double *)(base + at[8]), ld};
    return bytes;
}

static heed_status plan(heed_plan *plan, heed_error *error) {
    const heed_problem *p = &plan->problem;
    plan->tile_query = ROWS_AT_ONCE;
    plan->tile_key = p->keys;
    if (eager_rows_suit(p)) {
        plan->tile_query = p->queries;
        plan->worker_bytes = eager_rows_bytes(p);
        return HEED_OK;
    }
    plan->shared_bytes = size_mul((size_t)(p->batch * p->kv_heads), packed_bytes(p, &plan->machine.cpu->f32));
    plan->worker_bytes = scratch_at(p, NULL, NULL);
    return HEED_OK;
}

typedef struct { const heed_plan *plan; const heed_args *args; } call;

// scores, edits, softmax, dropout, o = P V of the rows at hand over all keys.
static void all_keys(const call *c, const edit_sequence *s, const packed_head *packed, edit_rect r, const scratch *w) {
    const heed_problem *p = &c->plan->problem;
    const cpu_product *mm = &c->plan->machine.cpu->f32;
    const int64_t D = p->channels, Dv = p->value_channels, n = r.keys, g = r.head / (p->heads / p->kv_heads);
    bool bad = false;
    for (int64_t tile = 0; tile * TILE_KEYS < n; tile++) bad |= packed->bad_v[tile] != 0;
    const bool masked = edit_classify(s, r) != HEED_RECT_KEEP;
    mm->mm(r.rows, n, D, w->q, D, packed->k_turned, D, w->s, w->ld, false);
    if (masked || edit_has_scores(p)) edit_tile(s, r, w->s, w->ld, masked);
    if (bad) packed_mark_seen(r.rows, n, w->s, w->ld, NULL, NULL, w->seen, w->ld);
    mm->softmax(r.rows, n, w->s, w->ld, NULL, NULL, w->max, w->sum, w->o, Dv, Dv);
    if (p->dropout > 0) {
        const dropout d = dropout_of(p->dropout, c->args->seed, s->batch, r.head);
        c->plan->machine.cpu->dropout(r.rows, n, w->s, w->ld, &d, r.row0, 0);
    }
    mm->mm(r.rows, Dv, n, w->s, w->ld, packed->v, packed->rows, w->o, Dv, false);
    if (!bad) return;
    const bad_rows rows = {p->kv_dtype, row_at(p->kv_dtype, c->args->v, p->v, s->batch, g, 0), p->v.token, Dv, 1.0f, w->row};
    packed_mend(&rows, false, r.rows, n, w->s, w->ld, w->seen, w->ld, w->o, Dv);
}

static void attend(void *context, int64_t item, int worker) {
    const call *c = context;
    const heed_plan *plan = c->plan;
    const heed_problem *p = &plan->problem;
    const int64_t blocks = int64_ceil_div(p->queries, ROWS_AT_ONCE), head = item / blocks % p->heads, b = item / blocks / p->heads;
    const int64_t row0 = item % blocks * ROWS_AT_ONCE, m = int64_min(ROWS_AT_ONCE, p->queries - row0), D = p->channels;
    const edit_sequence s = edit_begin(p, c->args, b);
    const packed_head packed = packed_shared(c->plan, c->args, b, head / (p->heads / p->kv_heads));
    scratch w;
    scratch_at(p, plan_scratch(plan, c->args, worker), &w);
    const void *q = row_at(p->dtype, c->args->q, p->q, b, head, row0);
    plan->machine.cpu->f32.rows_of(w.q, m, D, D, p->dtype, q, p->q.token, (float)p->scale);
    memset(w.o, 0, (size_t)(m * p->value_channels) * sizeof(float));
    for (int64_t r = 0; r < m; r++) w.max[r] = -INFINITY, w.sum[r] = 0.0f;
    if (s.n_key > 0) all_keys(c, &s, &packed, (edit_rect){head, row0, m, 0, s.n_key}, &w);
    rows_finish(plan, c->args, &s, head, row0, m, &(rows_state){w.o, p->value_channels, w.max, w.sum, w.factor, w.mean});
}

static void run(const heed_plan *plan, const heed_args *args) {
    const heed_problem *p = &plan->problem;
    call c = {plan, args};
    if (eager_rows_suit(p)) {
        eager_rows_run(plan, args);
        return;
    }
    packed_fill_all(plan, args);
    threads_for(&plan->team, p->batch * p->heads * int64_ceil_div(p->queries, ROWS_AT_ONCE), attend, &c);
}

extern const heed_impl impl_eager;
const heed_impl impl_eager = {"cpu.eager", HEED_FORWARD, false, refuse, cost, plan, run};
