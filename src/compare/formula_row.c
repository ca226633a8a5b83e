// SPDX-License-Identifier: Apache-2.0
// From a row's scores to its weights, output and lse.
#include "compare/formula.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

size_t formula_row_bytes(const call *c) {
    const size_t keys = size_align((size_t)int64_max(c->keys, 1) * sizeof(double));
    const size_t values = size_align((size_t)c->value_channels * sizeof(double));
    return size_align((size_t)int64_max(c->keys, 1)) + 3 * keys + 2 * values;
}

formula_row formula_row_at(const call *c, void *memory) {
    const size_t keys = size_align((size_t)int64_max(c->keys, 1) * sizeof(double));
    const size_t values = size_align((size_t)c->value_channels * sizeof(double));
    char *at = (char *)memory + size_align((size_t)int64_max(c->keys, 1));
    return (formula_row){.shown = memory, .raw = (double *)at, .x = (double *)(at + keys), .w = (double *)(at + 2 * keys),
                         .out = (double *)(at + 3 * keys), .spare = (double *)(at + 3 * keys + values)};
}

double formula_sink(const formula *f, int64_t head) {
    const call *c = f->c;
    if (c->sinks == NULL || f->v.sink == SINK_NONE) return -INFINITY;
    int64_t at = head;
    if (f->v.sink_order == SINK_ORDER_GROUPED) at = head % c->group * c->kv_heads + head / c->group;
    if (f->v.sink_order == SINK_ORDER_REVERSED) at = c->heads - 1 - head;
    return c->sinks[at] * f->v.sink_factor * (f->v.sink == SINK_SCALED ? f->v.scale : 1);
}

// The sink as this row's softmax takes it.
double formula_row_sink(const formula *f, const formula_row *r) {
    if (f->v.sink == SINK_AFTER_SOFTMAX) return -INFINITY;
    if (f->v.sink == SINK_FULL_ROWS) {
        int64_t shown = 0;
        for (int64_t j = r->first; j < r->end; j++) shown += r->shown[j];
        if (shown < r->at.n_key) return -INFINITY;
    }
    return formula_sink(f, r->head);
}

// ---- Rows that see nothing ----------------------------------------------------------------------------------------

static const double *value_row(const formula *f, const formula_row *r, int64_t j) {
    return f->value + ((r->batch * f->c->kv_heads + r->kv_head) * f->c->keys + j) * f->c->value_channels;
}

// Sums the values over which the rule averages; how many they are.
static int64_t sum_of_mean(const formula *f, formula_row *r) {
    const call *c = f->c;
    int64_t n = 0, end = r->at.n_key;
    if (f->v.empty == HEED_EMPTY_MEAN_CAUSAL) end = int64_max(0, int64_min(end, r->row + r->at.offset + 1));
    memset(r->out, 0, (size_t)c->value_channels * sizeof(double));
    memset(r->w, 0, (size_t)c->keys * sizeof(double));
    if (f->v.empty != HEED_EMPTY_MEAN && f->v.empty != HEED_EMPTY_MEAN_CAUSAL) return 0;
    if (f->v.empty_mean_of_shown) {    // a finite minimum hides padding, real minus infinity the rest
        formula without = *f;
        without.v.padding = PADDING_NONE;
        formula_row_scores(&without, r);
    }
    for (int64_t j = 0; j < end; j++) {
        if (f->v.empty_mean_of_shown && !r->shown[j]) continue;
        const double *value = value_row(f, r, j);
        for (int64_t t = 0; t < c->value_channels; t++) r->out[t] += value[t];
        r->w[j] = 1;
        n++;
    }
    return n;
}

static void empty_row(const formula *f, formula_row *r) {
    const int64_t n = sum_of_mean(f, r);
    const bool nan = f->v.empty == HEED_EMPTY_NAN && r->at.n_key > 0;
    for (int64_t t = 0; t < f->c->value_channels; t++) r->out[t] = nan ? (double)NAN : n == 0 ? 0 : r->out[t] / (double)n;
    for (int64_t j = 0; j < f->c->keys; j++) r->w[j] = nan ? (double)NAN : n == 0 ? 0 : r->w[j] / (double)n;
    r->lse = nan ? (double)NAN : (double)-INFINITY;
    r->empty = true;
}

// ---- Softmax ------------------------------------------------------------------------------------------------------

static double largest(const formula_row *r, int64_t first, int64_t end, double m) {
    for (int64_t j = first; j < end; j++)
        if (r->shown[j] && r->x[j] > m) m = r->x[j];
    return m;
}

// What zero-filled keys behind the last one add to the sum: their score is 0, and only masks hide them.
static double tail_of_zeros(const formula *f, const formula_row *r, double m) {
    if (f->v.tile != TILE_TAIL_ZERO || f->v.causal || f->v.right >= 0 || f->v.prefix >= 0) return 0;
    const int64_t tail = r->at.n_key % f->v.tile_keys;
    return tail == 0 ? 0 : (double)(f->v.tile_keys - tail) * exp(-m);
}

