// SPDX-License-Identifier: Apache-2.0
#include "cpu/algo/packed.h"

#include <math.h>

static int64_t tiles_of(const heed_problem *p) { return int64_ceil_div(p->keys, TILE_KEYS); }

size_t packed_bytes(const heed_problem *p, const cpu_product *mm) {
    const int64_t keys = tiles_of(p) * TILE_KEYS;
    size_t bytes = size_add(mm->b_bytes(p->channels, keys), mm->b_bytes(keys, p->value_channels));
    if (p->pass == HEED_BACKWARD) bytes = size_add(bytes, mm->b_bytes(keys, p->channels));
    return size_align(size_add(bytes, (size_t)(2 * tiles_of(p))));
}

packed_head packed_at(const heed_problem *p, const cpu_product *mm, void *at) {
    const int64_t keys = tiles_of(p) * TILE_KEYS;
    char *next = at;
    packed_head h = {.rows = keys, .k_turned = at};
    next += mm->b_bytes(p->channels, keys);
    if (p->pass == HEED_BACKWARD) {
        h.k = (float *)next;
        next += mm->b_bytes(keys, p->channels);
        h.v_turned = (float *)next;
        next += mm->b_bytes(p->value_channels, keys);
    } else {
        h.v = (float *)next;
        next += mm->b_bytes(keys, p->value_channels);
    }
    h.bad_k = (uint8_t *)next;
    h.bad_v = h.bad_k + tiles_of(p);
    return h;
}

void packed_fill(packed_head *h, const heed_problem *p, const heed_args *args, const cpu_product *mm, int64_t b, int64_t g,
                 int64_t n_key, int64_t tile) {
    const int64_t key0 = tile * TILE_KEYS, keys = int64_min(TILE_KEYS, n_key - key0), D = p->channels, Dv = p->value_channels;
    if (keys <= 0) return;
    const void *k = row_at(p->kv_dtype, args->k, p->k, b, g, key0), *v = row_at(p->kv_dtype, args->v, p->v, b, g, key0);
    mm->pack_bt(product_at(mm, h->k_turned, D, 0, key0), D, keys, p->kv_dtype, k, p->k.token);
    h->bad_k[tile] = h->bad_v[tile] = 0;
    if (h->v_turned != NULL) mm->pack_bt(product_at(mm, h->v_turned, Dv, 0, key0), Dv, keys, p->kv_dtype, v, p->v.token);
    if (h->v != NULL) {
        h->bad_v[tile] = !mm->pack_b(product_at(mm, h->v, h->rows, key0, 0), h->rows, keys, Dv, p->kv_dtype, v, p->v.token);
    }
    if (h->k != NULL) {
        h->bad_k[tile] = !mm->pack_b(product_at(mm, h->k, h->rows, key0, 0), h->rows, keys, D, p->kv_dtype, k, p->k.token);
    }
}

// Row r of src into b->row; true when it holds NaN or Inf.
static bool load_bad(const bad_rows *b, int64_t r) {
    bool finite = true;
    for (int64_t c = 0; c < b->n; c++) {
        b->row[c] = b->factor * dtype_load(b->type, b->src, r * b->ld + c);
        finite &= isfinite(b->row[c]) != 0;
    }
    return !finite;
}

packed_head packed_shared(const heed_plan *plan, const heed_args *args, int64_t b, int64_t g) {
    const heed_problem *p = &plan->problem;
    const cpu_product *mm = &plan->machine.cpu->f32;
    return packed_at(p, mm, (char *)plan_shared(args) + (size_t)(b * p->kv_heads + g) * packed_bytes(p, mm));
}

typedef struct { const heed_plan *plan; const heed_args *args; } call;

static void fill_tile(void *context, int64_t item, int worker) {
    const call *c = context;
    const heed_problem *p = &c->plan->problem;
    const int64_t tiles = int64_ceil_div(p->keys, TILE_KEYS), head = item / tiles, b = head / p->kv_heads, g = head % p->kv_heads;
    const edit_sequence s = edit_begin(p, c->args, b);
    packed_head to = packed_shared(c->plan, c->args, b, g);
    packed_fill(&to, p, c->args, &c->plan->machine.cpu->f32, b, g, s.n_key, item % tiles);
}

void packed_fill_all(const heed_plan *plan, const heed_args *args) {
    const heed_problem *p = &plan->problem;
    call c = {plan, args};
    threads_for(&plan->team, p->batch * p->kv_heads * int64_ceil_div(p->keys, TILE_KEYS), fill_tile, &c);
}

void packed_mend(const bad_rows *b, bool turned, int64_t m, int64_t keys, const float *weight, int64_t ld, const uint8_t *seen,
                 int64_t ld_seen, float *c, int64_t ldc) {
    const int64_t rows = turned ? m : keys, others = turned ? keys : m;
    for (int64_t r = 0; r < rows; r++) {
        if (!load_bad(b, r)) continue;
        for (int64_t o = 0; o < others; o++) {
            const int64_t i = turned ? r : o, j = turned ? o : r;
            if (!seen[i * ld_seen + j]) continue;
            for (int64_t t = 0; t < b->n; t++) c[o * ldc + t] += weight[i * ld + j] * b->row[t];
        }
    }
}

void packed_mark_seen(int64_t m, int64_t keys, const float *s, int64_t ld, const int32_t *first, const int32_t *end,
                      uint8_t *seen, int64_t ld_seen) {
    for (int64_t i = 0; i < m; i++) {
        const int64_t from = first != NULL ? first[i] : 0, to = end != NULL ? end[i] : keys;
        for (int64_t j = 0; j < keys; j++) seen[i * ld_seen + j] = j >= from && j < to && s[i * ld + j] != -INFINITY;
    }
}
