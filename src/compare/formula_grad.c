// SPDX-License-Identifier: Apache-2.0
// The gradients of a variant (ref/attention.inl has the formulas):
//
//     forward: out_i = sum_j w_ij v_j,  w = drop(p),  p_ij = exp(x_ij - lse_i),  x = edits(scale q . k)
//     so:      dv_j += w_ij dout_i        ds_ij = p_ij (drop_ij dout_i . v_j - D_i)        D_i = dout_i . out_i
//              dq_i += scale slope_ij ds_ij k_j        dk_j likewise        dsink -= exp(sink - lse_i) D_i
#include "compare/formula.h"

#include "base/error.h"
#include "base/memory.h"
#include "core/problem.h"

#include <math.h>
#include <string.h>

typedef struct { const formula *f; const ref_results *to; formula_row r; double delta, *dk, *dv; } pass;

static double cap_slope(const formula *f, double x) {
    const heed_problem *p = &f->c->problem;
    double slope = 1;
    if (f->v.cap == CAP_NONE || f->v.grad == GRAD_SOFTCAP_SLOPE_MISSING) return 1;
    for (int i = 0; i < HEED_EDITS && p->score[i].kind != NULL; i++) {
        const double cap = p->score[i].f[0], y = tanh(x / cap);
        slope *= 1 - y * y;
        x = cap * y;
    }
    return slope;
}

static double term_at(const pass *s, int64_t j) {
    const call *c = s->f->c;
    double term = 0;
    if (c->slopes != NULL) term += c->slopes[s->r.head] * (double)(j - (s->r.row + s->r.at.offset));
    if (c->bias != NULL) {
        const heed_grid_stride g = problem_grid_dense(&c->problem, c->problem.bias_axes);
        term += c->bias[s->r.batch * g.batch + s->r.head * g.head + s->r.row * g.query + j * g.key];
    }
    return term;
}

// What the gradient takes for the weight of a pair before dropout.
static double weight_of(const pass *s, int64_t j) {
    if (s->f->v.grad == GRAD_SINK_MISSING) {
        const double sink = formula_sink(s->f, s->r.head), share = exp(sink - s->r.lse);
        return s->r.shown[j] ? exp(s->r.x[j] - s->r.lse) / (1 - share) : 0;
    }
    if (s->f->v.rounding != ROUND_CLAIMED || s->f->v.tile != TILE_CLAIMED) return s->r.shown[j] ? s->r.w[j] : 0;
    return s->r.shown[j] ? exp(s->r.x[j] - s->r.lse) : 0;
}

static void pair(const pass *s, int64_t j, const double *dout) {
    const formula *f = s->f;
    const call *c = f->c;
    const int64_t D = c->channels, Dv = c->value_channels, head = s->r.batch * c->kv_heads + s->r.kv_head;
    const double *value = f->value + (head * c->keys + j) * Dv, p = weight_of(s, j);
    double dw = 0, drop = 1;
    if (c->keep != NULL && f->v.dropout != DROPOUT_NONE) {
        const int64_t at = ((s->r.batch * c->heads + s->r.head) * c->queries + s->r.row) * c->keys + j;
        drop = c->keep[at] == 0 ? 0 : f->v.dropout == DROPOUT_NOT_RESCALED ? 1 : 1 / (1 - c->problem.dropout);
    }
    for (int64_t t = 0; t < Dv; t++) {
        s->dv[j * Dv + t] += p * drop * dout[t];
        dw += dout[t] * value[t];
    }
    const bool bias_first = c->problem.with & HEED_BIAS_FIRST;
    const double ds = p * (drop * dw - (f->v.grad == GRAD_DELTA_MISSING ? 0 : s->delta));
    const double scaled = s->r.raw[j] * f->v.scale + (bias_first ? term_at(s, j) : 0);
    const double slope = f->v.cap == CAP_BEFORE_SCALE ? cap_slope(f, s->r.raw[j]) : cap_slope(f, scaled);
    const double twice = f->v.grad == GRAD_SCALE_TWICE ? f->v.scale : 1;
    const double factor = f->v.grad == GRAD_SCALE_MISSING ? 1 : f->v.scale * twice;
    const double draw = factor * slope * ds, dterm = bias_first ? slope * ds : ds;
    const int64_t query = ((s->r.batch * c->heads + s->r.head) * c->queries + s->r.row) * D;
    for (int64_t t = 0; t < D; t++) {
        if (s->to->dq != NULL) s->to->dq[query + t] += draw * f->key_t[(head * D + t) * c->keys + j];
        s->dk[j * D + t] += draw * f->query[query + t];
    }
    if (s->to->dslopes != NULL) s->to->dslopes[s->r.head] += dterm * (double)(j - (s->r.row + s->r.at.offset));
    if (s->to->dbias != NULL) {
        const heed_grid_stride g = problem_grid_dense(&c->problem, c->problem.bias_axes);
        s->to->dbias[s->r.batch * g.batch + s->r.head * g.head + s->r.row * g.query + j * g.key] += f->v.bias_factor * dterm;
    }
}