// Weights of the shown keys; sets lse. Every stage is rounded to storage where the variant does.
static void softmax(const formula *f, formula_row *r) {
    const bool rounds = f->v.rounding == ROUND_SOFTMAX || f->v.rounding == ROUND_ACCUMULATE;
    const heed_dtype type = f->c->problem.dtype;
    const double sink = formula_row_sink(f, r);
    double m = largest(r, r->first, r->end, sink), z;
    if (m == -INFINITY) m = 0;
    z = sink == -INFINITY ? 0 : exp(rounds ? formula_round(type, sink - m) : sink - m);
    z += tail_of_zeros(f, r, m);
    for (int64_t j = r->first; j < r->end; j++) {
        r->w[j] = 0;
        if (!r->shown[j]) continue;
        r->w[j] = rounds ? formula_round(type, exp(formula_round(type, r->x[j] - m))) : exp(r->x[j] - m);
        z = f->v.rounding == ROUND_ACCUMULATE ? formula_round(type, z + r->w[j]) : z + r->w[j];
    }
    if (rounds) z = formula_round(type, z);
    r->lse = m + log(z);
    const bool rounds_weights = rounds || f->v.rounding == ROUND_STAGES;
    for (int64_t j = r->first; j < r->end; j++) r->w[j] = rounds_weights ? formula_round(type, r->w[j] / z) : r->w[j] / z;
}

static void add_values(const formula *f, const formula_row *r, int64_t first, int64_t end, double *out) {
    const bool rounds = f->v.rounding == ROUND_ACCUMULATE;
    for (int64_t j = first; j < end; j++) {
        if (!r->shown[j]) continue;
        const double *value = value_row(f, r, j), w = r->w[j];
        if (rounds)
            for (int64_t t = 0; t < f->c->value_channels; t++) out[t] = formula_round(f->c->problem.dtype, out[t] + w * value[t]);
        else
            for (int64_t t = 0; t < f->c->value_channels; t++) out[t] += w * value[t];
    }
}

// A running maximum whose move shrinks nothing that was summed before.
static void softmax_without_rescale(const formula *f, formula_row *r) {
    const int64_t tile = f->v.tile_keys;
    double m = -INFINITY, z = 0;
    for (int64_t first = r->first / tile * tile; first < r->end; first += tile) {
        const int64_t from = int64_max(first, r->first), to = int64_min(first + tile, r->end);
        m = largest(r, from, to, m);
        for (int64_t j = from; j < to; j++) z += r->w[j] = r->shown[j] ? exp(r->x[j] - m) : 0;
    }
    const double sink = formula_row_sink(f, r);
    if (sink != -INFINITY) z += exp(sink - m);
    for (int64_t j = r->first; j < r->end; j++) r->w[j] /= z;
    r->lse = m + log(z);
}

// Each tile by itself, and the mean of those that see a key.
static void softmax_unweighted(const formula *f, formula_row *r) {
    const int64_t tile = f->v.tile_keys, first_seen = r->first, end_seen = r->end;
    int64_t parts = 0;
    double whole;
    softmax(f, r);
    whole = r->lse;
    for (int64_t first = first_seen / tile * tile; first < end_seen; first += tile) {
        r->first = int64_max(first, first_seen);
        r->end = int64_min(first + tile, end_seen);
        if (largest(r, r->first, r->end, -INFINITY) == -INFINITY) continue;
        softmax(f, r);
        parts++;
    }
    r->first = first_seen;
    r->end = end_seen;
    for (int64_t j = first_seen; j < end_seen; j++) r->w[j] /= (double)int64_max(parts, 1);
    r->lse = whole;
}

// ---- Dropout, sinks that are not in the softmax, lse ----------------------------------------------------------------

static const uint8_t *keep_of(const formula *f, const formula_row *r) {
    const call *c = f->c;
    if (c->keep == NULL || f->v.dropout == DROPOUT_NONE) return NULL;
    return c->keep + ((r->batch * c->heads + r->head) * c->queries + r->row) * c->keys;
}

double formula_row_drop(const formula *f, const formula_row *r, int64_t j) {
    const uint8_t *keep = keep_of(f, r);
    if (keep == NULL || f->v.dropout == DROPOUT_BEFORE_SOFTMAX) return 1;
    return keep[j] == 0 ? 0 : f->v.dropout == DROPOUT_NOT_RESCALED ? 1 : 1 / (1 - f->c->problem.dropout);
}

static void drop(const formula *f, formula_row *r) {
    if (keep_of(f, r) == NULL) return;
    for (int64_t j = r->first; j < r->end; j++) r->w[j] *= formula_row_drop(f, r, j);
}

