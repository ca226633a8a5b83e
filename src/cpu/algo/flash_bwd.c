// SPDX-License-Identifier: Apache-2.0
// Backward by tiles (Dao 2023, section 3.1): key tiles outer, query tiles inner, dQ gathered in key order. A kv head with its
// group of query heads is one item of work; where there are few kv heads, its keys are cut into ranges, each with its own dQ,
// which are added in order. The cut is a function of one sequence's shape, so the bits do not depend on the threads.
//
//     forward: out = w . v      so:  dv += w^T . dout,  dk += draw^T . (scale q),  dq += scale draw . k
#include "core/blocks.h"
#include "cpu/algo/dbias.h"
#include "cpu/algo/grad_tile.h"
#include "cpu/algo/rows.h"
#include "cpu/rates.h"

#include <string.h>

enum {
    TILE_ROWS = 48,     // P and dS of 48 x 256, the panels of K and V and the sums of dK and dV share L2
    ITEMS_WANTED = 8,   // enough to keep a few workers level, few enough that the dQ of ranges stay small
    NOTE_AT_ONCE = 0,   // plan->note: sequences that are in shared memory at once, with ranges
    NOTE_LISTS = 1,     // where in the shared memory the block lists begin
};

static blocks_shape lists_of(const heed_problem *p) { return blocks_shape_of(p, TILE_ROWS, TILE_KEYS); }

static heed_refusal refuse(const heed_problem *p, const heed_machine *machine) { return refuse_unbuilt(p); }

static double cost(const heed_problem *p, const heed_machine *machine) {
    const rates r = rates_of(machine->cpu);
    const double products = r.product * (double)(3 * p->channels + 2 * p->value_channels);
    return r.call + r.pack * rates_floats(p) + rates_visible(p) * (products + 1.5 * r.softmax + 2 * rates_edit_ns(p, &r));
}

// ---- Memory -------------------------------------------------------------------------------------------------------

static int64_t key_tiles(const heed_problem *p) { return int64_ceil_div(p->keys, TILE_KEYS); }
static int64_t row_tiles(const heed_problem *p) { return int64_ceil_div(p->queries, TILE_ROWS); }
static int64_t group_of(const heed_problem *p) { return p->heads / p->kv_heads; }

static int64_t ranges_of(const heed_problem *p) {
    const int64_t wanted = int64_ceil_div(ITEMS_WANTED, p->kv_heads);
    return int64_max(1, int64_min(wanted, key_tiles(p)));
}

static size_t dq_bytes(const heed_problem *p) {    // of one kv head's group
    const size_t rows = size_mul((size_t)group_of(p), (size_t)p->queries);
    return size_align(size_mul(rows, size_mul((size_t)p->channels, sizeof(float))));
}

static size_t slope_bytes(const heed_problem *p) {
    return p->with & HEED_SLOPES ? size_align(size_mul((size_t)(p->batch * p->heads * ranges_of(p)), sizeof(double))) : 0;
}

// One worker's memory.
typedef struct {
    grad_tile tile;
    float *dk, *dv, *delta, *factor;
    int64_t *seen;        // (group, row tiles, 2): the keys that each tile of rows can see lie between
    char *packed, *dq;    // where the kv head is one item
    void *blocks;
} scratch;

static size_t scratch_at(const heed_plan *plan, const heed_args *args, char *base, scratch *w) {
    const heed_problem *p = &plan->problem;
    const cpu_product *mm = &plan->machine.cpu->f32;
    const size_t whole = ranges_of(p) == 1 ? 1 : 0;
    const blocks_shape lists = lists_of(p);
    const size_t bytes[] = {
        grad_tile_begin(NULL, plan, args, TILE_ROWS, TILE_KEYS, NULL),
        size_align((size_t)(TILE_KEYS * p->channels) * sizeof(float)),
        size_align((size_t)(TILE_KEYS * p->value_channels) * sizeof(float)),
        size_align(size_mul(size_mul((size_t)group_of(p), (size_t)p->queries), sizeof(float))),
        size_align(ROWS_CHUNK * sizeof(float)),
        size_align(size_mul((size_t)group_of(p), size_mul((size_t)row_tiles(p), 2 * sizeof(int64_t)))),
        whole * packed_bytes(p, mm), whole * dq_bytes(p), blocks_scratch_bytes(&lists),
    };
    size_t at[sizeof bytes / sizeof *bytes], sum = 0;
    for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++) {
        at[i] = sum;
        sum = size_add(sum, bytes[i]);
    }
    if (base == NULL) return sum;
    grad_tile_begin(&w->tile, plan, args, TILE_ROWS, TILE_KEYS, base);
    w->dk = (float *)(base + at[1]);
    w->dv = (float *)(base + at[2]);
    w->delta = (float *)(base + at[3]);
    w->factor = (float *)(base + at[4]);
    w->seen = (int64_t *)(base + at[5]);
    w->packed = base + at[6];
    w->dq = base + at[7];
    w->blocks = base + at[8];
    return sum;
}

