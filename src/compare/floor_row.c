// SPDX-License-Identifier: Apache-2.0
#include "compare/floor_row.h"

#include "base/dtype.h"
#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double f32_unit = 0x1p-24;

// The relative spacing of a storage type just above 1; f32 weights are not rounded again.
static double storage_unit(heed_dtype type) { return type == HEED_BF16 ? 0x1p-7 : type == HEED_F16 ? 0x1p-10 : 0; }

// 0.21 of the spacing is the rms of a rounding whose argument lies evenly in the logarithm; k: f32 sums of some dozens of
// products stay within it (floor_simulate, tests/compare_floor.c).
floor_factors floor_factors_of(const call *c) { return (floor_factors){.c = 0.21 * storage_unit(c->problem.dtype), .k = 1}; }

double floor_ulp(heed_dtype type, double x) {
    const int digits = type == HEED_BF16 ? 7 : type == HEED_F16 ? 10 : 23;
    const double least = type == HEED_F16 ? 0x1p-24 : 0x1p-149;
    return x == 0 || !isfinite(x) ? least : fmax(least, ldexp(1, ilogb(x) - digits));
}

static double norm(const double *x, int64_t n, int64_t step) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i * step] * x[i * step];
    return sqrt(sum);
}

static const double *query_of(const formula *f, const formula_row *r) {
    const call *c = f->c;
    const bool swapped = f->v.roles == ROLES_QK_SWAPPED;
    const int64_t heads = swapped ? c->kv_heads : c->heads, head = swapped ? r->kv_head : r->head;
    return f->query + ((r->batch * heads + head) * c->queries + r->row) * c->channels;
}

static const double *keys_of(const formula *f, const formula_row *r) {
    const int64_t head = f->v.roles == ROLES_QK_SWAPPED ? r->head : r->kv_head;
    return f->key_t + (r->batch * f->key_heads + head) * f->c->channels * f->c->keys;
}

// Angles in f32 are off by their own rounding, the more the later the position: as a part of X, squared. Over the pairs of
// channels,
// whose angles fall as powers of theta, sum theta^(-4 p / D) / (D / 2)^2.
static double angle_spread(const formula *f, const formula_row *r) {
    const variant_rope *rope = &f->v.rope;
    if (rope->layout == ROPE_NONE || !rope->f32_angles) return 0;
    const double d = (double)f->c->channels, query = (double)(r->row + r->at.offset), key = (double)r->end;
    const double angles = 1 / (1 - pow(rope->theta, -4 / d));
    return (query * query + key * key) * angles / (d * d / 4);
}

// 1 + X^2 + E[x^2]: what the error of a score is in proportion to.
// A weight before dropout: what is dropped is in lse all the same.
static double weight_before(const formula *f, const formula_row *r, int64_t j) {
    if (f->c->keep == NULL) return r->w[j];
    return exp(r->x[j] - (f->v.lse == LSE_BASE2 ? r->lse * log(2) : r->lse));
}

// What is added to a score, squared: slope * key and slope * row, and the bias, are each rounded, though their sum may cancel.
static double term_spread(const formula *f, const formula_row *r, int64_t j) {
    const call *c = f->c;
    if (c->slopes == NULL && c->bias == NULL) return 0;
    const double term = formula_terms(f, r, j);
    const double slope = c->slopes == NULL ? 0 : c->slopes[r->head] * (double)(j + llabs(r->row + r->at.offset));
    return isfinite(term) ? term * term + slope * slope : 0;
}

double floor_row_spread(const formula *f, const formula_row *r) {
    const call *c = f->c;
    double longest = 0, mean = 0, whole = 0;
    for (int64_t j = r->first; j < r->end; j++) {
        if (!r->shown[j]) continue;
        longest = fmax(longest, norm(keys_of(f, r) + j, c->channels, c->keys));
        const double p = fabs(weight_before(f, r, j));
        mean += p * (r->x[j] * r->x[j] + term_spread(f, r, j));
        whole += p;
    }
    const double x = fabs(f->v.scale) * norm(query_of(f, r), c->channels, 1) * longest;
    return 1 + x * x * (1 + angle_spread(f, r)) + (whole > 0 ? mean / whole : 0);
}

