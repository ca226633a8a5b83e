// SPDX-License-Identifier: Apache-2.0
// One number by least squares: a grid in the logarithm, since what is left falls into its valley from one side only close by, then
// the golden section in the deepest valleys.
#include "compare/search_fit.h"

#include <math.h>

enum { GRID = 96, VALLEYS = 3, STEPS = 44 };    // 0.618^44 of a step of the grid: beyond what f32 tells apart

typedef struct {
    const hypothesis *h;
    const predictor *by;
    const observed *seen;
    const row_list *rows;
    heed_error *error;
} fitting;

static heed_status left_at(const fitting *f, double x, double *sum) {
    prediction p;
    variant v = f->by->claim.v;
    f->h->edit(f->by->c, &v, x);
    const heed_status status = prediction_make(&p, f->by, &v, f->rows, f->error);
    if (status != HEED_OK) return status;
    const residual r = residual_of(f->by->c, &p, f->seen, f->rows);
    *sum = r.apart > 0 ? INFINITY : r.sum;
    prediction_free(&p);
    return HEED_OK;
}

// The least between two places of the grid.
static heed_status descend(const fitting *f, double low, double high, double *x, double *sum) {
    static const double golden = 0.6180339887498949;
    double a = low, b = high, c = b - golden * (b - a), d = a + golden * (b - a), at_c, at_d;
    heed_status status = left_at(f, exp(c), &at_c);
    if (status == HEED_OK) status = left_at(f, exp(d), &at_d);
    for (int step = 0; status == HEED_OK && step < STEPS; step++) {
        const bool left = at_c <= at_d;
        if (left) b = d, d = c, at_d = at_c, c = b - golden * (b - a);
        else a = c, c = d, at_c = at_d, d = a + golden * (b - a);
        status = left_at(f, exp(left ? c : d), left ? &at_c : &at_d);
    }
    if (status == HEED_OK) *x = exp((a + b) / 2), *sum = fmin(at_c, at_d);
    return status;
}

// The fewest digits that leave no more than the noise of the fit itself.
static heed_status shorten(const fitting *f, double *x, double sum) {
    for (int digits = 1; digits < 9; digits++) {
        const double unit = pow(10, floor(log10(*x)) - digits + 1), rounded = round(*x / unit) * unit;
        double left;
        const heed_status status = left_at(f, rounded, &left);
        if (status != HEED_OK) return status;
        if (left > sum + 4 + 0.001 * sum) continue;
        *x = rounded;
        return HEED_OK;
    }
    return HEED_OK;
}

heed_status fit_parameter(double *best, const hypothesis *h, const predictor *by, const observed *seen, const row_list *rows,
                          heed_error *error) {
    const fitting f = {h, by, seen, rows, error};
    double low, high, sums[GRID], least = INFINITY;
    *best = 0;
    hypothesis_fits(h, by->c, &low, &high);
    const double from = log(low), step = (log(high) - from) / (GRID - 1);
    for (int i = 0; i < GRID; i++) {
        const heed_status status = left_at(&f, exp(from + step * i), &sums[i]);
        if (status != HEED_OK) return status;
    }
    for (int n = 0; n < VALLEYS; n++) {
        int at = 0;
        double x, sum;
        for (int i = 1; i < GRID; i++) at = sums[i] < sums[at] ? i : at;
        if (!isfinite(sums[at])) break;
        const heed_status status = descend(&f, from + step * (at - 1), from + step * (at + 1), &x, &sum);
        if (status != HEED_OK) return status;
        if (sum < least) least = sum, *best = x;
        for (int i = at > 0 ? at - 1 : 0; i <= at + 1 && i < GRID; i++) sums[i] = INFINITY;
    }
    return *best > 0 ? shorten(&f, best, least) : HEED_OK;
}
