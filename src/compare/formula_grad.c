// SPDX-License-Identifier: Apache-2.0
// The gradients of a variant, how exactly correct code can compute them, and such code simulated:
//
//     forward: out_i = sum_j w_ij v_j,  w = drop(p),  p_ij = exp(x_ij - lse_i),  x = edits(scale q . k)
//     so:      dv_j += w_ij dout_i        ds_ij = p_ij (drop_ij dw_ij - D_i)        dw_ij = dout_i . v_j,  D_i = dout_i . out_i
//              dq_i += scale slope_ij ds_ij k_j        dk_j likewise        dsink -= exp(sink - lse_i) D_i
//
// To first order, with c and u as in floor_row.h and e2 = c^2 + u^2 (k^2 (1 + X^2 + E[x^2]) + lse^2) the variance of a weight
// (n: terms of a sum; one of f32 has u^2 n (1 + n / 100) of its sum of squares at most):
//
//     var dw_ij = c^2 dw^2 + u^2 |dout|^2 |v_j|^2                 dP may be rounded to storage
//     var D_i   = sum_c dout^2 ulp(out)^2 / 12 + (e2 + c^2) sum_j p^2 dw^2 + u^2 |dout|^2 max |v|^2
//     S_ij      = ds^2 (e2 + c^2) + p^2 drop^2 var dw + least^2 / 12, each pair by itself; p^2 var D moves a row as one
//     var dq_it = scale^2 (sum_j slope^2 S_ij k_jt^2 + var D_i (sum_j slope p k_jt)^2) + ulp^2 / 12
//     var dk_jt = scale^2 sum_i slope^2 (S_ij + p^2 var D_i) q_it^2 + c^2 sum_heads dk_head^2 + ulp^2 / 12
//     var dv_jc = sum_i w^2 e2 dout_ic^2 + c^2 sum_heads dv_head^2 + ulp^2 / 12
//
// The term of D is what is left where gradients cancel: with one key, or equal values, ds is 0 and its error is not.
#include "compare/floor_row.h"

#include "base/error.h"
#include "base/memory.h"
#include "core/problem.h"

#include <math.h>
#include <string.h>

static const double f32_unit = 0x1p-24;

// One head's sums, before they are added to those of its kv head: values, then variances in the same layout.
typedef struct { double *dq, *dk_t, *dv, *dsink, *dslope; } sums;    // (queries, channels), (channels, keys), (keys, Dv)

typedef struct {
    const formula *f, *forward;     // whose scores and values; whose out and lse
    const ref_results *to, *var;    // var NULL: not wanted
    gradient_way way;
    formula_row r;
    sums value, spread;
    double *p, *drop, *slope, *dw, *draw, *pair, *v_norm, *along;    // by key
    double longest_v, delta, var_delta, e2, sum_unit;
    const double *dout;
} pass;

static double stored(const pass *s, double x) { return s->way == GRADIENTS_EXACT ? x : formula_round(s->f->c->problem.dtype, x); }
static double in_f32(const pass *s, double x) { return s->way == GRADIENTS_EXACT ? x : (double)(float)x; }
static double square(double x) { return x * x; }

static double dot(const double *a, const double *b, int64_t n) {
    double lane[8] = {0}, sum = 0;
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int l = 0; l < 8; l++) lane[l] += a[i + l] * b[i + l];
    for (; i < n; i++) sum += a[i] * b[i];
    for (int l = 0; l < 8; l++) sum += lane[l];
    return sum;
}

// sum a b^2
static double dot_squares(const double *a, const double *b, int64_t n) {
    double lane[8] = {0}, sum = 0;
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int l = 0; l < 8; l++) lane[l] += a[i + l] * b[i + l] * b[i + l];
    for (; i < n; i++) sum += a[i] * b[i] * b[i];
    for (int l = 0; l < 8; l++) sum += lane[l];
    return sum;
}

// ---- A pair's parts -----------------------------------------------------------------------------------------------

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

