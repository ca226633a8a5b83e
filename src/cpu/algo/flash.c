// SPDX-License-Identifier: Apache-2.0
// Forward attention by tiles: no buffer holds queries x keys, hidden tiles are never computed, and a tile crossed by a mask's
// edge computes only the columns its rows can see. Softmax with a running maximum (Milakov and Gimelshein 2018); query tiles
// outer, key tiles inner (Dao 2023, section 3.1). K and V of a kv head are packed once for all that read them.
#include "core/blocks.h"
#include "cpu/algo/packed.h"
#include "cpu/algo/rows.h"
#include "cpu/rates.h"

#include <math.h>
#include <string.h>

// 48 rows: with 256 keys the score tile, 48 KB, is read back from L1 and L2 only; a multiple of every set's block of rows.
enum { TILE_ROWS = 48 };

// Where there are enough kv heads for all workers and little work in each, a head is one item, packed by who computes it: one
// parallel region instead of two. The bits are the same either way.
enum { WHOLE_ROWS = 512, NOTE_WHOLE = 0 };

// Where in the shared memory the block lists begin.
enum { NOTE_LISTS = 1 };

static blocks_shape lists_of(const heed_problem *p) { return blocks_shape_of(p, TILE_ROWS, TILE_KEYS); }

static heed_refusal refuse(const heed_problem *p, const heed_machine *machine) { return refuse_unbuilt(p); }

static double cost(const heed_problem *p, const heed_machine *machine) {
    const rates r = rates_of(machine->cpu);
    const double pair = r.product * (double)(p->channels + p->value_channels) + r.softmax + rates_edit_ns(p, &r);
    return r.call + r.pack * rates_floats(p) + rates_visible(p) * pair;
}

// One worker's memory.
typedef struct {
    float *q, *s, *o, *max, *sum, *factor, *row;
    int32_t *first, *end;
    uint8_t *seen;
    double *mean;
    void *blocks;
} scratch;

static size_t scratch_at(const heed_problem *p, char *base, scratch *to) {
    const int64_t Dv = p->value_channels;
    const int64_t n[] = {TILE_ROWS * p->channels, TILE_ROWS * TILE_KEYS, TILE_ROWS * Dv, TILE_ROWS, TILE_ROWS, TILE_ROWS, Dv,
                         TILE_ROWS, TILE_ROWS, TILE_ROWS * TILE_KEYS / 4, 2 * Dv};
    size_t at[sizeof n / sizeof *n], bytes = 0;
    for (size_t i = 0; i < sizeof n / sizeof *n; i++) {
        at[i] = bytes;
        bytes = size_add(bytes, size_align(size_mul((size_t)n[i], sizeof(float))));
    }
    const blocks_shape lists = lists_of(p);
    const size_t end = bytes;
    bytes = size_add(bytes, blocks_scratch_bytes(&lists));
    if (to == NULL) return bytes;
    *to = (scratch){(float *)(base + at[0]), (float *)(base + at[1]), (float *)(base + at[2]), (float *)(base + at[3]),
                    (float *)(base + at[4]), (float *)(base + at[5]), (float *)(base + at[6]), (int32_t *)(base + at[7]),
                    (int32_t *)(base + at[8]), (uint8_t *)(base + at[9]), (double *)(base + at[10]), base + end};
    return bytes;
}

static heed_status plan(heed_plan *plan, heed_error *error) {
    const heed_problem *p = &plan->problem;
    plan->tile_query = TILE_ROWS;
    plan->tile_key = TILE_KEYS;
    const size_t packed = packed_bytes(p, &plan->machine.cpu->f32), mine = scratch_at(p, NULL, NULL);
    const bool whole = p->queries * (p->heads / p->kv_heads) <= WHOLE_ROWS && p->batch * p->kv_heads >= 2 * plan->team.workers;
    plan->note[NOTE_WHOLE] = whole;
    const blocks_shape lists = lists_of(p);
    const size_t heads = whole ? 0 : size_mul((size_t)(p->batch * p->kv_heads), packed);
    plan->note[NOTE_LISTS] = (int64_t)heads;
    plan->shared_bytes = size_add(heads, blocks_list_bytes(&lists));
    plan->worker_bytes = whole ? size_add(mine, packed) : mine;
    return HEED_OK;
}

typedef struct { const heed_plan *plan; const heed_args *args; } call;