// An empty row is exact, or a mean of n values.
static void floor_of_empty(const formula *f, const formula_row *r, double *var, double *var_lse) {
    const double n = (double)int64_max(1, r->at.n_key);
    for (int64_t t = 0; t < f->c->value_channels; t++) {
        const double ulp = floor_ulp(f->c->problem.dtype, r->out[t]), sum = f32_unit * (fabs(r->out[t]) + 1) * (1 + n / 100);
        var[t] = r->out[t] == 0 ? 0 : ulp * ulp / 12 + sum * sum;
    }
    *var_lse = 0;
}

void floor_row(const formula *f, const formula_row *r, const floor_factors *by, double *var, double *var_lse) {
    const call *c = f->c;
    const int64_t Dv = c->value_channels;
    if (r->empty) {
        floor_of_empty(f, r, var, var_lse);
        return;
    }
    const double *value = f->value + (r->batch * c->kv_heads + r->kv_head) * c->keys * Dv;
    const double spread = floor_row_spread(f, r), u2 = f32_unit * f32_unit, sums = 1 + (double)c->keys / 100;
    const double of_p = by->c * by->c + u2 * by->k * by->k * spread;
    double squares = 0;
    double *absolute = r->spare;
    memset(var, 0, (size_t)Dv * sizeof *var);
    memset(absolute, 0, (size_t)Dv * sizeof *absolute);
    for (int64_t j = r->first; j < r->end; j++) {
        if (!r->shown[j]) continue;
        const double p = r->w[j], p2 = p * p, *v = value + j * Dv, before = weight_before(f, r, j);
        squares += before * before;
        for (int64_t t = 0; t < Dv; t++) {
            var[t] += p2 * v[t] * v[t];
            absolute[t] += fabs(p * v[t]);
        }
    }
    for (int64_t t = 0; t < Dv; t++) {
        const double ulp = floor_ulp(c->problem.dtype, r->out[t]);
        var[t] = ulp * ulp / 12 + of_p * var[t] + u2 * sums * absolute[t] * absolute[t];
    }
    // Where scores pass through the storage type, one near the middle of two numbers may become either.
    const bool stored = f->v.rope.round_result || f->v.rope.round_products || f->v.rounding != ROUND_CLAIMED;
    *var_lse = u2 * (r->lse * r->lse + by->k * by->k * spread * squares + sums) + (stored ? by->c * by->c * squares : 0);
}

// ---- Simulations --------------------------------------------------------------------------------------------------

size_t floor_scratch_floats(const call *c) { return (size_t)(c->keys + c->value_channels); }

static float rounded(heed_dtype type, float x) { return (float)formula_round(type, (double)x); }

// One tile of keys into the running state; the order of its sums is that of the keys, or the reverse.
typedef struct { float m, z; bool back, round; } running;

static void take_tile(const formula *f, const formula_row *r, int64_t first, int64_t end, const float *x, running *s, float *o) {
    const call *c = f->c;
    const int64_t Dv = c->value_channels;
    const double *value = f->value + (r->batch * c->kv_heads + r->kv_head) * c->keys * Dv;
    float m = s->m;
    for (int64_t j = first; j < end; j++) m = r->shown[j] && x[j] > m ? x[j] : m;
    const float shrink = s->m == -INFINITY ? 0 : expf(s->m - m);
    if (m == -INFINITY) return;
    s->z *= shrink;
    for (int64_t t = 0; t < Dv; t++) o[t] *= shrink;
    for (int64_t i = 0; i < end - first; i++) {
        const int64_t j = s->back ? end - 1 - i : first + i;
        if (!r->shown[j]) continue;
        float p = expf(x[j] - m);
        s->z += p;
        p *= (float)formula_row_drop(f, r, j);
        if (s->round) p = rounded(c->problem.dtype, p);
        for (int64_t t = 0; t < Dv; t++) o[t] += p * (float)value[j * Dv + t];
    }
    s->m = m;
}

