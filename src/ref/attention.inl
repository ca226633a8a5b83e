// SPDX-License-Identifier: Apache-2.0
// Attention, forward and backward, one query row at a time: the definition. Compiled with REAL double (attention.c: what heed
// computes) and REAL float (plain.c: what rounding does to straightforward code). Results are stored as double either way.
//
//     x_ij = edits(scale q_i . k_j)        w_ij = exp(x_ij - lse_i) over visible j        out_i = sum_j z_ij w_ij v_j
//
// with z_ij what dropout multiplies by: 1 without it, else 0 or 1 / (1 - p).
//
// Gradients (Dao et al. 2022, FlashAttention, appendix B.2; sinks by the same chain):
//
//     dv_j += z_ij w_ij dout_i   ds_ij = w_ij (z_ij dout_i . v_j - D_i),  D_i = dout_i . out_i   dsink -= exp(sink - lse_i) D_i
//     dq_i += scale slope_ij ds_ij k_j        dk_j += scale slope_ij ds_ij q_i

#include "base/dropout.h"
#include "base/memory.h"
#include "core/problem.h"
#include "ref/attention.h"

#include <math.h>

// One head of one sequence, and one row of it.
typedef struct {
    const heed_problem *p;
    const heed_args *a;
    const ref_results *results;
    edit_sequence s;
    int64_t batch, head, kv_head;
    bool *visible;      // of the row at hand, per key: not hidden by a mask, nor by a score of -infinity
    REAL *raw, *w, *z;  // scores before edits; weights; what dropout multiplies them by
    double *out, lse;   // of the row; out as the gradients read it
    int64_t n_visible;
} ref_head;

static inline REAL load(heed_dtype type, const void *row, int64_t channel) { return (REAL)dtype_load(type, row, channel); }
static inline void add_to(double *sum, REAL x) { *sum = (double)((REAL)*sum + x); }

static inline const void *q_row(const ref_head *h, int64_t i) {
    return row_at(h->p->dtype, h->a->q, h->p->q, h->batch, h->head, i);
}
static inline const void *k_row(const ref_head *h, int64_t j) {
    return row_at(h->p->kv_dtype, h->a->k, h->p->k, h->batch, h->kv_head, j);
}
static inline const void *v_row(const ref_head *h, int64_t j) {
    return row_at(h->p->kv_dtype, h->a->v, h->p->v, h->batch, h->kv_head, j);
}
static inline const void *dout_row(const ref_head *h, int64_t i) {
    return row_at(h->p->dtype, h->a->dout, h->p->dout, h->batch, h->head, i);
}

static REAL dot(heed_dtype type_a, const void *a, heed_dtype type_b, const void *b, int64_t n) {
    REAL sum = 0;
    for (int64_t c = 0; c < n; c++) sum += load(type_a, a, c) * load(type_b, b, c);
    return sum;
}

// Scores of row i: raw, then edited into w; hidden keys are marked, never read.
static void row_scores(ref_head *h, int64_t i) {
    h->n_visible = 0;
    for (int64_t j = 0; j < h->s.n_key; j++) {
        h->visible[j] = edit_visible(&h->s, h->head, i, j);
        if (!h->visible[j]) continue;
        h->raw[j] = (REAL)h->p->scale * dot(h->p->dtype, q_row(h, i), h->p->kv_dtype, k_row(h, j), h->p->channels);
        h->w[j] = (REAL)edit_score(&h->s, h->head, i, j, (double)h->raw[j]);
        h->visible[j] = h->w[j] != (REAL)-INFINITY;
        h->n_visible += h->visible[j];
    }
}

static REAL sink_of(const ref_head *h) { return h->p->with & HEED_SINKS ? (REAL)h->a->sinks[h->head] : (REAL)-INFINITY; }

// Scores in w become weights; sets lse.
static void row_softmax(ref_head *h) {
    const REAL sink = sink_of(h);
    REAL m = sink, z = 0;
    for (int64_t j = 0; j < h->s.n_key; j++)
        if (h->visible[j] && h->w[j] > m) m = h->w[j];
    if (m == (REAL)-INFINITY) m = 0;    // no sink, and no score that compares: NaN goes through exp, or nothing is visible
    if (sink != (REAL)-INFINITY) z = (REAL)exp((double)(sink - m));
    for (int64_t j = 0; j < h->s.n_key; j++)
        if (h->visible[j]) z += h->w[j] = (REAL)exp((double)(h->w[j] - m));
    for (int64_t j = 0; j < h->s.n_key; j++)
        if (h->visible[j]) h->w[j] /= z;
    h->lse = (double)(m + (REAL)log((double)z));
}

static void row_dropout(ref_head *h, int64_t i) {
    const dropout d = dropout_of(h->p->dropout, h->a->seed, h->batch, h->head);
    for (int64_t j = 0; j < h->s.n_key; j++) h->z[j] = h->p->dropout > 0 ? (REAL)dropout_factor(&d, i, j) : 1;
}