static bool is_padded(const pass *s, int64_t j) { return j < s->r.at.first_valid || j >= s->r.at.end_valid; }

// d score / d (scale q . k): 0 where the variant puts a constant in its place.
static double slope_of(const pass *s, int64_t j) {
    const formula *f = s->f;
    const bool bias_first = f->c->problem.with & HEED_BIAS_FIRST;
    if (f->v.padding == PADDING_ZERO_SCORES && is_padded(s, j)) return 0;
    if (f->v.cap == CAP_AFTER_MASK && s->r.x[j] == formula_capped(f, -INFINITY)) return 0;
    if (f->c->problem.score[0].kind == NULL) return 1;
    const double scaled = s->r.raw[j] * f->v.scale + (bias_first ? formula_terms(f, &s->r, j) : 0);
    return f->v.cap == CAP_BEFORE_SCALE ? cap_slope(f, s->r.raw[j]) : cap_slope(f, scaled);
}

static const uint8_t *keep_of(const pass *s) {
    const call *c = s->f->c;
    if (c->keep == NULL || s->f->v.dropout == DROPOUT_NONE) return NULL;
    return c->keep + ((s->r.batch * c->heads + s->r.head) * c->queries + s->r.row) * c->keys;
}

// What the gradient takes for the weight of a pair before dropout.
static double weight_of(const pass *s, int64_t j, double share) {
    const variant *v = &s->f->v;
    if (s->r.shown[j] == 0) return 0;
    const bool of_row = s->f->c->keep == NULL && (v->rounding != ROUND_CLAIMED || v->tile != TILE_CLAIMED);
    const double p = of_row ? s->r.w[j] : exp(in_f32(s, s->r.x[j]) - in_f32(s, s->r.lse));
    return v->grad == GRAD_SINK_MISSING ? p / (1 - share) : p;
}

// The sink of this row's softmax, as formula_row.c takes it.
static double sink_of(const pass *s) { return formula_row_sink(s->f, &s->r); }

// ---- A row --------------------------------------------------------------------------------------------------------

// p, drop, slope and dw of the row's keys.
static void fill_row(pass *s, const double *value) {
    const formula *f = s->f;
    const int64_t Dv = f->c->value_channels;
    const uint8_t *keep = keep_of(s);
    const double factor = f->v.dropout == DROPOUT_NOT_RESCALED ? 1 : 1 / (1 - f->c->problem.dropout);
    const double sink = sink_of(s), share = sink == -INFINITY ? 0 : exp(sink - s->r.lse);
    for (int64_t j = s->r.first; j < s->r.end; j++) {
        const double kept = keep == NULL ? 1 : keep[j] ? factor : 0;
        const bool before = f->v.dropout == DROPOUT_BEFORE_SOFTMAX;
        s->p[j] = weight_of(s, j, share);
        s->drop[j] = before ? 1 : kept;
        s->slope[j] = s->r.shown[j] ? slope_of(s, j) * (before ? kept : 1) : 0;
        s->dw[j] = s->r.shown[j] ? in_f32(s, dot(s->dout, value + j * Dv, Dv)) : 0;
        if (s->way != GRADIENTS_STAGES) continue;
        s->p[j] = stored(s, s->p[j]);
        s->dw[j] = stored(s, s->dw[j]);
    }
}

// A backward pass whose weights are not those of the forward pass has D from its output.
static bool has_own_delta(const pass *s) {
    return s->way == GRADIENTS_STAGES && s->forward == s->f && s->f->v.grad != GRAD_SINK_MISSING;
}