static const size_t SHARED_AT_ONCE = (size_t)16 << 20;    // short sequences go together, to wait for one another less often

// Shared: the sums of dslopes; with ranges also, of some sequences at a time, the packed heads and a dQ a range.
static heed_status plan(heed_plan *plan, heed_error *error) {
    const heed_problem *p = &plan->problem;
    plan->tile_query = TILE_ROWS;
    plan->tile_key = TILE_KEYS;
    plan->worker_bytes = scratch_at(plan, NULL, NULL, NULL);
    plan->worker_bytes = plan->worker_bytes > dbias_scratch_bytes(plan) ? plan->worker_bytes : dbias_scratch_bytes(plan);
    plan->shared_bytes = slope_bytes(p);
    if (ranges_of(p) > 1) {
        const size_t head = size_add(packed_bytes(p, &plan->machine.cpu->f32), size_mul((size_t)ranges_of(p), dq_bytes(p)));
        const size_t sequence = size_mul((size_t)p->kv_heads, head), fit = SHARED_AT_ONCE / (sequence > 0 ? sequence : 1);
        plan->note[NOTE_AT_ONCE] = int64_max(1, int64_min(p->batch, (int64_t)fit));
        plan->shared_bytes = size_add(plan->shared_bytes, size_mul((size_t)plan->note[NOTE_AT_ONCE], sequence));
    }
    const blocks_shape lists = lists_of(p);
    plan->note[NOTE_LISTS] = (int64_t)plan->shared_bytes;
    plan->shared_bytes = size_add(plan->shared_bytes, blocks_list_bytes(&lists));
    return HEED_OK;
}

typedef struct {
    const heed_plan *plan;
    const heed_args *args;
    int64_t batch;    // with ranges: the first of the sequences at hand
} call;

static packed_head shared_packed(const call *c, int64_t b, int64_t g) {
    const heed_problem *p = &c->plan->problem;
    const cpu_product *mm = &c->plan->machine.cpu->f32;
    const int64_t at = (b - c->batch) * p->kv_heads + g;
    return packed_at(p, mm, (char *)plan_shared(c->args) + slope_bytes(p) + (size_t)at * packed_bytes(p, mm));
}

static float *shared_dq(const call *c, int64_t b, int64_t g, int64_t range) {
    const heed_problem *p = &c->plan->problem;
    const size_t packed = packed_bytes(p, &c->plan->machine.cpu->f32), heads = (size_t)(c->plan->note[NOTE_AT_ONCE] * p->kv_heads);
    char *at = (char *)plan_shared(c->args) + slope_bytes(p) + heads * packed;
    return (float *)(at + (size_t)(((b - c->batch) * p->kv_heads + g) * ranges_of(p) + range) * dq_bytes(p));
}

static double *slope_sum(const call *c, int64_t b, int64_t head, int64_t range) {
    const heed_problem *p = &c->plan->problem;
    return (double *)plan_shared(c->args) + (b * p->heads + head) * ranges_of(p) + range;
}

// ---- One range of keys of one kv head -----------------------------------------------------------------------------

typedef struct {
    const call *c;
    edit_sequence s;
    packed_head packed;
    int64_t g, range;
    float *dq;    // (group, queries, channels)
    scratch w;
} key_range;