// The keys over which an empty row averages: none for the other rules.
static int64_t mean_keys(const ref_head *h, int64_t i) {
    if (h->p->empty_row == HEED_EMPTY_MEAN) return h->s.n_key;
    if (h->p->empty_row == HEED_EMPTY_MEAN_CAUSAL) return int64_max(0, int64_min(h->s.n_key, i + h->s.offset + 1));
    return 0;
}

static bool row_is_empty(const ref_head *h) { return h->n_visible == 0 && !(h->p->with & HEED_SINKS); }

static void empty_row(ref_head *h, int64_t i) {
    const int64_t n = mean_keys(h, i);
    const bool nan = h->p->empty_row == HEED_EMPTY_NAN && h->s.n_key > 0;
    for (int64_t c = 0; c < h->p->value_channels; c++) {
        REAL sum = 0;
        for (int64_t j = 0; j < n; j++) sum += load(h->p->kv_dtype, v_row(h, j), c);
        h->out[c] = nan ? (double)NAN : n == 0 ? 0 : (double)(sum / (REAL)n);
    }
    h->lse = nan ? (double)NAN : (double)-INFINITY;
}

// empty:nan is an unprotected softmax: a hidden score is the score plus minus infinity, a hidden value is multiplied by 0, and
// what is not finite there stays so.
static void row_unprotected(ref_head *h, int64_t i) {
    for (int64_t j = 0; j < h->s.n_key; j++) {
        if (h->visible[j]) continue;
        bool finite = true;
        for (int64_t t = 0; t < h->p->channels; t++) finite &= isfinite(load(h->p->kv_dtype, k_row(h, j), t));
        for (int64_t c = 0; c < h->p->value_channels; c++)
            if (!finite || !isfinite(load(h->p->kv_dtype, v_row(h, j), c))) h->out[c] = (double)NAN;
        if (!finite) h->lse = (double)NAN;
    }
}

static void row_forward(ref_head *h, int64_t i) {
    row_scores(h, i);
    if (row_is_empty(h)) {
        empty_row(h, i);
        return;
    }
    row_softmax(h);
    row_dropout(h, i);
    for (int64_t c = 0; c < h->p->value_channels; c++) {
        REAL sum = 0;
        for (int64_t j = 0; j < h->s.n_key; j++)
            if (h->visible[j]) sum += h->z[j] * h->w[j] * load(h->p->kv_dtype, v_row(h, j), c);
        h->out[c] = (double)sum;
    }
    if (h->p->empty_row == HEED_EMPTY_NAN) row_unprotected(h, i);
}

// ---- Backward -----------------------------------------------------------------------------------------------------

static inline double *dq_row(const ref_head *h, int64_t i) {
    return h->results->dq + ((h->batch * h->p->heads + h->head) * h->p->queries + i) * h->p->channels;
}
static inline double *dk_row(const ref_head *h, int64_t j) {
    return h->results->dk + ((h->batch * h->p->kv_heads + h->kv_head) * h->p->keys + j) * h->p->channels;
}
static inline double *dv_row(const ref_head *h, int64_t j) {
    return h->results->dv + ((h->batch * h->p->kv_heads + h->kv_head) * h->p->keys + j) * h->p->value_channels;
}

static inline double *dbias_at(const ref_head *h, int64_t i, int64_t j) {
    const heed_grid_stride s = problem_grid_dense(h->p, h->p->bias_axes);
    return h->results->dbias + h->batch * s.batch + h->head * s.head + i * s.query + j * s.key;
}

// A mean passes its gradient to what it averaged; a NaN row poisons all it may have read, as an unprotected softmax does.
static void empty_row_backward(const ref_head *h, int64_t i) {
    const int64_t n = mean_keys(h, i);
    for (int64_t j = 0; j < n; j++)
        for (int64_t c = 0; c < h->p->value_channels; c++) add_to(&dv_row(h, j)[c], load(h->p->dtype, dout_row(h, i), c) / (REAL)n);
    if (h->p->empty_row != HEED_EMPTY_NAN || h->s.n_key == 0) return;
    for (int64_t t = 0; t < h->p->channels; t++) dq_row(h, i)[t] = (double)NAN;
    for (int64_t j = 0; j < h->s.n_key; j++) {
        for (int64_t t = 0; t < h->p->channels; t++) dk_row(h, j)[t] = (double)NAN;
        for (int64_t c = 0; c < h->p->value_channels; c++) dv_row(h, j)[c] = (double)NAN;
    }
}