// D: of the stored output, or of the stages' own products.
static void find_delta(pass *s) {
    const call *c = s->f->c;
    double delta = 0, of_out = 0, of_p = 0;
    for (int64_t t = 0; t < c->value_channels; t++) {
        const double ulp = floor_ulp(c->problem.dtype, s->r.out[t]);
        delta += s->dout[t] * stored(s, s->r.out[t]);
        of_out += square(s->dout[t] * ulp) / 12;
    }
    if (has_own_delta(s)) delta = 0;
    for (int64_t j = s->r.first; j < s->r.end; j++) {
        const double part = s->p[j] * s->drop[j] * s->dw[j];
        if (has_own_delta(s)) delta += part;
        of_p += part * part;
    }
    const double sink = s->f->v.sink == SINK_IN_VALUE ? sink_of(s) : (double)-INFINITY;
    if (has_own_delta(s) && sink != -INFINITY) delta += exp(sink - s->r.lse) * s->dw[0];
    const floor_factors by = floor_factors_of(c);
    formula_row weighed = s->r;
    weighed.w = s->p;
    s->e2 = by.c * by.c + square(f32_unit) * (by.k * by.k * floor_row_spread(s->f, &weighed) + square(s->r.lse));
    const double n_out = dot(s->dout, s->dout, c->value_channels);
    s->var_delta = of_out + (s->e2 + square(by.c)) * of_p + square(f32_unit) * n_out * s->longest_v;
    s->delta = in_f32(s, delta);
}

// draw: the pair's part of scale q . k's gradient, and pair: its variance.
static double take_pair(pass *s, int64_t j, double c2, double least) {
    const formula *f = s->f;
    const double delta = f->v.grad == GRAD_DELTA_MISSING ? 0 : s->delta;
    double ds = in_f32(s, f->v.exponent_factor * s->p[j] * (s->drop[j] * s->dw[j] - delta));
    if (s->way != GRADIENTS_EXACT) ds = stored(s, ds);
    const double factor = f->v.grad == GRAD_SCALE_MISSING ? 1 : f->v.grad == GRAD_SCALE_TWICE ? square(f->v.scale) : f->v.scale;
    s->draw[j] = factor * s->slope[j] * ds;
    if (s->var == NULL) return ds;
    const double n_out = dot(s->dout, s->dout, f->c->value_channels);
    const double var_dw = c2 * square(s->dw[j]) + square(f32_unit) * n_out * s->v_norm[j];
    s->pair[j] = ds * ds * (s->e2 + c2 + s->sum_unit) + square(s->p[j] * s->drop[j]) * var_dw + least;
    return ds;
}

static int64_t bias_place(const pass *s, int64_t j) {
    const heed_grid_stride g = problem_grid_dense(&s->f->c->problem, s->f->c->problem.bias_axes);
    const bool turned = s->f->v.bias == BIAS_TRANSPOSED;
    return s->r.batch * g.batch + s->r.head * g.head + (turned ? j : s->r.row) * g.query + (turned ? s->r.row : j) * g.key;
}

// Gradients of what is added to scores. A row's error of D moves all its keys as one: along the slopes, and in a bias that
// does not tell keys apart.
static void add_terms(pass *s, int64_t j, double ds, double along[2]) {
    const formula *f = s->f;
    const double at_term = f->c->problem.with & HEED_BIAS_FIRST ? s->slope[j] : 1, dterm = at_term * ds;
    const bool tells = f->c->problem.bias_axes & HEED_AXIS_KEY;
    if (s->to->dslopes != NULL) {
        const double distance = formula_distance(f, &s->r, j);
        *s->value.dslope += dterm * distance;
        *s->spread.dslope += s->var == NULL ? 0 : square(at_term * distance) * s->pair[j];
        along[0] += at_term * s->p[j] * distance;
    }
    if (s->to->dbias == NULL) return;
    const int64_t at = bias_place(s, j);
    s->to->dbias[at] += f->v.bias_factor * dterm;
    if (s->var != NULL) s->var->dbias[at] += square(at_term) * (s->pair[j] + (tells ? square(s->p[j]) * s->var_delta : 0));
    along[1] += tells ? 0 : at_term * s->p[j];
}