static void drop_before(const formula *f, formula_row *r) {
    const uint8_t *keep = keep_of(f, r);
    if (keep == NULL || f->v.dropout != DROPOUT_BEFORE_SOFTMAX) return;
    for (int64_t j = r->first; j < r->end; j++) r->x[j] = keep[j] ? r->x[j] / (1 - f->c->problem.dropout) : 0;
}

static void finish_sink(const formula *f, formula_row *r) {
    const double sink = formula_sink(f, r->head);
    if (sink == -INFINITY) return;
    const call *c = f->c;
    if (f->v.sink == SINK_AFTER_SOFTMAX)
        for (int64_t t = 0; t < c->value_channels; t++) r->out[t] /= 1 + exp(sink);
    if (f->v.sink == SINK_IN_VALUE && r->at.n_key > 0) {
        const double *value = value_row(f, r, 0), share = exp(sink - r->lse);
        for (int64_t t = 0; t < c->value_channels; t++) r->out[t] += share * value[t];
    }
}

static double log_without_sink(const formula_row *r) {
    const double m = largest(r, r->first, r->end, -INFINITY);
    double z = 0;
    for (int64_t j = r->first; j < r->end; j++)
        if (r->shown[j]) z += exp(r->x[j] - m);
    return m == -INFINITY ? m : m + log(z);
}

void formula_row_place(const formula *f, int64_t batch, int64_t head, int64_t row, formula_row *r) {
    r->batch = batch, r->head = head, r->row = row;
    r->at = call_sequence_of(f->c, batch);
    if (f->v.cache == CACHE_ONE_MORE && r->at.n_key < f->c->keys)
        r->at.n_key++, r->at.end_valid += r->at.end_valid == r->at.n_key - 1;
    if (f->v.cache == CACHE_ONE_LESS) r->at.n_key--, r->at.end_valid = int64_min(r->at.end_valid, r->at.n_key);
    r->kv_head = formula_kv_head(f, head);
}

// Do two variants differ in who is shown at most (and in what an empty row gives)?
static bool only_shown_differs(const variant *a, const variant *b) {
    variant same = *b;
    same.causal = a->causal, same.prefix = a->prefix, same.left = a->left, same.right = a->right;
    same.right_shift = a->right_shift, same.offset = a->offset, same.docs = a->docs;
    same.empty = a->empty, same.empty_mean_of_shown = a->empty_mean_of_shown;
    if (b->mask != MASK_AS_BIAS) same.mask = a->mask;
    if (b->padding != PADDING_ZERO_SCORES) same.padding = a->padding;
    if (b->tile == TILE_TAIL_DROPPED) same.tile = a->tile, same.tile_keys = a->tile_keys;
    if (b->cache == CACHE_ONE_MORE || b->cache == CACHE_ONE_LESS) same.cache = a->cache;
    return memcmp(a, &same, sizeof same) == 0;
}

bool formula_row_differs(const formula *claim, const formula *f, int64_t batch, int64_t head, int64_t row, formula_row *a,
                         formula_row *b) {
    if (!only_shown_differs(&claim->v, &f->v)) return true;
    formula_row_place(claim, batch, head, row, a);
    formula_row_place(f, batch, head, row, b);
    formula_row_shown(claim, a);
    formula_row_shown(f, b);
    if (a->at.n_key != b->at.n_key || memcmp(a->shown, b->shown, (size_t)f->c->keys) != 0) return true;
    // The same keys: only what an empty row gives may differ. A bias may hide the last ones, so one that has a bias may be empty.
    const bool rule = claim->v.empty != f->v.empty || claim->v.empty_mean_of_shown != f->v.empty_mean_of_shown;
    return rule && (f->c->bias != NULL || memchr(a->shown, 1, (size_t)f->c->keys) == NULL);
}

void formula_row_compute(const formula *f, int64_t batch, int64_t head, int64_t row, formula_row *r) {
    formula_row_place(f, batch, head, row, r);
    formula_row_scores(f, r);
    const bool sinks = formula_sink(f, head) != -INFINITY || (f->c->sinks != NULL && f->v.sink != SINK_NONE);
    if (r->empty && !sinks) {
        empty_row(f, r);
        return;
    }
    if (r->empty) memset(r->w, 0, (size_t)f->c->keys * sizeof(double));    // the sink takes the whole of it
    drop_before(f, r);
    if (f->v.tile == TILE_NO_RESCALE) softmax_without_rescale(f, r);
    else if (f->v.tile == TILE_UNWEIGHTED) softmax_unweighted(f, r);
    else softmax(f, r);
    drop(f, r);
    memset(r->out, 0, (size_t)f->c->value_channels * sizeof(double));
    add_values(f, r, r->first, r->end, r->out);
    finish_sink(f, r);
    if (f->v.lse == LSE_NO_SINK) r->lse = log_without_sink(r);
    if (f->v.lse == LSE_BASE2) r->lse /= log(2);
}