// A mean hands its gradient to what it averaged.
static void empty_row(const pass *s, const double *dout) {
    const call *c = s->f->c;
    int64_t n = 0;
    if (s->f->v.empty == HEED_EMPTY_MEAN) n = s->r.at.n_key;
    if (s->f->v.empty == HEED_EMPTY_MEAN_CAUSAL) n = int64_max(0, int64_min(s->r.at.n_key, s->r.row + s->r.at.offset + 1));
    for (int64_t j = 0; j < n; j++)
        for (int64_t t = 0; t < c->value_channels; t++) s->dv[j * c->value_channels + t] += dout[t] / (double)n;
}

static void row(pass *s) {
    const formula *f = s->f;
    const call *c = f->c;
    const int64_t Dv = c->value_channels;
    const double *dout = c->dout + ((s->r.batch * c->heads + s->r.head) * c->queries + s->r.row) * Dv;
    const double sink = formula_sink(f, s->r.head);
    if (s->r.empty && sink == -INFINITY) {
        empty_row(s, dout);
        return;
    }
    if (s->r.empty) return;
    s->delta = 0;
    for (int64_t t = 0; t < Dv; t++) s->delta += dout[t] * s->r.out[t];
    if (s->to->dsinks != NULL && f->v.grad != GRAD_SINK_MISSING && sink != -INFINITY)
        s->to->dsinks[s->r.head] += (f->v.grad == GRAD_SINK_SIGN ? 1 : -1) * exp(sink - s->r.lse) * s->delta;
    for (int64_t j = s->r.first; j < s->r.end; j++) pair(s, j, dout);
}

// Rows as the forward pass had them; with the mask left out of the gradient, the scores of all keys and the true lse.
static void all_rows(pass *s, int64_t b, int64_t head, const formula *unmasked) {
    for (int64_t i = 0; i < s->f->c->queries; i++) {
        formula_row_compute(s->f, b, head, i, &s->r);
        if (s->f->v.grad == GRAD_MASK_MISSING && !s->r.empty) formula_row_scores(unmasked, &s->r);
        row(s);
    }
}

static void add(double *to, const double *from, int64_t n, bool replace) {
    for (int64_t i = 0; to != NULL && i < n; i++) to[i] = replace ? from[i] : to[i] + from[i];
}

static void zero(const call *c, const ref_results *to) {
    const size_t S = sizeof(double), rows = (size_t)(c->batch * c->heads * c->queries);
    const size_t keys = (size_t)(c->batch * c->kv_heads * c->keys);
    if (to->dq != NULL) memset(to->dq, 0, rows * (size_t)c->channels * S);
    if (to->dk != NULL) memset(to->dk, 0, keys * (size_t)c->channels * S);
    if (to->dv != NULL) memset(to->dv, 0, keys * (size_t)c->value_channels * S);
    if (to->dsinks != NULL) memset(to->dsinks, 0, (size_t)c->heads * S);
    if (to->dslopes != NULL) memset(to->dslopes, 0, (size_t)c->heads * S);
    if (to->dbias != NULL) memset(to->dbias, 0, (size_t)problem_grid_size(&c->problem, c->problem.bias_axes) * S);
}

heed_status formula_gradients(const formula *f, const ref_results *to, heed_error *error) {
    const call *c = f->c;
    const int64_t nk = c->keys * c->channels, nv = c->keys * c->value_channels;
    const size_t row_bytes = formula_row_bytes(c), S = sizeof(double);
    char *memory = memory_take(size_add(row_bytes, size_mul((size_t)int64_max(nk + nv, 1), S)));
    if (memory == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for the gradients of a formula");
    pass s = {.f = f, .to = to, .r = formula_row_at(c, memory), .dk = (double *)(memory + row_bytes)};
    s.dv = s.dk + nk;
    formula unmasked = *f;
    unmasked.v.causal = false, unmasked.v.prefix = unmasked.v.left = unmasked.v.right = -1;
    unmasked.v.mask = MASK_NONE, unmasked.v.padding = PADDING_NONE, unmasked.v.docs = DOCS_NONE;
    zero(c, to);
    for (int64_t b = 0; b < c->batch; b++)
        for (int64_t head = 0; head < c->heads; head++) {
            memset(s.dk, 0, (size_t)(nk + nv) * S);
            all_rows(&s, b, head, &unmasked);
            const int64_t at = b * c->kv_heads + formula_kv_head(f, head);
            const bool replace = f->v.grad == GRAD_GROUP_NOT_SUMMED;
            add(to->dk == NULL ? NULL : to->dk + at * nk, s.dk, nk, replace);
            add(to->dv == NULL ? NULL : to->dv + at * nv, s.dv, nv, replace);
        }
    memory_free(memory);
    return HEED_OK;
}