static void add_pairs(pass *s) {
    const call *c = s->f->c;
    const double c2 = square(floor_factors_of(c).c), least = c->problem.dtype == HEED_F16 ? square(0x1p-24) / 12 : 0;
    double along[2] = {0};
    for (int64_t j = s->r.first; j < s->r.end; j++) {
        if (s->r.shown[j] == 0) {
            s->draw[j] = s->pair[j] = 0;
            continue;
        }
        add_terms(s, j, take_pair(s, j, c2, least), along);
    }
    if (s->var == NULL) return;
    if (s->to->dslopes != NULL) *s->spread.dslope += square(along[0]) * s->var_delta;
    if (s->to->dbias != NULL && along[1] != 0) s->var->dbias[bias_place(s, s->r.first)] += square(along[1]) * s->var_delta;
}

// dq of the row, and its part of dk: by channel, over keys that lie side by side.
static void add_products(pass *s) {
    const formula *f = s->f;
    const call *c = f->c;
    const int64_t D = c->channels, K = c->keys, first = s->r.first, n = s->r.end - first;
    const bool swapped = f->v.roles == ROLES_QK_SWAPPED;
    const int64_t q_head = s->r.batch * (swapped ? c->kv_heads : c->heads) + (swapped ? s->r.kv_head : s->r.head);
    const double *q = f->query + (q_head * c->queries + s->r.row) * D;
    const double *k = f->key_t + (s->r.batch * f->key_heads + (swapped ? s->r.head : s->r.kv_head)) * D * K + first;
    const double *draw = s->draw + first, scale2 = square(f->v.scale);
    double *pair = s->pair + first, *both = s->dw + first, *along = s->along;    // dw is used up
    for (int64_t j = 0; s->var != NULL && j < n; j++) {
        pair[j] *= scale2 * square(s->slope[first + j]);
        along[j] = fabs(f->v.scale) * s->slope[first + j] * s->p[first + j];
        both[j] = pair[j] + along[j] * along[j] * s->var_delta;
    }
    for (int64_t t = 0; t < D; t++) {
        double *dk = s->value.dk_t + t * K + first, *var_dk = s->spread.dk_t + t * K + first;
        const double qt = q[t], *kt = k + t * K;
        s->value.dq[s->r.row * D + t] += in_f32(s, dot(draw, kt, n));
        for (int64_t j = 0; j < n; j++) dk[j] += draw[j] * qt;
        for (int64_t j = 0; s->way != GRADIENTS_EXACT && j < n; j++) dk[j] = (double)(float)dk[j];
        if (s->var == NULL) continue;
        s->spread.dq[s->r.row * D + t] += dot_squares(pair, kt, n) + square(dot(along, kt, n)) * s->var_delta;
        for (int64_t j = 0; j < n; j++) var_dk[j] += both[j] * qt * qt;
    }
}

static void add_values(pass *s) {
    const int64_t Dv = s->f->c->value_channels;
    for (int64_t j = s->r.first; j < s->r.end; j++) {
        double *dv = s->value.dv + j * Dv, *var = s->spread.dv + j * Dv;
        double w = s->p[j] * s->drop[j];
        if (w == 0) continue;
        w = stored(s, w);
        const double e2 = w * w * (s->e2 + s->sum_unit);
        for (int64_t t = 0; t < Dv; t++) dv[t] += w * s->dout[t];
        for (int64_t t = 0; s->way != GRADIENTS_EXACT && t < Dv; t++) dv[t] = (double)(float)dv[t];
        for (int64_t t = 0; s->var != NULL && t < Dv; t++) var[t] += e2 * s->dout[t] * s->dout[t];
    }
}

// A row of NaN makes NaN of all it may have read, as an unprotected softmax does.
static void poison(pass *s) {
    const call *c = s->f->c;
    for (int64_t t = 0; t < c->channels; t++) {
        s->value.dq[s->r.row * c->channels + t] = (double)NAN;
        for (int64_t j = 0; j < s->r.at.n_key; j++) s->value.dk_t[t * c->keys + j] = (double)NAN;
    }
    for (int64_t i = 0; i < s->r.at.n_key * c->value_channels; i++) s->value.dv[i] = (double)NAN;
}