// The rows of one query tile, while they meet one key tile after the other.
typedef struct {
    const call *c;
    edit_sequence s;
    packed_head packed;
    dropout dropped;    // of the head
    int64_t head, g, row0;
    scratch w;
} tile_rows;

static void mend(const tile_rows *t, int64_t r0, int64_t m, int64_t key, int64_t n, const float *p) {
    const heed_problem *problem = t->s.problem;
    const bad_rows bad = {problem->kv_dtype, row_at(problem->kv_dtype, t->c->args->v, problem->v, t->s.batch, t->g, key),
                          problem->v.token, problem->value_channels, 1.0f, t->w.row};
    packed_mend(&bad, false, m, n, p, TILE_KEYS, t->w.seen, TILE_KEYS, t->w.o + r0 * bad.n, bad.n);
}

// Rows r0.. r0 + m of the tile meet keys key .. key + n: scores, edits, softmax, dropout, o += P V. first and end are by row,
// relative to key (NULL: all keys are seen but those that the edits hide); masked: the edits hide by mask.
static void meet(const tile_rows *t, int64_t r0, int64_t m, int64_t key, int64_t n, const int32_t *first, const int32_t *end,
                 bool edited, bool masked) {
    const heed_problem *p = t->s.problem;
    const cpu_product *mm = &t->c->plan->machine.cpu->f32;
    const int64_t D = p->channels, Dv = p->value_channels;
    const bool bad = t->packed.bad_v[key / TILE_KEYS];
    float *s = t->w.s + r0 * TILE_KEYS, *o = t->w.o + r0 * Dv;
    const float *q = t->w.q + r0 * D, *turned = product_at(mm, t->packed.k_turned, D, 0, key);
    if (edited || bad) {
        mm->mm(m, n, D, q, D, turned, D, s, TILE_KEYS, false);
        const edit_rect rect = {t->head, t->row0 + r0, m, key, n};
        if (edited) edit_tile(&t->s, rect, s, TILE_KEYS, masked);
        if (bad) packed_mark_seen(m, n, s, TILE_KEYS, first, end, t->w.seen, TILE_KEYS);
        mm->softmax(m, n, s, TILE_KEYS, first, end, t->w.max + r0, t->w.sum + r0, o, Dv, Dv);
    } else {
        mm->mm_softmax(m, n, D, q, D, turned, D, s, TILE_KEYS, first, end, t->w.max + r0, t->w.sum + r0, o, Dv, Dv);
    }
    if (p->dropout > 0) t->c->plan->machine.cpu->dropout(m, n, s, TILE_KEYS, &t->dropped, t->row0 + r0, key);
    mm->mm(m, Dv, n, s, TILE_KEYS, product_at(mm, t->packed.v, t->packed.rows, key, 0), t->packed.rows, o, Dv, true);
    if (bad) mend(t, r0, m, key, n, s);
}

// A tile crossed by the edges of intervals: each block of rows computes from the first panel to the last column it sees.
static void meet_by_blocks(const tile_rows *t, edit_rect r, bool edited) {
    const cpu_product *mm = &t->c->plan->machine.cpu->f32;
    for (int64_t r0 = 0; r0 < r.rows; r0 += mm->rows) {
        const int64_t m = int64_min(mm->rows, r.rows - r0);
        int32_t *first = t->w.first + r0, *end = t->w.end + r0, low = TILE_KEYS, high = 0;
        for (int64_t i = 0; i < m; i++) {
            if (first[i] >= end[i]) continue;
            low = first[i] < low ? first[i] : low;
            high = end[i] > high ? end[i] : high;
        }
        if (low >= high) continue;
        low -= low % mm->cols;
        for (int64_t i = 0; i < m; i++) {
            first[i] = first[i] > low ? first[i] - low : 0;
            end[i] = end[i] > low ? end[i] - low : 0;
        }
        meet(t, r0, m, r.key0 + low, high - low, first, end, edited, false);
    }
}

static void meet_tile(const tile_rows *t, edit_rect r) {
    const bool scores = edit_has_scores(t->s.problem);
    const heed_rect_class class = edit_classify(&t->s, r);
    if (class == HEED_RECT_SKIP) return;
    if (class == HEED_RECT_KEEP) {
        meet(t, 0, r.rows, r.key0, r.keys, NULL, NULL, scores, false);
    } else if (edit_intervals(&t->s, r, t->w.first, t->w.end)) {
        meet_by_blocks(t, r, scores);
    } else {
        meet(t, 0, r.rows, r.key0, r.keys, NULL, NULL, true, true);
    }
}

