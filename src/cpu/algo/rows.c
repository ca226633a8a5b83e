// SPDX-License-Identifier: Apache-2.0
#include "cpu/algo/rows.h"

#include <math.h>

// The keys over which a row that sees nothing averages: none for the other rules.
static int64_t mean_keys(const edit_sequence *s, int64_t row) {
    switch (s->problem->empty_row) {
    case HEED_EMPTY_MEAN: return s->n_key;
    case HEED_EMPTY_MEAN_CAUSAL: return int64_max(0, int64_min(s->n_key, row + s->offset + 1));
    default: return 0;
    }
}

// A sum of the first `upto` rows of v, extended as the rows of a tile ask for more.
typedef struct { double *sum; int64_t upto; } running_mean;

static void extend(running_mean *mean, const heed_args *args, const edit_sequence *s, int64_t g, int64_t upto) {
    const heed_problem *p = s->problem;
    for (int64_t c = 0; mean->upto == 0 && c < p->value_channels; c++) mean->sum[c] = 0;
    for (; mean->upto < upto; mean->upto++) {
        const void *v = row_at(p->kv_dtype, args->v, p->v, s->batch, g, mean->upto);
        for (int64_t c = 0; c < p->value_channels; c++) mean->sum[c] += (double)dtype_load(p->kv_dtype, v, c);
    }
}

// Row r of the tile, which sees nothing: what its rule says, ready to be stored with factor 1.
static float empty_row(const heed_args *args, const edit_sequence *s, int64_t head, int64_t row, running_mean *mean, float *o) {
    const heed_problem *p = s->problem;
    const bool nan = p->empty_row == HEED_EMPTY_NAN && s->n_key > 0;
    const int64_t n = mean_keys(s, row);
    extend(mean, args, s, head / (p->heads / p->kv_heads), n);
    for (int64_t c = 0; c < p->value_channels; c++) o[c] = nan ? NAN : n == 0 ? 0.0f : (float)(mean->sum[c] / (double)n);
    return nan ? NAN : -INFINITY;
}

void rows_finish(const heed_plan *plan, const heed_args *args, const edit_sequence *s, int64_t head, int64_t row0, int64_t m,
                 const rows_state *state) {
    const heed_problem *p = &plan->problem;
    const bool sinks = p->with & HEED_SINKS;
    running_mean mean = {state->mean, 0};
    for (int64_t r = 0; r < m; r++) {
        float *o = state->o + r * state->ldo, lse, max = state->max[r], sum = state->sum[r];
        state->factor[r] = 1.0f;
        if (sum == 0.0f && !sinks) {
            lse = empty_row(args, s, head, row0 + r, &mean, o);
        } else if (sum == 0.0f) {
            for (int64_t c = 0; c < p->value_channels; c++) o[c] = 0.0f;
            lse = args->sinks[head];
        } else {
            float shrink = 1.0f;
            if (sinks && args->sinks[head] > max) {
                shrink = expf(max - args->sinks[head]);
                max = args->sinks[head];
            }
            sum = sum * shrink + (sinks ? expf(args->sinks[head] - max) : 0.0f);
            state->factor[r] = shrink / sum;
            lse = max + logf(sum);
        }
        if (args->lse != NULL) args->lse[(s->batch * p->heads + head) * p->queries + row0 + r] = lse;
    }
    plan->machine.cpu->rows_to(m, p->value_channels, p->dtype, row_at_mut(p->dtype, args->out, p->out, s->batch, head, row0),
                               p->out.token, state->o, state->ldo, state->factor);
}

// ---- Backward -----------------------------------------------------------------------------------------------------

static float lse_of(const heed_args *args, const edit_sequence *s, int64_t head, int64_t row) {
    return args->lse[(s->batch * s->problem->heads + head) * s->problem->queries + row];
}

static bool pair_counts(const heed_args *args, const edit_sequence *s, int64_t head, int64_t row, int64_t key) {
    const heed_problem *p = s->problem;
    if (!edit_visible(s, head, row, key)) return false;
    const void *q = row_at(p->dtype, args->q, p->q, s->batch, head, row);
    const void *k = row_at(p->kv_dtype, args->k, p->k, s->batch, head / (p->heads / p->kv_heads), key);
    float dot = 0;
    for (int64_t c = 0; c < p->channels; c++) dot += dtype_load(p->dtype, q, c) * dtype_load(p->kv_dtype, k, c);
    return edit_score(s, head, row, key, (double)((float)p->scale * dot)) != (double)-INFINITY;
}

// Is there no key that this row sees (sinks apart)? Exact; slow only where lse does not tell. Backward.
static bool rows_empty(const heed_plan *plan, const heed_args *args, const edit_sequence *s, int64_t head, int64_t row) {
    const float lse = lse_of(args, s, head, row);
    const bool sinks = plan->problem.with & HEED_SINKS;
    if (sinks ? lse != args->sinks[head] && !isnan(lse) : !isnan(lse)) return lse == -INFINITY;
    int64_t first, end;
    edit_key_bounds(s, head, row, 1, &first, &end);
    for (int64_t key = first; key < end; key++) {
        if (pair_counts(args, s, head, row, key)) return false;
    }
    return true;
}

void rows_delta(const heed_plan *plan, const heed_args *args, const edit_sequence *s, int64_t head, int64_t row0, int64_t m,
                float *delta) {
    const heed_problem *p = &plan->problem;
    plan->machine.cpu->row_dots(m, p->value_channels, p->dtype, row_at(p->dtype, args->dout, p->dout, s->batch, head, row0),
                                p->dout.token, row_at(p->dtype, args->out, p->out, s->batch, head, row0), p->out.token, delta);
    for (int64_t r = 0; r < m; r++) {
        if (!isfinite(delta[r]) && rows_empty(plan, args, s, head, row0 + r)) delta[r] = 0.0f;
    }
}