// A mean hands its gradient to what it averaged.
static void empty_row(pass *s) {
    const call *c = s->f->c;
    const int64_t Dv = c->value_channels;
    if (s->f->v.empty == HEED_EMPTY_NAN && s->r.at.n_key > 0) poison(s);
    int64_t end = 0, n = 0;
    if (s->f->v.empty == HEED_EMPTY_MEAN) end = s->r.at.n_key;
    if (s->f->v.empty == HEED_EMPTY_MEAN_CAUSAL) end = int64_max(0, int64_min(s->r.at.n_key, s->r.row + s->r.at.offset + 1));
    const bool of_shown = s->f->v.empty_mean_of_shown;    // then formula_row_compute left in `shown` over which
    for (int64_t j = 0; j < end; j++) n += !of_shown || s->r.shown[j];
    for (int64_t j = 0; j < end; j++)
        for (int64_t t = 0; (!of_shown || s->r.shown[j]) && t < Dv; t++) {
            const double part = s->dout[t] / (double)n;
            s->value.dv[j * Dv + t] += stored(s, part);
            s->spread.dv[j * Dv + t] += square(part) * (square(floor_factors_of(c).c) + s->sum_unit);
        }
}

static void add_sink(pass *s, const double *value) {
    const formula *f = s->f;
    const bool after = f->v.sink == SINK_AFTER_SOFTMAX;
    const double sink = after ? formula_sink(f, s->r.head) : sink_of(s);
    if (s->to->dsinks == NULL || f->v.grad == GRAD_SINK_MISSING || sink == -INFINITY) return;
    const double share = after ? 1 / (1 + exp(-sink)) : exp(sink - s->r.lse);
    double inside = 0;    // what the sink's weight multiplies
    if (f->v.sink == SINK_IN_VALUE && s->r.at.n_key > 0) inside = dot(s->dout, value, f->c->value_channels);
    if (f->v.sink == SINK_IN_VALUE)
        for (int64_t t = 0; t < f->c->value_channels; t++) s->value.dv[t] += share * s->dout[t];
    const double part = in_f32(s, share * (inside - s->delta)) * (f->v.grad == GRAD_SINK_SIGN ? -1 : 1);
    *s->value.dsink += part;
    *s->spread.dsink += square(share) * s->var_delta + square(part) * (s->e2 + square(floor_factors_of(f->c).c) + s->sum_unit);
}

static void take_row(pass *s) {
    const formula *f = s->f;
    const call *c = f->c;
    const int64_t Dv = c->value_channels;
    const double *value = f->value + (s->r.batch * c->kv_heads + s->r.kv_head) * c->keys * Dv;
    s->dout = c->dout + ((s->r.batch * c->heads + s->r.head) * c->queries + s->r.row) * Dv;
    s->sum_unit = square(f32_unit) * (double)c->keys * (1 + (double)c->keys / 100);
    if (s->r.empty) {
        if (formula_sink(f, s->r.head) == -INFINITY) empty_row(s);
        return;
    }
    if (f->v.sink == SINK_AFTER_SOFTMAX && formula_sink(f, s->r.head) != -INFINITY) {    // dout of the plain softmax
        const double by = 1 / (1 + exp(formula_sink(f, s->r.head)));
        for (int64_t t = 0; t < Dv; t++) s->r.spare[t] = s->dout[t] * by, s->r.out[t] /= by;
        s->dout = s->r.spare;
    }
    fill_row(s, value);
    find_delta(s);
    add_sink(s, value);
    add_pairs(s);
    add_values(s);
    add_products(s);
}

// ---- A head, and all of them --------------------------------------------------------------------------------------