// Adds what rows [row0, row0 + rows) of a head and the keys of a tile give one another.
static void meet(key_range *k, int64_t head_in_group, int64_t row0, int64_t rows, int64_t key0, int64_t keys) {
    const heed_plan *plan = k->c->plan;
    const heed_problem *p = &plan->problem;
    const cpu_product *mm = &plan->machine.cpu->f32;
    const int64_t D = p->channels, Dv = p->value_channels, head = k->g * group_of(p) + head_in_group;
    grad_tile *t = &k->w.tile;
    const int64_t *seen = k->w.seen + 2 * (head_in_group * row_tiles(p) + row0 / TILE_ROWS);
    if (seen[0] >= key0 + keys || seen[1] <= key0) return;
    const heed_rect_class class = edit_classify(&k->s, (edit_rect){head, row0, rows, key0, keys});
    if (class == HEED_RECT_SKIP) return;
    grad_tile_rows(t, &k->s, head, row0, rows, k->w.delta + head_in_group * p->queries + row0);
    const float *k_turned = product_at(mm, k->packed.k_turned, D, 0, key0);
    const float *v_turned = product_at(mm, k->packed.v_turned, Dv, 0, key0);
    if (!grad_tile_compute(t, class, k_turned, v_turned, key0, keys, k->packed.bad_k[key0 / TILE_KEYS])) return;
    grad_tile_add(t, &k->packed, key0, k->w.dk, k->w.dv, k->dq + (head_in_group * p->queries + row0) * D);
    if (k->c->args->dslopes != NULL) *slope_sum(k->c, k->s.batch, head, k->range) += grad_tile_slope(t);
}

static void *lists_at(const call *c) { return (char *)plan_shared(c->args) + c->plan->note[NOTE_LISTS]; }

// What a head's rows bring along for every tile of keys.
static void prepare_head(key_range *k, int64_t head_in_group) {
    const heed_problem *p = &k->c->plan->problem;
    const int64_t head = k->g * group_of(p) + head_in_group;
    if (k->c->args->dslopes != NULL) *slope_sum(k->c, k->s.batch, head, k->range) = 0;
    rows_delta(k->c->plan, k->c->args, &k->s, head, 0, p->queries, k->w.delta + head_in_group * p->queries);
    int64_t *seen = k->w.seen + 2 * head_in_group * row_tiles(p);
    for (int64_t row0 = 0; row0 < p->queries; row0 += TILE_ROWS, seen += 2) {
        edit_key_bounds(&k->s, head, row0, int64_min(TILE_ROWS, p->queries - row0), &seen[0], &seen[1]);
    }
}

static void walk(key_range *k) {
    const heed_plan *plan = k->c->plan;
    const heed_problem *p = &plan->problem;
    const int64_t tiles = key_tiles(p), ranges = ranges_of(p), group = group_of(p);
    const blocks_shape lists = lists_of(p);
    k->s.blocks = blocks_open(&lists, lists_at(k->c), k->w.blocks);
    memset(k->dq, 0, dq_bytes(p));
    for (int64_t i = 0; i < group; i++) prepare_head(k, i);
    const bool nan = rows_nan_group(plan, k->c->args, &k->s, k->g);
    for (int64_t tile = k->range * tiles / ranges; tile < (k->range + 1) * tiles / ranges; tile++) {
        const int64_t key0 = tile * TILE_KEYS, keys = int64_min(TILE_KEYS, k->s.n_key - key0);
        const int64_t stored = int64_min(TILE_KEYS, p->keys - key0);    // keys past n_key get zeros
        memset(k->w.dk, 0, (size_t)(stored * p->channels) * sizeof(float));
        memset(k->w.dv, 0, (size_t)(stored * p->value_channels) * sizeof(float));
        for (int64_t i = 0; i < group && keys > 0; i++) {
            for (int64_t row0 = 0; row0 < p->queries; row0 += TILE_ROWS) {
                meet(k, i, row0, int64_min(TILE_ROWS, p->queries - row0), key0, keys);
            }
        }
        rows_store_dkv(plan, k->c->args, &k->s, k->g, key0, stored, nan, k->w.dk, k->w.dv);
    }
}

// ---- Items --------------------------------------------------------------------------------------------------------

// A whole kv head.
static void run_head(void *context, int64_t item, int worker) {
    const call *c = context;
    const heed_problem *p = &c->plan->problem;
    const cpu_product *mm = &c->plan->machine.cpu->f32;
    key_range k = {.c = c, .s = edit_begin(p, c->args, item / p->kv_heads), .g = item % p->kv_heads};
    scratch_at(c->plan, c->args, plan_scratch(c->plan, c->args, worker), &k.w);
    k.packed = packed_at(p, mm, k.w.packed);
    k.dq = (float *)k.w.dq;
    for (int64_t tile = 0; tile < key_tiles(p); tile++) packed_fill(&k.packed, p, c->args, mm, k.s.batch, k.g, k.s.n_key, tile);
    walk(&k);
    for (int64_t i = 0; i < group_of(p); i++) {
        for (int64_t row0 = 0; row0 < p->queries; row0 += ROWS_CHUNK) {
            rows_store_dq(c->plan, c->args, &k.s, k.g * group_of(p) + i, row0, int64_min(ROWS_CHUNK, p->queries - row0),
                          k.dq + (i * p->queries + row0) * p->channels, k.w.factor);
        }
    }
}

