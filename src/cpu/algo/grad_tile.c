// SPDX-License-Identifier: Apache-2.0
#include "cpu/algo/grad_tile.h"

#include <string.h>

// The score functions' slopes are taken at the raw scores, which softmax overwrites.
static bool needs_raw(const heed_problem *p) { return p->score[0].kind != NULL; }
static bool needs_terms(const heed_problem *p) { return (p->with & (HEED_SLOPES | HEED_BIAS)) != 0; }

static void *take(char **at, int64_t n, bool wanted) {
    void *array = *at;
    if (!wanted) return NULL;
    *at += size_align((size_t)n * sizeof(float));
    return array;
}

static int64_t padded(int64_t keys) { return keys + 16; }    // row lengths that are multiples of 4 KB would thrash L1

size_t grad_tile_begin(grad_tile *t, const heed_plan *plan, const heed_args *args, int64_t rows, int64_t keys, void *at) {
    const heed_problem *p = &plan->problem;
    const int64_t ld = padded(keys);
    const size_t tile = size_align(size_mul(size_mul((size_t)rows, (size_t)ld), sizeof(float)));
    size_t bytes = size_mul(tile, 2 + (needs_raw(p) ? 1 : 0) + (needs_terms(p) ? 1 : 0));
    bytes = size_add(bytes, size_align((size_t)(rows * ld)));
    bytes = size_add(bytes, size_align(size_mul((size_t)rows, size_mul((size_t)p->channels, sizeof(float)))));
    bytes = size_add(bytes, size_align(size_mul((size_t)rows, size_mul((size_t)p->value_channels, sizeof(float)))));
    bytes = size_add(bytes, size_align((size_t)int64_max(p->channels, p->value_channels) * sizeof(float)));
    bytes = size_add(bytes, 2 * size_align((size_t)rows * sizeof(int32_t)));
    const cpu_product *mm = &plan->machine.cpu->f32;
    bytes = size_add(bytes, size_add(mm->b_bytes(rows, p->channels), mm->b_bytes(rows, p->value_channels)));
    if (at == NULL) return bytes;
    char *next = at;
    *t = (grad_tile){.plan = plan, .args = args, .most_rows = rows, .ld = ld};
    t->p = take(&next, rows * ld, true);
    t->ds = take(&next, rows * ld, true);
    t->raw = take(&next, rows * ld, needs_raw(p));
    t->dterm = take(&next, rows * ld, needs_terms(p));
    t->q = take(&next, rows * p->channels, true);
    t->dout = take(&next, rows * p->value_channels, true);
    t->row = take(&next, int64_max(p->channels, p->value_channels), true);
    t->first = take(&next, rows, true);
    t->end = take(&next, rows, true);
    t->q_packed = (float *)next;
    t->dout_packed = (float *)(next += mm->b_bytes(rows, p->channels));
    t->seen = (uint8_t *)(next += mm->b_bytes(rows, p->value_channels));
    return bytes;
}

void grad_tile_rows(grad_tile *t, const edit_sequence *s, int64_t head, int64_t row0, int64_t rows, const float *delta) {
    const heed_problem *p = &t->plan->problem;
    const cpu_product *mm = &t->plan->machine.cpu->f32;
    const int64_t D = p->channels, Dv = p->value_channels;
    t->s = *s;
    t->head = head;
    t->g = head / (p->heads / p->kv_heads);
    t->row0 = row0;
    t->rows = rows;
    t->lse = t->args->lse + (s->batch * p->heads + head) * p->queries + row0;
    t->delta = delta;
    const void *q = row_at(p->dtype, t->args->q, p->q, s->batch, head, row0);
    const void *dout = row_at(p->dtype, t->args->dout, p->dout, s->batch, head, row0);
    mm->rows_of(t->q, rows, D, D, p->dtype, q, p->q.token, (float)p->scale);
    mm->rows_of(t->dout, rows, Dv, Dv, p->dtype, dout, p->dout.token, 1.0f);
    t->bad_q = !mm->pack_b(t->q_packed, rows, rows, D, HEED_F32, t->q, D);
    t->bad_dout = !mm->pack_b(t->dout_packed, rows, rows, Dv, HEED_F32, t->dout, Dv);
}

// The columns any row sees, from a panel's first on; the intervals become relative to it. False: none.
static bool narrow(grad_tile *t, int64_t cols, int64_t *low, int64_t *high) {
    *low = INT32_MAX;
    *high = 0;
    for (int64_t r = 0; r < t->rows; r++) {
        if (t->first[r] >= t->end[r]) continue;
        *low = int64_min(*low, t->first[r]);
        *high = int64_max(*high, t->end[r]);
    }
    if (*low >= *high) return false;
    *low -= *low % cols;
    for (int64_t r = 0; r < t->rows; r++) {
        t->first[r] = (int32_t)int64_max(0, t->first[r] - *low);
        t->end[r] = (int32_t)int64_max(0, t->end[r] - *low);
    }
    return true;
}