static int64_t sums_doubles(const call *c) {
    return c->queries * c->channels + c->keys * (c->channels + c->value_channels) + 2;
}

static sums sums_at(const call *c, double *at) {
    sums s = {.dq = at};
    s.dk_t = s.dq + c->queries * c->channels;
    s.dv = s.dk_t + c->keys * c->channels;
    s.dsink = s.dv + c->keys * c->value_channels;
    s.dslope = s.dsink + 1;
    return s;
}

static size_t pass_bytes(const call *c) {
    const int64_t doubles = 8 * c->keys + 2 * sums_doubles(c);
    return size_add(formula_row_bytes(c), size_align(size_mul((size_t)doubles, sizeof(double))));
}

typedef struct {
    const formula *f, *forward;
    const ref_results *to, *var;
    gradient_way way;
    char *memory;
    int64_t first;
} heads_job;

static pass pass_at(const heads_job *job, char *memory) {
    const call *c = job->f->c;
    pass s = {.f = job->f, .forward = job->forward, .to = job->to, .var = job->var, .way = job->way};
    s.r = formula_row_at(c, memory);
    double *at = (double *)(memory + formula_row_bytes(c));
    double **const by_key[] = {&s.p, &s.drop, &s.slope, &s.dw, &s.draw, &s.pair, &s.v_norm, &s.along};
    for (size_t i = 0; i < sizeof by_key / sizeof *by_key; i++) *by_key[i] = at, at += c->keys;
    s.value = sums_at(c, at);
    s.spread = sums_at(c, at + sums_doubles(c));
    return s;
}

// Rows as the forward pass had them; then the scores that the backward pass takes, where it takes others.
static void head_gradients(void *context, int64_t item, int worker) {
    const heads_job *job = context;
    const call *c = job->f->c;
    const int64_t head = job->first + item, Dv = c->value_channels;
    pass s = pass_at(job, job->memory + (size_t)item * pass_bytes(c));
    memset(s.value.dq, 0, (size_t)(2 * sums_doubles(c)) * sizeof(double));
    const double *value = job->f->value + (head / c->heads * c->kv_heads + formula_kv_head(job->f, head % c->heads)) * c->keys * Dv;
    for (int64_t j = 0; j < c->keys; j++) {
        s.v_norm[j] = dot(value + j * Dv, value + j * Dv, Dv);
        s.longest_v = fmax(s.longest_v, s.v_norm[j]);
    }
    for (int64_t i = 0; i < c->queries; i++) {
        formula_row_compute(s.forward, head / c->heads, head % c->heads, i, &s.r);
        if (s.forward != s.f && !s.r.empty) {
            formula_row_place(s.f, head / c->heads, head % c->heads, i, &s.r);
            formula_row_scores(s.f, &s.r);
        }
        take_row(&s);
    }
}

// Adds a head's (or with `transposed`, of (channels, tokens) a head's) sums to those of its kv head; c2: each head's may be
// rounded before.
typedef struct { const pass *s; double c2; bool replace, transposed; } adder;

static void add_head(const adder *a, double *to, double *to_var, const double *value, const double *var, int64_t n, int64_t width) {
    for (int64_t i = 0; to != NULL && i < n; i++)
        for (int64_t t = 0; t < width; t++) {
            const int64_t at = i * width + t, from = a->transposed ? t * n + i : at;
            const double x = a->c2 > 0 ? stored(a->s, value[from]) : value[from];
            to[at] = a->replace ? x : to[at] + x;
            if (to_var != NULL) to_var[at] = (a->replace ? 0 : to_var[at]) + var[from] + a->c2 * value[from] * value[from];
        }
}

static double *at_or_null(double *x, int64_t at) { return x == NULL ? NULL : x + at; }