static void pack_tile(void *context, int64_t item, int worker) {
    const call *c = context;
    const heed_problem *p = &c->plan->problem;
    const int64_t b = c->batch + item / key_tiles(p) / p->kv_heads, g = item / key_tiles(p) % p->kv_heads;
    const edit_sequence s = edit_begin(p, c->args, b);
    packed_head to = shared_packed(c, b, g);
    packed_fill(&to, p, c->args, &c->plan->machine.cpu->f32, b, g, s.n_key, item % key_tiles(p));
}

static void run_range(void *context, int64_t item, int worker) {
    const call *c = context;
    const heed_problem *p = &c->plan->problem;
    const int64_t ranges = ranges_of(p), b = c->batch + item / ranges / p->kv_heads;
    key_range k = {.c = c, .s = edit_begin(p, c->args, b), .g = item / ranges % p->kv_heads, .range = item % ranges};
    scratch_at(c->plan, c->args, plan_scratch(c->plan, c->args, worker), &k.w);
    k.packed = shared_packed(c, b, k.g);
    k.dq = shared_dq(c, b, k.g, k.range);
    walk(&k);
}

// Adds the ranges' dQ of some rows of a head, in order.
static void gather(void *context, int64_t item, int worker) {
    const call *c = context;
    const heed_problem *p = &c->plan->problem;
    const int64_t chunks = int64_ceil_div(p->queries, ROWS_CHUNK), b = c->batch + item / chunks / p->heads;
    const int64_t head = item / chunks % p->heads, row0 = item % chunks * ROWS_CHUNK;
    const int64_t rows = int64_min(ROWS_CHUNK, p->queries - row0), g = head / group_of(p), D = p->channels;
    const int64_t at = (head % group_of(p) * p->queries + row0) * D;
    const edit_sequence s = edit_begin(p, c->args, b);
    scratch w;
    scratch_at(c->plan, c->args, plan_scratch(c->plan, c->args, worker), &w);
    float *sum = shared_dq(c, b, g, 0) + at;
    for (int64_t range = 1; range < ranges_of(p); range++) c->plan->machine.cpu->add(rows * D, sum, shared_dq(c, b, g, range) + at);
    rows_store_dq(c->plan, c->args, &s, head, row0, rows, sum, w.factor);
}

static void run_dsink(void *context, int64_t head, int worker) {
    const call *c = context;
    rows_dsink(c->plan, c->args, head, plan_scratch(c->plan, c->args, worker));
}

static void add_slopes(const call *c) {
    const heed_problem *p = &c->plan->problem;
    for (int64_t head = 0; head < p->heads; head++) {
        double sum = 0;
        for (int64_t b = 0; b < p->batch; b++) {
            for (int64_t range = 0; range < ranges_of(p); range++) sum += *slope_sum(c, b, head, range);
        }
        c->args->dslopes[head] = (float)sum;
    }
}

static void run(const heed_plan *plan, const heed_args *args) {
    const heed_problem *p = &plan->problem;
    call c = {plan, args, 0};
    const blocks_shape lists = lists_of(p);
    blocks_make(&lists, p, args, &plan->team, lists_at(&c));
    if (ranges_of(p) == 1) {
        threads_for(&plan->team, p->batch * p->kv_heads, run_head, &c);
    } else {
        for (int64_t n; c.batch < p->batch; c.batch += n) {
            n = int64_min(plan->note[NOTE_AT_ONCE], p->batch - c.batch);
            threads_for(&plan->team, n * p->kv_heads * key_tiles(p), pack_tile, &c);
            threads_for(&plan->team, n * p->kv_heads * ranges_of(p), run_range, &c);
            threads_for(&plan->team, n * p->heads * int64_ceil_div(p->queries, ROWS_CHUNK), gather, &c);
        }
    }
    if (args->dslopes != NULL) add_slopes(&c);
    if (args->dsinks != NULL) threads_for(&plan->team, p->heads, run_dsink, &c);
    if (args->dbias != NULL) dbias_run(plan, args);
}

extern const heed_impl impl_flash_bwd;
const heed_impl impl_flash_bwd = {"cpu.flash", HEED_BACKWARD, false, refuse, cost, plan, run};
