// SPDX-License-Identifier: Apache-2.0
// K and V are read as they lie, a tile of keys at a time for all rows of the group. Hidden weights are exactly 0, and add_rows
// leaves out what has weight 0: a hidden row of V is never touched.
#include "cpu/algo/eager_rows.h"

#include "cpu/algo/packed.h"
#include "cpu/algo/rows.h"

#include <math.h>
#include <string.h>

enum { FEW_ROWS = 4 };    // of a group: beyond, the register block of a packed product pays

bool eager_rows_suit(const heed_problem *p) { return p->queries * (p->heads / p->kv_heads) <= FEW_ROWS; }

// All rows of a kv head's group: row r is row r % queries of head r / queries.
typedef struct { float *q, *s, *o, *max, *sum, *factor; uint8_t *seen; double *mean; } scratch;

static size_t scratch_at(const heed_problem *p, char *base, scratch *w) {
    const size_t f = sizeof(float), D = (size_t)p->channels, Dv = (size_t)p->value_channels, keys = (size_t)p->keys;
    const size_t n[] = {FEW_ROWS * D * f, size_mul(FEW_ROWS * f, keys), FEW_ROWS * Dv * f, FEW_ROWS * f, FEW_ROWS * f, FEW_ROWS * f,
                        size_mul(FEW_ROWS, keys), Dv * sizeof(double)};
    size_t at[sizeof n / sizeof *n], bytes = 0;
    for (size_t i = 0; i < sizeof n / sizeof *n; i++) {
        at[i] = bytes;
        bytes = size_add(bytes, size_align(n[i]));
    }
    if (base == NULL) return bytes;
    *w = (scratch){(float *)(base + at[0]), (float *)(base + at[1]), (float *)(base + at[2]), (float *)(base + at[3]),
                   (float *)(base + at[4]), (float *)(base + at[5]), (uint8_t *)(base + at[6]), (double *)(base + at[7])};
    return bytes;
}

size_t eager_rows_bytes(const heed_problem *p) { return scratch_at(p, NULL, NULL); }

typedef struct { const heed_plan *plan; const heed_args *args; } call;

// A seen key whose weight has become 0, or was dropped, still passes on NaN: 0 * NaN, 0 * Inf.
// Where the sum of squares is finite, so is the row: one look at it instead of one at each value.
static void add_lost(const heed_plan *plan, const void *v, int64_t keys, const float *weight, const uint8_t *seen, float *o) {
    const heed_problem *p = &plan->problem;
    for (int64_t j = 0; j < keys; j++) {
        if (weight[j] != 0.0f || !seen[j]) continue;
        const void *row = row_at(p->kv_dtype, v, p->v, 0, 0, j);
        float squares;
        plan->machine.cpu->row_dots(1, p->value_channels, p->kv_dtype, row, p->v.token, row, p->v.token, &squares);
        if (isfinite(squares)) continue;
        for (int64_t c = 0; c < p->value_channels; c++) o[c] += 0.0f * dtype_load(p->kv_dtype, v, j * p->v.token + c);
    }
}

static void run_group(void *context, int64_t item, int worker) {
    const call *c = context;
    const heed_problem *p = &c->plan->problem;
    const cpu_kernels *cpu = c->plan->machine.cpu;
    const int64_t b = item / p->kv_heads, g = item % p->kv_heads, group = p->heads / p->kv_heads, rows = group * p->queries;
    const int64_t D = p->channels, Dv = p->value_channels, Q = p->queries;
    const edit_sequence s = edit_begin(p, c->args, b);
    scratch w;
    scratch_at(p, plan_scratch(c->plan, c->args, worker), &w);
    for (int64_t i = 0; i < group; i++) {
        const void *q = row_at(p->dtype, c->args->q, p->q, b, g * group + i, 0);
        cpu->f32.rows_of(w.q + i * Q * D, Q, D, D, p->dtype, q, p->q.token, (float)p->scale);
    }
    for (int64_t key = 0; key < s.n_key; key += TILE_KEYS) {
        const int64_t keys = int64_min(TILE_KEYS, s.n_key - key);
        const void *k = row_at(p->kv_dtype, c->args->k, p->k, b, g, key);
        for (int64_t r = 0; r < rows; r++) cpu->dot_rows(keys, D, p->kv_dtype, k, p->k.token, w.q + r * D, w.s + r * s.n_key + key);
    }
    for (int64_t r = 0; r < rows; r++) w.max[r] = -INFINITY, w.sum[r] = 0.0f;
    for (int64_t i = 0; i < group && s.n_key > 0; i++) {
        edit_tile(&s, (edit_rect){g * group + i, 0, Q, 0, s.n_key}, w.s + i * Q * s.n_key, s.n_key, true);
    }
    packed_mark_seen(rows, s.n_key, w.s, s.n_key, NULL, NULL, w.seen, s.n_key);
    memset(w.o, 0, (size_t)(rows * Dv) * sizeof(float));
    cpu->f32.softmax(rows, s.n_key, w.s, s.n_key, NULL, NULL, w.max, w.sum, w.o, Dv, Dv);
    for (int64_t i = 0; p->dropout > 0 && i < group; i++) {
        const dropout d = dropout_of(p->dropout, c->args->seed, b, g * group + i);
        cpu->dropout(Q, s.n_key, w.s + i * Q * s.n_key, s.n_key, &d, 0, 0);
    }
    for (int64_t key = 0; key < s.n_key; key += TILE_KEYS) {
        const int64_t keys = int64_min(TILE_KEYS, s.n_key - key);
        const void *v = row_at(p->kv_dtype, c->args->v, p->v, b, g, key);
        for (int64_t r = 0; r < rows; r++) {
            const float *weight = w.s + r * s.n_key + key;
            cpu->add_rows(keys, Dv, p->kv_dtype, v, p->v.token, weight, w.o + r * Dv);
            add_lost(c->plan, v, keys, weight, w.seen + r * s.n_key + key, w.o + r * Dv);
        }
    }
    for (int64_t i = 0; i < group; i++) {
        rows_finish(c->plan, c->args, &s, g * group + i, 0, Q,
                    &(rows_state){w.o + i * Q * Dv, Dv, w.max + i * Q, w.sum + i * Q, w.factor, w.mean});
    }
}

void eager_rows_run(const heed_plan *plan, const heed_args *args) {
    call c = {plan, args};
    threads_for(&plan->team, plan->problem.batch * plan->problem.kv_heads, run_group, &c);
}