static void collect(const heads_job *job, const pass *s, int64_t item) {
    const formula *f = job->f;
    const call *c = f->c;
    const ref_results none = {.out = NULL}, *to = job->to, *var = job->var != NULL ? job->var : &none;
    const bool swapped = f->v.roles == ROLES_QK_SWAPPED;
    const int64_t D = c->channels, Q = c->queries, K = c->keys, nv = K * c->value_channels;
    const int64_t head = item % c->heads, kv = item / c->heads * c->kv_heads + formula_kv_head(f, head);
    const double c2 = c->group > 1 ? square(floor_factors_of(c).c) : 0;
    const adder rows = {s, 0, false, false}, keys = {s, c2, f->v.grad == GRAD_GROUP_NOT_SUMMED, true};
    adder values = keys, of_query = keys;
    values.transposed = of_query.transposed = false;
    double *dq = at_or_null(to->dq, item * Q * D), *var_dq = at_or_null(var->dq, item * Q * D);
    double *dk = at_or_null(to->dk, kv * K * D), *var_dk = at_or_null(var->dk, kv * K * D);
    if (swapped) {    // what was the query is a key
        const adder turned = {s, 0, false, true};
        add_head(&of_query, dk, var_dk, s->value.dq, s->spread.dq, Q, D);
        add_head(&turned, dq, var_dq, s->value.dk_t, s->spread.dk_t, K, D);
    } else {
        add_head(&rows, dq, var_dq, s->value.dq, s->spread.dq, Q, D);
        add_head(&keys, dk, var_dk, s->value.dk_t, s->spread.dk_t, K, D);
    }
    add_head(&values, at_or_null(to->dv, kv * nv), at_or_null(var->dv, kv * nv), s->value.dv, s->spread.dv, K, c->value_channels);
    int64_t sink = head;
    if (f->v.sink_order == SINK_ORDER_GROUPED) sink = head % c->group * c->kv_heads + head / c->group;
    if (f->v.sink_order == SINK_ORDER_REVERSED) sink = c->heads - 1 - head;
    const double factor = f->v.sink_factor * (f->v.sink == SINK_SCALED ? f->v.scale : 1);
    if (to->dsinks != NULL) to->dsinks[sink] += factor * *s->value.dsink;
    if (var->dsinks != NULL) var->dsinks[sink] += square(factor) * *s->spread.dsink;
    if (to->dslopes != NULL) to->dslopes[head] += *s->value.dslope;
    if (var->dslopes != NULL) var->dslopes[head] += *s->spread.dslope;
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

heed_status formula_gradients(const formula *given, const formula *forward, const ref_results *to, const ref_results *var,
                              gradient_way way, const threads *team, heed_error *error) {
    formula f = *given, first = forward != NULL ? *forward : *given;
    const call *c = f.c;
    f.v.lse = first.v.lse = LSE_CLAIMED;    // what is reported as lse changes no gradient
    const bool unmasked = f.v.grad == GRAD_MASK_MISSING;
    if (unmasked) {
        f.v.causal = false, f.v.prefix = f.v.left = f.v.right = -1;
        f.v.mask = MASK_NONE, f.v.padding = PADDING_NONE, f.v.docs = DOCS_NONE;
    }
    const int64_t heads = c->batch * c->heads;
    const int64_t wave = to->dbias != NULL ? 1 : int64_min(int64_max(1, heads), team->workers);    // heads may share a bias
    char *memory = memory_take(size_mul((size_t)wave, pass_bytes(c)));
    if (memory == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for the gradients of a formula");
    zero(c, to);
    if (var != NULL) zero(c, var);
    heads_job job = {&f, forward != NULL || unmasked ? &first : &f, to, var, way, memory, 0};
    for (; job.first < heads; job.first += wave) {
        const int64_t n = int64_min(wave, heads - job.first);
        threads_for(team, n, head_gradients, &job);
        for (int64_t i = 0; i < n; i++) {
            const pass s = pass_at(&job, memory + (size_t)i * pass_bytes(c));
            collect(&job, &s, job.first + i);
        }
    }
    memory_free(memory);
    return formula_inputs_back(&f, to, var, error);
}
