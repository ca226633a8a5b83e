// SPDX-License-Identifier: Apache-2.0
// Items are tiles of dbias over the axes it has; inside, the other axes are looped over in order and every score tile is
// recomputed. Sums are double: an axis that broadcasts may have thousands of terms.
#include "cpu/algo/dbias.h"

#include "core/problem.h"
#include "cpu/algo/grad_tile.h"
#include "cpu/algo/rows.h"

enum { TILE_ROWS = 48 };

// Memory of a worker: the tile, K and V of its keys, D of its rows, the sums.
typedef struct {
    grad_tile tile;
    float *k_turned, *v_turned, *delta;
    double *sum;
} scratch;

static size_t scratch_at(const heed_plan *plan, const heed_args *args, char *base, scratch *w) {
    const heed_problem *p = &plan->problem;
    const cpu_product *mm = &plan->machine.cpu->f32;
    const size_t tile = grad_tile_begin(NULL, plan, args, TILE_ROWS, TILE_KEYS, NULL);
    const size_t k = mm->b_bytes(p->channels, TILE_KEYS), v = mm->b_bytes(p->value_channels, TILE_KEYS);
    const size_t delta = size_align(TILE_ROWS * sizeof(float)), sum = size_align(TILE_ROWS * TILE_KEYS * sizeof(double));
    if (base != NULL) {
        grad_tile_begin(&w->tile, plan, args, TILE_ROWS, TILE_KEYS, base);
        w->k_turned = (float *)(base + tile);
        w->v_turned = (float *)(base + tile + k);
        w->delta = (float *)(base + tile + k + v);
        w->sum = (double *)(base + tile + k + v + delta);
    }
    return size_add(tile, size_add(k, size_add(v, delta + sum)));
}

size_t dbias_scratch_bytes(const heed_plan *plan) {
    return plan->problem.with & HEED_BIAS ? scratch_at(plan, NULL, NULL, NULL) : 0;
}

// [first, end) along each axis, in heads, sequences, rows and keys.
typedef struct { int64_t batch, batch_end, head, head_end, row, row_end, key, key_end; } region;

typedef struct {
    const heed_plan *plan;
    const heed_args *args;
    int64_t batches, heads, row_tiles, key_tiles;    // items along each axis; 1 where dbias lacks it
} call;

static void add_tile(const grad_tile *t, unsigned axes, const region *at, double *sum) {
    for (int64_t r = 0; r < t->rows; r++) {
        double *to = sum + (axes & HEED_AXIS_QUERY ? (t->row0 + r - at->row) * TILE_KEYS : 0);
        const float *from = t->dterm + r * t->ld;
        if (axes & HEED_AXIS_KEY) {
            for (int64_t j = 0; j < t->n; j++) to[t->key - at->key + j] += (double)from[j];
        } else {
            for (int64_t j = 0; j < t->n; j++) to[0] += (double)from[j];
        }
    }
}

// All row tiles of the region against one tile of keys of one head.
static void sum_keys(const call *c, scratch *w, const region *at, const edit_sequence *s, int64_t head, int64_t key0) {
    const heed_problem *p = &c->plan->problem;
    const cpu_product *mm = &c->plan->machine.cpu->f32;
    const int64_t g = head / (p->heads / p->kv_heads), keys = int64_min(TILE_KEYS, s->n_key - key0);
    if (keys <= 0) return;
    const void *k = row_at(p->kv_dtype, c->args->k, p->k, s->batch, g, key0);
    const void *v = row_at(p->kv_dtype, c->args->v, p->v, s->batch, g, key0);
    mm->pack_bt(w->k_turned, p->channels, keys, p->kv_dtype, k, p->k.token);
    mm->pack_bt(w->v_turned, p->value_channels, keys, p->kv_dtype, v, p->v.token);
    for (int64_t row0 = at->row; row0 < at->row_end; row0 += TILE_ROWS) {
        const int64_t rows = int64_min(TILE_ROWS, at->row_end - row0);
        const heed_rect_class class = edit_classify(s, (edit_rect){head, row0, rows, key0, keys});
        if (class == HEED_RECT_SKIP) continue;
        rows_delta(c->plan, c->args, s, head, row0, rows, w->delta);
        grad_tile_rows(&w->tile, s, head, row0, rows, w->delta);
        if (!grad_tile_compute(&w->tile, class, w->k_turned, w->v_turned, key0, keys, false)) continue;
        add_tile(&w->tile, p->bias_axes, at, w->sum);
    }
}

static void store(const call *c, const region *at, const double *sum) {
    const heed_problem *p = &c->plan->problem;
    const heed_grid_stride to = problem_grid_dense(p, p->bias_axes);
    const int64_t rows = p->bias_axes & HEED_AXIS_QUERY ? at->row_end - at->row : 1;
    const int64_t keys = p->bias_axes & HEED_AXIS_KEY ? at->key_end - at->key : 1;
    const int64_t origin = at->batch * to.batch + at->head * to.head + at->row * to.query + at->key * to.key;
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t j = 0; j < keys; j++) {
            dtype_store(p->bias_dtype, c->args->dbias, origin + r * to.query + j * to.key, (float)sum[r * TILE_KEYS + j]);
        }
    }
}

static void run_tile(void *context, int64_t item, int worker) {
    const call *c = context;
    const heed_problem *p = &c->plan->problem;
    const int64_t key_tile = item % c->key_tiles, row_tile = item / c->key_tiles % c->row_tiles;
    const int64_t head = item / c->key_tiles / c->row_tiles % c->heads, batch = item / c->key_tiles / c->row_tiles / c->heads;
    region at = {0, p->batch, 0, p->heads, 0, p->queries, 0, p->keys};
    if (p->bias_axes & HEED_AXIS_BATCH) at.batch = batch, at.batch_end = batch + 1;
    if (p->bias_axes & HEED_AXIS_HEAD) at.head = head, at.head_end = head + 1;
    if (p->bias_axes & HEED_AXIS_QUERY) at.row = row_tile * TILE_ROWS, at.row_end = int64_min(at.row + TILE_ROWS, p->queries);
    if (p->bias_axes & HEED_AXIS_KEY) at.key = key_tile * TILE_KEYS, at.key_end = int64_min(at.key + TILE_KEYS, p->keys);
    scratch w;
    scratch_at(c->plan, c->args, plan_scratch(c->plan, c->args, worker), &w);
    for (int64_t i = 0; i < TILE_ROWS * TILE_KEYS; i++) w.sum[i] = 0;
    for (int64_t b = at.batch; b < at.batch_end; b++) {
        const edit_sequence s = edit_begin(p, c->args, b);
        for (int64_t h = at.head; h < at.head_end; h++) {
            for (int64_t key0 = at.key; key0 < at.key_end; key0 += TILE_KEYS) sum_keys(c, &w, &at, &s, h, key0);
        }
    }
    store(c, &at, w.sum);
}

void dbias_run(const heed_plan *plan, const heed_args *args) {
    const heed_problem *p = &plan->problem;
    call c = {plan, args, 1, 1, 1, 1};
    if (p->bias_axes & HEED_AXIS_BATCH) c.batches = p->batch;
    if (p->bias_axes & HEED_AXIS_HEAD) c.heads = p->heads;
    if (p->bias_axes & HEED_AXIS_QUERY) c.row_tiles = int64_ceil_div(p->queries, TILE_ROWS);
    if (p->bias_axes & HEED_AXIS_KEY) c.key_tiles = int64_ceil_div(p->keys, TILE_KEYS);
    threads_for(&plan->team, c.batches * c.heads * c.row_tiles * c.key_tiles, run_tile, &c);
}