static void pair_backward(const ref_head *h, int64_t i, int64_t j, REAL delta) {
    const heed_problem *p = h->p;
    const REAL dw = dot(p->dtype, dout_row(h, i), p->kv_dtype, v_row(h, j), p->value_channels);
    const REAL ds = h->w[j] * (h->z[j] * dw - delta);
    double slope_of_term;
    const REAL slope = (REAL)edit_slope(&h->s, h->head, i, j, (double)h->raw[j], &slope_of_term);
    const REAL dterm = (REAL)slope_of_term * ds, draw = (REAL)p->scale * slope * ds;
    if (h->results->dbias != NULL) add_to(dbias_at(h, i, j), dterm);
    if (h->results->dslopes != NULL) add_to(&h->results->dslopes[h->head], dterm * (REAL)(j - (i + h->s.offset)));
    for (int64_t t = 0; t < p->channels; t++) {
        add_to(&dq_row(h, i)[t], draw * load(p->kv_dtype, k_row(h, j), t));
        add_to(&dk_row(h, j)[t], draw * load(p->dtype, q_row(h, i), t));
    }
    for (int64_t c = 0; c < p->value_channels; c++)
        add_to(&dv_row(h, j)[c], h->z[j] * h->w[j] * load(p->dtype, dout_row(h, i), c));
}

static void row_backward(const ref_head *h, int64_t i) {
    if (row_is_empty(h)) {
        empty_row_backward(h, i);
        return;
    }
    if (h->n_visible == 0) return;    // only the sink, which has no value: out is 0, and so is every gradient
    REAL delta = 0;
    for (int64_t c = 0; c < h->p->value_channels; c++) delta += load(h->p->dtype, dout_row(h, i), c) * (REAL)h->out[c];
    if (h->results->dsinks != NULL)
        add_to(&h->results->dsinks[h->head], -(REAL)exp((double)(sink_of(h) - (REAL)h->lse)) * delta);
    for (int64_t j = 0; j < h->s.n_key; j++)
        if (h->visible[j]) pair_backward(h, i, j, delta);
}

// ---- All rows -----------------------------------------------------------------------------------------------------

static inline size_t scratch_bytes(const heed_problem *p) {
    size_t bytes = size_align(size_mul((size_t)p->keys, sizeof(bool)));
    bytes = size_add(bytes, size_mul(3, size_align(size_mul((size_t)p->keys, sizeof(REAL)))));
    return size_add(bytes, size_align(size_mul((size_t)p->value_channels, sizeof(double))));
}

static ref_head head_of(const heed_problem *p, const heed_args *a, const ref_results *results, void *scratch, int64_t b,
                        int64_t head) {
    char *at = scratch;
    ref_head h = {.p = p, .a = a, .results = results, .s = edit_begin(p, a, b), .batch = b, .head = head,
                  .kv_head = head / (p->heads / p->kv_heads)};
    h.visible = (bool *)at;
    h.raw = (REAL *)(at += size_align((size_t)p->keys * sizeof(bool)));
    h.w = (REAL *)(at += size_align((size_t)p->keys * sizeof(REAL)));
    h.z = (REAL *)(at += size_align((size_t)p->keys * sizeof(REAL)));
    h.out = (double *)(at + size_align((size_t)p->keys * sizeof(REAL)));
    return h;
}

static void zero(double *array, int64_t n) {
    for (int64_t i = 0; array != NULL && i < n; i++) array[i] = 0;
}

static void zero_results(const heed_problem *p, const ref_results *r) {
    const int64_t queries = p->batch * p->heads * p->queries, keys = p->batch * p->kv_heads * p->keys;
    zero(r->dq, queries * p->channels);
    zero(r->dk, keys * p->channels);
    zero(r->dv, keys * p->value_channels);
    zero(r->dsinks, p->heads);
    zero(r->dslopes, p->heads);
    if (r->dbias != NULL) zero(r->dbias, problem_grid_size(p, p->bias_axes));
}

// finish(h, i) sees each row after its forward computation, before its backward.
static inline void compute(const heed_problem *p, const heed_args *a, const ref_results *results, void *scratch,
                           void (*finish)(ref_head *h, int64_t i)) {
    zero_results(p, results);
    for (int64_t b = 0; b < p->batch; b++)
        for (int64_t head = 0; head < p->heads; head++) {
            ref_head h = head_of(p, a, results, scratch, b, head);
            for (int64_t i = 0; i < p->queries; i++) {
                row_forward(&h, i);
                finish(&h, i);
                if (p->pass == HEED_BACKWARD) row_backward(&h, i);
            }
        }
}

// Row i of the forward results.
static inline void store_row(const ref_head *h, int64_t i) {
    const int64_t row = (h->batch * h->p->heads + h->head) * h->p->queries + i;
    if (h->results->lse != NULL) h->results->lse[row] = h->lse;
    for (int64_t c = 0; h->results->out != NULL && c < h->p->value_channels; c++)
        h->results->out[row * h->p->value_channels + c] = h->out[c];
}
