// SPDX-License-Identifier: Apache-2.0
#include "compare/gradient.h"

#include "base/error.h"
#include "base/memory.h"
#include "core/problem.h"

#include <math.h>
#include <string.h>

const char *const gradient_names[GRADIENTS] = {"dq", "dk", "dv", "dsinks", "dslopes", "dbias"};

const double *observed_gradient(const observed *seen, int which) {
    const double *const all[GRADIENTS] = {seen->dq, seen->dk, seen->dv, seen->dsinks, seen->dslopes, seen->dbias};
    return all[which];
}

bool gradients_observed(const observed *seen) {
    bool any = false;
    for (int i = 0; i < GRADIENTS; i++) any |= observed_gradient(seen, i) != NULL;
    return any;
}

static void shape(const call *c, int which, gradient_array *a) {
    const int64_t rows = c->batch * c->heads * c->queries, keys = c->batch * c->kv_heads * c->keys;
    const bool by_key = c->problem.bias_axes & HEED_AXIS_KEY;
    const int64_t bias = c->bias == NULL ? 0 : problem_grid_size(&c->problem, c->problem.bias_axes);
    const int64_t width = by_key ? int64_max(1, c->keys) : 1;
    const int64_t all[GRADIENTS][2] = {{rows, c->channels}, {keys, c->channels}, {keys, c->value_channels},
                                       {c->sinks == NULL ? 0 : c->heads, 1}, {c->slopes == NULL ? 0 : c->heads, 1},
                                       {bias / width, width}};
    a->rows = all[which][0], a->width = all[which][1];
}

int64_t gradient_size(const call *c, int which) {
    gradient_array a;
    shape(c, which, &a);
    return a.rows * a.width;
}

// A parameter's gradient is held in the type of the model at worst.
static heed_dtype type_of(const heed_problem *p, int which) {
    switch (which) {
    case 1: case 2: return p->kv_dtype;
    case 5: return p->bias_dtype == HEED_F32 ? p->dtype : p->bias_dtype;
    default: return p->dtype;
    }
}

static ref_results results_of(const gradients *g, bool var) {
    double *at[GRADIENTS];
    for (int i = 0; i < GRADIENTS; i++) at[i] = var ? g->of[i].var : g->of[i].predicted;
    return (ref_results){.dq = at[0], .dk = at[1], .dv = at[2], .dsinks = at[3], .dslopes = at[4], .dbias = at[5]};
}