void rows_dsink(const heed_plan *plan, const heed_args *args, int64_t head, float *delta) {
    const heed_problem *p = &plan->problem;
    double sum = 0;
    for (int64_t b = 0; b < p->batch; b++) {
        const edit_sequence s = edit_begin(p, args, b);
        for (int64_t row0 = 0; row0 < p->queries; row0 += ROWS_CHUNK) {
            const int64_t m = int64_min(ROWS_CHUNK, p->queries - row0);
            rows_delta(plan, args, &s, head, row0, m, delta);
            for (int64_t r = 0; r < m; r++) {
                if (delta[r] == 0.0f) continue;    // also the rows that see nothing, whose lse may be an infinite sink
                sum -= exp((double)args->sinks[head] - (double)lse_of(args, &s, head, row0 + r)) * (double)delta[r];
            }
        }
    }
    args->dsinks[head] = (float)sum;
}

// dv of keys [key0, end) += dout / n of the group's empty rows.
static void add_means(const heed_args *args, const edit_sequence *s, int64_t g, int64_t key0, int64_t end, float *dv) {
    const heed_problem *p = s->problem;
    if (p->with & HEED_SINKS || (p->empty_row != HEED_EMPTY_MEAN && p->empty_row != HEED_EMPTY_MEAN_CAUSAL)) return;
    const int64_t group = p->heads / p->kv_heads;
    for (int64_t head = g * group; head < (g + 1) * group; head++) {
        for (int64_t row = 0; row < p->queries; row++) {
            const int64_t n = mean_keys(s, row);
            if (n <= key0 || lse_of(args, s, head, row) != -INFINITY) continue;
            const void *dout = row_at(p->dtype, args->dout, p->dout, s->batch, head, row);
            float *to = dv;
            for (int64_t key = key0; key < int64_min(n, end); key++, to += p->value_channels) {
                for (int64_t c = 0; c < p->value_channels; c++) to[c] += dtype_load(p->dtype, dout, c) / (float)n;
            }
        }
    }
}

static bool nan_row(const heed_plan *plan, const heed_args *args, const edit_sequence *s, int64_t head, int64_t row) {
    const heed_problem *p = &plan->problem;
    if (p->empty_row != HEED_EMPTY_NAN || p->with & HEED_SINKS || s->n_key == 0 || !isnan(lse_of(args, s, head, row))) return false;
    return rows_empty(plan, args, s, head, row);
}

bool rows_nan_group(const heed_plan *plan, const heed_args *args, const edit_sequence *s, int64_t g) {
    const heed_problem *p = &plan->problem;
    const int64_t group = p->heads / p->kv_heads;
    if (p->empty_row != HEED_EMPTY_NAN || p->with & HEED_SINKS) return false;
    for (int64_t head = g * group; head < (g + 1) * group; head++) {
        for (int64_t row = 0; row < p->queries; row++) {
            if (nan_row(plan, args, s, head, row)) return true;
        }
    }
    return false;
}

static void fill_nan(heed_dtype type, void *to, int64_t ld, int64_t m, int64_t n) {
    for (int64_t r = 0; r < m; r++) {
        for (int64_t c = 0; c < n; c++) dtype_store(type, to, r * ld + c, NAN);
    }
}

void rows_store_dq(const heed_plan *plan, const heed_args *args, const edit_sequence *s, int64_t head, int64_t row0, int64_t rows,
                   const float *dq, float *factor) {
    const heed_problem *p = &plan->problem;
    for (int64_t r = 0; r < rows; r++) factor[r] = (float)p->scale;
    void *to = row_at_mut(p->dtype, args->dq, p->dq, s->batch, head, row0);
    plan->machine.cpu->rows_to(rows, p->channels, p->dtype, to, p->dq.token, dq, p->channels, factor);
    for (int64_t r = 0; r < rows; r++) {
        if (!nan_row(plan, args, s, head, row0 + r)) continue;
        fill_nan(p->dtype, row_at_mut(p->dtype, args->dq, p->dq, s->batch, head, row0 + r), 0, 1, p->channels);
    }
}

void rows_store_dkv(const heed_plan *plan, const heed_args *args, const edit_sequence *s, int64_t g, int64_t key0, int64_t keys,
                    bool nan, const float *dk_sum, float *dv_sum) {
    const heed_problem *p = &plan->problem;
    const int64_t D = p->channels, Dv = p->value_channels, end = int64_min(key0 + keys, s->n_key);
    if (end > key0) add_means(args, s, g, key0, end, dv_sum);
    void *dk = row_at_mut(p->kv_dtype, args->dk, p->dk, s->batch, g, key0);
    void *dv = row_at_mut(p->kv_dtype, args->dv, p->dv, s->batch, g, key0);
    plan->machine.cpu->rows_to(keys, D, p->kv_dtype, dk, p->dk.token, dk_sum, D, NULL);
    plan->machine.cpu->rows_to(keys, Dv, p->kv_dtype, dv, p->dv.token, dv_sum, Dv, NULL);
    if (!nan || end <= key0) return;
    fill_nan(p->kv_dtype, dk, p->dk.token, end - key0, D);
    fill_nan(p->kv_dtype, dv, p->dv.token, end - key0, Dv);
}