static void scores(const formula *f, const formula_row *r, bool back, float *x) {
    const call *c = f->c;
    const double *q = query_of(f, r), *k = keys_of(f, r);
    for (int64_t j = r->first; j < r->end; j++) {
        if (!r->shown[j]) continue;
        float sum = 0;
        for (int64_t i = 0; i < c->channels; i++) {
            const int64_t t = back ? c->channels - 1 - i : i;
            sum += (float)q[t] * (float)k[t * c->keys + j];
        }
        const double off = (double)((float)f->v.scale * sum) - f->v.scale * r->raw[j];    // the edits add no more
        x[j] = (float)(r->x[j] + f->v.exponent_factor * off);
    }
}

bool floor_simulates(const variant *v) {
    const bool tiles = v->tile == TILE_CLAIMED || v->tile == TILE_TAIL_DROPPED;
    return tiles;
}

// Sinks that are not in the softmax, as formula_row.c has them.
static void finish_sink(const formula *f, const formula_row *r, float lse, float *o) {
    const call *c = f->c;
    const double sink = formula_sink(f, r->head);
    if (sink == -INFINITY) return;
    const double *value = f->value + (r->batch * c->kv_heads + r->kv_head) * c->keys * c->value_channels;
    const float share = f->v.sink == SINK_IN_VALUE && r->at.n_key > 0 ? expf((float)sink - lse) : 0;
    for (int64_t t = 0; t < c->value_channels; t++) {
        if (f->v.sink == SINK_AFTER_SOFTMAX) o[t] /= 1 + expf((float)sink);
        if (f->v.sink == SINK_IN_VALUE && r->at.n_key > 0) o[t] += share * (float)value[t];
    }
}

void floor_simulate(const formula *f, const formula_row *r, int way, float *scratch, double *out, double *lse) {
    const call *c = f->c;
    const int64_t Dv = c->value_channels, tile = way == 1 ? 64 : int64_max(1, c->keys);
    float *x = scratch, *o = scratch + c->keys;
    const double sink = formula_row_sink(f, r);
    running s = {.m = -INFINITY, .back = way == 1, .round = way == 1};
    memset(o, 0, (size_t)Dv * sizeof *o);
    scores(f, r, s.back, x);
    const int64_t first = r->first / tile * tile, tiles = int64_ceil_div(r->end - first, tile);
    for (int64_t i = 0; i < tiles; i++) {
        const int64_t at = first + (s.back ? tiles - 1 - i : i) * tile;
        take_tile(f, r, int64_max(at, r->first), int64_min(at + tile, r->end), x, &s, o);
    }
    if (sink != -INFINITY) s.z += expf((float)sink - s.m);
    for (int64_t t = 0; t < Dv; t++) o[t] /= s.z;
    if (way == 2) {    // once more with weights that are normalised, rounded, and then multiplied
        const double *value = f->value + (r->batch * c->kv_heads + r->kv_head) * c->keys * Dv;
        memset(o, 0, (size_t)Dv * sizeof *o);
        for (int64_t j = r->first; j < r->end; j++) {
            const float p = r->shown[j] ? rounded(c->problem.dtype, expf(x[j] - s.m) / s.z * (float)formula_row_drop(f, r, j)) : 0;
            for (int64_t t = 0; r->shown[j] && t < Dv; t++) o[t] += p * (float)value[j * Dv + t];
        }
    }
    finish_sink(f, r, s.m + logf(s.z), o);
    for (int64_t t = 0; t < Dv; t++) out[t] = formula_round(c->problem.dtype, (double)o[t]);
    if (f->v.lse == LSE_NO_SINK && sink != -INFINITY) s.z -= expf((float)sink - s.m);
    *lse = (double)(s.m + logf(s.z));
    if (f->v.lse == LSE_BASE2) *lse = (double)((float)*lse / logf(2));
}