static void attend_rows(const call *c, const packed_head *packed, int64_t b, int64_t head, int64_t row0, void *memory) {
    const heed_plan *plan = c->plan;
    const heed_problem *p = &plan->problem;
    const int64_t m = int64_min(TILE_ROWS, p->queries - row0), g = head / (p->heads / p->kv_heads);
    const int64_t D = p->channels, Dv = p->value_channels;
    tile_rows t = {.c = c, .s = edit_begin(p, c->args, b), .packed = *packed, .head = head, .g = g, .row0 = row0,
                   .dropped = dropout_of(p->dropout, c->args->seed, b, head)};
    scratch_at(p, memory, &t.w);
    const blocks_shape lists = lists_of(p);
    t.s.blocks = blocks_open(&lists, (char *)plan_shared(c->args) + plan->note[NOTE_LISTS], t.w.blocks);
    const cpu_product *mm = &plan->machine.cpu->f32;
    mm->rows_of(t.w.q, m, D, D, p->dtype, row_at(p->dtype, c->args->q, p->q, b, head, row0), p->q.token, (float)p->scale);
    memset(t.w.o, 0, (size_t)(m * Dv) * sizeof(float));
    for (int64_t r = 0; r < m; r++) t.w.max[r] = -INFINITY, t.w.sum[r] = 0.0f;
    int64_t first, end;
    edit_key_bounds(&t.s, head, row0, m, &first, &end);
    for (int64_t key = first / TILE_KEYS * TILE_KEYS; key < end; key += TILE_KEYS) {
        meet_tile(&t, (edit_rect){head, row0, m, key, int64_min(TILE_KEYS, t.s.n_key - key)});
    }
    rows_finish(plan, c->args, &t.s, head, row0, m, &(rows_state){t.w.o, Dv, t.w.max, t.w.sum, t.w.factor, t.w.mean});
}

// Tiles of a head from the last to the first: under causal the most expensive ones come first, so that workers end together.
static void attend(void *context, int64_t item, int worker) {
    const call *c = context;
    const heed_problem *p = &c->plan->problem;
    const int64_t tiles = int64_ceil_div(p->queries, TILE_ROWS), head = item / tiles % p->heads, b = item / tiles / p->heads;
    const packed_head packed = packed_shared(c->plan, c->args, b, head / (p->heads / p->kv_heads));
    attend_rows(c, &packed, b, head, (tiles - 1 - item % tiles) * TILE_ROWS, plan_scratch(c->plan, c->args, worker));
}

static void attend_whole(void *context, int64_t item, int worker) {
    const call *c = context;
    const heed_problem *p = &c->plan->problem;
    const cpu_product *mm = &c->plan->machine.cpu->f32;
    const int64_t b = item / p->kv_heads, g = item % p->kv_heads, group = p->heads / p->kv_heads;
    char *memory = plan_scratch(c->plan, c->args, worker);
    packed_head packed = packed_at(p, mm, memory + scratch_at(p, NULL, NULL));
    const edit_sequence s = edit_begin(p, c->args, b);
    for (int64_t tile = 0; tile * TILE_KEYS < s.n_key; tile++) packed_fill(&packed, p, c->args, mm, b, g, s.n_key, tile);
    for (int64_t head = g * group; head < (g + 1) * group; head++) {
        for (int64_t row0 = 0; row0 < p->queries; row0 += TILE_ROWS) attend_rows(c, &packed, b, head, row0, memory);
    }
}

static void run(const heed_plan *plan, const heed_args *args) {
    const heed_problem *p = &plan->problem;
    call c = {plan, args};
    const blocks_shape lists = lists_of(p);
    blocks_make(&lists, p, args, &plan->team, (char *)plan_shared(args) + plan->note[NOTE_LISTS]);
    if (plan->note[NOTE_WHOLE]) {
        threads_for(&plan->team, p->batch * p->kv_heads, attend_whole, &c);
        return;
    }
    packed_fill_all(plan, args);
    threads_for(&plan->team, p->batch * p->heads * int64_ceil_div(p->queries, TILE_ROWS), attend, &c);
}

extern const heed_impl impl_flash;
const heed_impl impl_flash = {"cpu.flash", HEED_FORWARD, false, refuse, cost, plan, run};