static heed_status take_memory(gradients *g, const call *c, const observed *seen, heed_error *error) {
    size_t doubles = 0;
    *g = (gradients){.memory = NULL};
    for (int i = 0; i < GRADIENTS; i++) {
        shape(c, i, &g->of[i]);
        if (observed_gradient(seen, i) == NULL) g->of[i].rows = 0;
        doubles = size_add(doubles, size_mul(2, size_mul((size_t)g->of[i].rows, (size_t)g->of[i].width)));
    }
    double *at = g->memory = memory_take(size_mul(size_add(doubles, 1), sizeof(double)));
    if (at == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for the gradients of a prediction");
    for (int i = 0; i < GRADIENTS; i++) {
        const int64_t n = g->of[i].rows * g->of[i].width;
        if (observed_gradient(seen, i) == NULL) continue;
        g->of[i].predicted = at, g->of[i].var = at + n;
        at += 2 * n;
    }
    return HEED_OK;
}

// The result itself is rounded once.
static void add_rounding(gradients *g, const call *c) {
    for (int i = 0; i < GRADIENTS; i++)
        for (int64_t at = 0; at < g->of[i].rows * g->of[i].width; at++) {
            const double ulp = floor_ulp(type_of(&c->problem, i), g->of[i].predicted[at]);
            g->of[i].var[at] += ulp * ulp / 12;
        }
}

// What a simulation computed, stored as the call stores it.
static void round_results(gradients *g, const call *c) {
    for (int i = 0; i < GRADIENTS; i++)
        for (int64_t at = 0; at < g->of[i].rows * g->of[i].width; at++)
            g->of[i].predicted[at] = formula_round(type_of(&c->problem, i), g->of[i].predicted[at]);
}

heed_status gradients_make(gradients *g, const predictor *by, const gradient_variant *v, const observed *seen, gradient_way way,
                           heed_error *error) {
    formula f = {.memory = NULL};
    heed_status status = take_memory(g, by->c, seen, error);
    if (status == HEED_OK) status = formula_begin(&f, by->c, &v->v, &by->claim, error);
    const ref_results to = results_of(g, false), var = results_of(g, true);
    const formula *forward = v->backward_only ? &by->claim : NULL;
    const ref_results *wanted = way == GRADIENTS_EXACT ? &var : NULL;
    if (status == HEED_OK) status = formula_gradients(&f, forward, &to, wanted, way, &by->team, error);
    formula_end(&f);
    if (status != HEED_OK) gradients_free(g);
    else if (way == GRADIENTS_EXACT) add_rounding(g, by->c);
    else round_results(g, by->c);
    return status;
}

void gradients_free(gradients *g) {
    memory_free(g->memory);
    *g = (gradients){.memory = NULL};
}

// ---- Residuals ----------------------------------------------------------------------------------------------------

// Half of the array's mean variance, which a row's counts as at least: where terms cancel, errors are of the neighbours' size.
static double least_variance(const gradient_array *a) {
    double sum = 0;
    int64_t n = 0;
    for (int64_t i = 0; i < a->rows * a->width; i++)
        if (isfinite(a->var[i])) sum += a->var[i], n++;
    return n > 0 ? 0.5 * sum / (double)n : 0;
}

static bool agree(double a, double b) { return a == b || (isnan(a) && isnan(b)); }

static double row_variance(const gradient_array *a, int64_t row, double least) {
    double sum = 0;
    for (int64_t t = 0; t < a->width; t++) sum += a->var[row * a->width + t];
    return fmax(sum, least * (double)a->width);
}

static void add_array(residual *r, int which, const gradient_array *a, const double *seen) {
    const double least = least_variance(a);
    double sum = 0;
    for (int64_t i = 0; i < a->rows; i++) {
        double errors = 0;
        bool apart = false;
        for (int64_t t = i * a->width; t < (i + 1) * a->width; t++) {
            if (isfinite(seen[t]) && isfinite(a->predicted[t])) errors += (seen[t] - a->predicted[t]) * (seen[t] - a->predicted[t]);
            else apart |= !agree(seen[t], a->predicted[t]);
        }
        r->apart += apart;
        const double z2 = apart || errors == 0 ? 0 : errors / row_variance(a, i, least);
        sum += z2;
        r->grad[which].peak = fmax(r->grad[which].peak, sqrt(z2));
    }
    r->grad[which].rows = a->rows;
    r->grad[which].rms = a->rows > 0 ? sqrt(sum / (double)a->rows) : 0;
    r->sum += sum;
}

void gradients_residual(residual *r, const gradients *g, const observed *seen) {
    for (int i = 0; i < GRADIENTS; i++) {
        const double *of = observed_gradient(seen, i);
        if (g->of[i].predicted != NULL && of != NULL) add_array(r, i, &g->of[i], of);
    }
}

heed_status gradients_of_correct(residual *own, const predictor *by, const gradient_variant *v, const gradients *right,
                                 const observed *seen, heed_error *error) {
    for (int i = 0; i < GRADIENTS; i++) own->grad[i].rms = own->grad[i].peak = 1, own->grad[i].rows = right->of[i].rows;
    for (gradient_way way = GRADIENTS_EXACT + 1; way < GRADIENT_WAYS; way++) {
        gradients run;
        residual r = {.rms = 0};
        const heed_status status = gradients_make(&run, by, v, seen, way, error);
        if (status != HEED_OK) return status;
        const ref_results of = results_of(&run, false);
        const observed simulated = {.dq = of.dq, .dk = of.dk, .dv = of.dv, .dsinks = of.dsinks, .dslopes = of.dslopes,
                                    .dbias = of.dbias};
        gradients_residual(&r, right, &simulated);
        for (int i = 0; i < GRADIENTS; i++) {
            own->grad[i].rms = fmax(own->grad[i].rms, r.grad[i].rms);
            own->grad[i].peak = fmax(own->grad[i].peak, r.grad[i].peak);
        }
        gradients_free(&run);
    }
    return HEED_OK;
}

// ---- The matched filter -------------------------------------------------------------------------------------------

// One row's part, its elements weighed by the row's pooled variance.
static void project_row(const gradient_array *claim, const gradient_array *other, const double *seen, int64_t row, double least,
                        double *along, double *size, bool *apart) {
    const double var = row_variance(claim, row, least) / (double)claim->width;
    *along = *size = 0;
    for (int64_t t = row * claim->width; t < (row + 1) * claim->width; t++) {
        const double from = claim->predicted[t], to = other->predicted[t];
        if (!isfinite(from) || !isfinite(to)) {
            *apart |= !agree(from, to);
            continue;
        }
        if (from == to) continue;
        *size += (to - from) * (to - from) / var;
        if (isfinite(seen[t])) *along += (seen[t] - from) * (to - from) / var;
    }
}

match gradients_match(const gradients *claim, const gradients *other, const observed *seen) {
    match m = {0};
    double along = 0, size = 0, scatter = 0, row_along, row_size;
    for (int turn = 0; turn < 2; turn++) {    // first the coefficient, then how far rows scatter about it
        for (int i = 0; i < GRADIENTS; i++) {
            const double *of = observed_gradient(seen, i);
            if (claim->of[i].predicted == NULL || other->of[i].predicted == NULL || of == NULL) continue;
            const double least = least_variance(&claim->of[i]);
            for (int64_t row = 0; row < claim->of[i].rows; row++) {
                bool apart = false;
                project_row(&claim->of[i], &other->of[i], of, row, least, &row_along, &row_size, &apart);
                if (turn == 0) along += row_along, size += row_size, m.apart += apart;
                else scatter += (row_along - m.coefficient * row_size) * (row_along - m.coefficient * row_size);
            }
        }
        m.coefficient = size > 0 ? along / size : 0;
    }
    m.signal = sqrt(size);
    m.surprise = size == 0 ? 0 : scatter > 0 ? along / sqrt(scatter) : INFINITY;
    return m;
}