// p = q K^T, ds = dout V^T. By intervals each block of rows computes only up to the last column it sees.
static void products(grad_tile *t, const float *k_turned, const float *v_turned, int64_t low, bool intervals) {
    const heed_problem *p = &t->plan->problem;
    const cpu_product *mm = &t->plan->machine.cpu->f32;
    const int64_t D = p->channels, Dv = p->value_channels;
    const float *k = product_at(mm, k_turned, D, 0, low), *v = product_at(mm, v_turned, Dv, 0, low);
    const int64_t step = intervals ? mm->rows : t->rows;
    for (int64_t r0 = 0; r0 < t->rows; r0 += step) {
        const int64_t m = int64_min(step, t->rows - r0);
        int64_t n = intervals ? 0 : t->n;
        for (int64_t r = r0; intervals && r < r0 + m; r++) n = int64_max(n, t->end[r]);
        if (n == 0) continue;
        mm->mm(m, n, D, t->q + r0 * D, D, k, D, t->p + r0 * t->ld, t->ld, false);
        mm->mm(m, n, Dv, t->dout + r0 * Dv, Dv, v, Dv, t->ds + r0 * t->ld, t->ld, false);
    }
}

bool grad_tile_compute(grad_tile *t, heed_rect_class class, const float *k_turned, const float *v_turned, int64_t key0,
                       int64_t keys, bool bad_k) {
    const heed_problem *p = &t->plan->problem;
    const cpu_product *mm = &t->plan->machine.cpu->f32;
    const bool scores = edit_has_scores(p);
    edit_rect rect = {t->head, t->row0, t->rows, key0, keys};
    const bool intervals = class == HEED_RECT_EDIT && edit_intervals(&t->s, rect, t->first, t->end);
    int64_t low = 0, high = keys;
    if (intervals && !narrow(t, mm->cols, &low, &high)) return false;
    t->key = rect.key0 = key0 + low;
    t->n = rect.keys = high - low;
    products(t, k_turned, v_turned, low, intervals && !scores);
    for (int64_t r = 0; t->raw != NULL && r < t->rows; r++) {
        memcpy(t->raw + r * t->ld, t->p + r * t->ld, (size_t)t->n * sizeof(float));
    }
    const bool masked = class == HEED_RECT_EDIT && !intervals;
    if (scores || masked) edit_tile(&t->s, rect, t->p, t->ld, masked);
    const int32_t *first = intervals ? t->first : NULL, *end = intervals ? t->end : NULL;
    t->bad_k = bad_k;
    if (t->bad_q || t->bad_dout || bad_k) packed_mark_seen(t->rows, t->n, t->p, t->ld, first, end, t->seen, t->ld);
    // forward: out = z w . v, with z what dropout multiplies by   so: dx = w (z dw - D), and dv takes z w
    const bool drops = p->dropout > 0;
    const dropout d = dropout_of(p->dropout, t->args->seed, t->s.batch, t->head);
    if (drops) t->plan->machine.cpu->dropout(t->rows, t->n, t->ds, t->ld, &d, t->row0, t->key);
    mm->softmax_grad(t->rows, t->n, t->p, t->ld, t->ds, t->ld, first, end, t->lse, t->delta);
    if (drops) t->plan->machine.cpu->dropout(t->rows, t->n, t->p, t->ld, &d, t->row0, t->key);
    if (t->raw != NULL || t->dterm != NULL) edit_tile_backward(&t->s, rect, t->raw, t->ds, t->dterm, t->ld);
    return true;
}

static void mend(const grad_tile *t, float *dk, float *dv, float *dq) {
    const heed_problem *p = &t->plan->problem;
    const heed_args *a = t->args;
    const int64_t D = p->channels, Dv = p->value_channels, b = t->s.batch;
    if (t->bad_dout) {
        const bad_rows bad = {p->dtype, row_at(p->dtype, a->dout, p->dout, b, t->head, t->row0), p->dout.token, Dv, 1.0f, t->row};
        packed_mend(&bad, true, t->rows, t->n, t->p, t->ld, t->seen, t->ld, dv, Dv);
    }
    if (t->bad_q) {
        const bad_rows bad = {p->dtype, row_at(p->dtype, a->q, p->q, b, t->head, t->row0), p->q.token, D, (float)p->scale, t->row};
        packed_mend(&bad, true, t->rows, t->n, t->ds, t->ld, t->seen, t->ld, dk, D);
    }
    if (t->bad_k) {
        const bad_rows bad = {p->kv_dtype, row_at(p->kv_dtype, a->k, p->k, b, t->g, t->key), p->k.token, D, 1.0f, t->row};
        packed_mend(&bad, false, t->rows, t->n, t->ds, t->ld, t->seen, t->ld, dq, D);
    }
}

void grad_tile_add(const grad_tile *t, const packed_head *packed, int64_t key0, float *dk, float *dv, float *dq) {
    const heed_problem *p = &t->plan->problem;
    const cpu_product *mm = &t->plan->machine.cpu->f32;
    const int64_t D = p->channels, Dv = p->value_channels;
    dk += (t->key - key0) * D;
    dv += (t->key - key0) * Dv;
    mm->mm_t(t->n, Dv, t->rows, t->p, t->ld, t->dout_packed, t->rows, dv, Dv, true);
    mm->mm_t(t->n, D, t->rows, t->ds, t->ld, t->q_packed, t->rows, dk, D, true);
    mm->mm(t->rows, D, t->n, t->ds, t->ld, product_at(mm, packed->k, packed->rows, t->key, 0), packed->rows, dq, D, true);
    if (t->bad_q || t->bad_dout || t->bad_k) mend(t, dk, dv, dq);
}

double grad_tile_slope(const grad_tile *t) {
    double sum = 0;
    for (int64_t r = 0; r < t->rows; r++) {
        const int64_t distance = t->key - (t->row0 + r + t->s.offset);
        double row = 0;
        for (int64_t j = 0; j < t->n; j++) row += (double)t->dterm[r * t->ld + j] * (double)(distance + j);
        sum += row;
    }
    return sum;
}
