// SPDX-License-Identifier: Apache-2.0
// First-order bounds of f32 rounding. With u = 2^-23 and, for each visible pair, the relative error of its weight
//
//     E_ij = 1 + 2 (scale sum_t |q_it k_jt| + |term_ij|)        (1 more with dropout: 1 / (1 - p) and its product are rounded)
//
// each quantity's bound follows its formula, every product and sum taken in absolute values:
//
//     out_ic   u sum_j z_ij w_ij |v_jc| E_ij =: u O_ic      lse_i   u (|lse_i| + sum_j w_ij E_ij)
//     dv_jc    u sum_i z_ij w_ij |dout_ic| E_ij
//     ds_ij    u w_ij (|z_ij dw_ij - D_i| E_ij + z_ij sum_c |dout_ic v_jc| + sum_c |dout_ic| O_ic) =: u S_ij
//     dq_it    u scale sum_j (|slope| S_ij + |ds_ij| E_ij) |k_jt|        dk_jt, dbias, dslopes likewise
//     dsink    u sum_i exp(sink - lse_i) (sum_c |dout_ic| O_ic + |D_i| (1 + 2 |sink| + sum_j w_ij E_ij))
#define REAL double
#include "ref/attention.inl"

static const double unit = 0x1p-23;

// Beside the row of attention.inl: E_ij of the row and O_ic.
typedef struct { double *spread, *reach; double mean_spread; } bounds;

size_t floor_scratch_bytes(const heed_problem *p) {
    const size_t more = size_add(size_align(size_mul((size_t)p->keys, 8)), size_align(size_mul((size_t)p->value_channels, 8)));
    return size_add(size_align(scratch_bytes(p)), more);
}

static double absolute_dot(heed_dtype type_a, const void *a, heed_dtype type_b, const void *b, int64_t n) {
    double sum = 0;
    for (int64_t c = 0; c < n; c++) sum += fabs(load(type_a, a, c) * load(type_b, b, c));
    return sum;
}

static void row_bounds(const ref_head *h, int64_t i, bounds *e) {
    const heed_problem *p = h->p;
    for (int64_t c = 0; c < p->value_channels; c++) e->reach[c] = row_is_empty(h) ? fabs(h->out[c]) : 0;
    e->mean_spread = 0;
    for (int64_t j = 0; j < h->s.n_key; j++) {
        if (!h->visible[j]) continue;
        double term = fabs(edit_bias_at(&h->s, h->head, i, j));
        if (p->with & HEED_SLOPES) term += fabs((double)h->a->slopes[h->head] * (double)(j - (i + h->s.offset)));
        e->spread[j] = 1 + 2 * (fabs(p->scale) * absolute_dot(p->dtype, q_row(h, i), p->kv_dtype, k_row(h, j), p->channels) + term);
        if (p->dropout > 0) e->spread[j] += 1;
        e->mean_spread += h->w[j] * e->spread[j];
        for (int64_t c = 0; c < p->value_channels; c++)
            e->reach[c] += h->z[j] * h->w[j] * fabs(load(p->kv_dtype, v_row(h, j), c)) * e->spread[j];
    }
}

static void pair_bounds(const ref_head *h, int64_t i, int64_t j, const bounds *e, double delta, double delta_reach) {
    const heed_problem *p = h->p;
    const double dw = dot(p->dtype, dout_row(h, i), p->kv_dtype, v_row(h, j), p->value_channels);
    const double dw_reach = h->z[j] * absolute_dot(p->dtype, dout_row(h, i), p->kv_dtype, v_row(h, j), p->value_channels);
    const double ds = fabs(h->w[j] * (h->z[j] * dw - delta));
    const double ds_bound = ds * e->spread[j] + h->w[j] * (dw_reach + delta_reach);
    double slope_of_term;
    const double slope = fabs(edit_slope(&h->s, h->head, i, j, h->raw[j], &slope_of_term));
    const double raw_bound = unit * fabs(p->scale) * (slope * ds_bound + ds * e->spread[j]);
    const double term_bound = unit * (fabs(slope_of_term) * ds_bound + ds * e->spread[j]);
    if (h->results->dbias != NULL) *dbias_at(h, i, j) += term_bound;
    if (h->results->dslopes != NULL) h->results->dslopes[h->head] += term_bound * fabs((double)(j - (i + h->s.offset)));
    for (int64_t t = 0; t < p->channels; t++) {
        dq_row(h, i)[t] += raw_bound * fabs(load(p->kv_dtype, k_row(h, j), t));
        dk_row(h, j)[t] += raw_bound * fabs(load(p->dtype, q_row(h, i), t));
    }
    for (int64_t c = 0; c < p->value_channels; c++)
        dv_row(h, j)[c] += unit * h->z[j] * h->w[j] * fabs(load(p->dtype, dout_row(h, i), c)) * e->spread[j];
}

static void row_bounds_backward(const ref_head *h, int64_t i, const bounds *e) {
    const heed_problem *p = h->p;
    if (row_is_empty(h)) {    // a mean: its products are each rounded once
        const int64_t n = mean_keys(h, i);
        for (int64_t j = 0; j < n; j++)
            for (int64_t c = 0; c < p->value_channels; c++)
                dv_row(h, j)[c] += unit * fabs(load(p->dtype, dout_row(h, i), c)) / (double)n;
        return;
    }
    double delta = 0, delta_reach = 0;
    for (int64_t c = 0; c < p->value_channels; c++) {
        const double dout = load(p->dtype, dout_row(h, i), c);
        delta += dout * h->out[c];
        delta_reach += fabs(dout) * e->reach[c];
    }
    if (h->results->dsinks != NULL)
        h->results->dsinks[h->head] += unit * exp(sink_of(h) - h->lse) *
                                       (delta_reach + fabs(delta) * (1 + 2 * fabs(sink_of(h)) + e->mean_spread));
    for (int64_t j = 0; j < h->s.n_key; j++)
        if (h->visible[j]) pair_bounds(h, i, j, e, delta, delta_reach);
}

void floor_compute(const heed_problem *p, const heed_args *a, const ref_results *r, void *scratch) {
    bounds e = {.spread = (double *)((char *)scratch + size_align(scratch_bytes(p)))};
    e.reach = (double *)((char *)e.spread + size_align((size_t)p->keys * 8));
    zero_results(p, r);
    for (int64_t b = 0; b < p->batch; b++)
        for (int64_t head = 0; head < p->heads; head++) {
            ref_head h = head_of(p, a, r, scratch, b, head);
            for (int64_t i = 0; i < p->queries; i++) {
                row_forward(&h, i);
                row_bounds(&h, i, &e);
                if (p->pass == HEED_BACKWARD) row_bounds_backward(&h, i, &e);
                h.lse = unit * (fabs(h.lse) + e.mean_spread);
                for (int64_t c = 0; c < p->value_channels; c++) h.out[c] = unit * e.reach[c];
                store_row(&h, i);
            }
        }
}
