// SPDX-License-Identifier: Apache-2.0
// A formula's predictions for some rows, with how exactly each number may be expected, and how what was observed lies to them.
#pragma once

#include "base/threads.h"
#include "compare/floor_row.h"

typedef struct { int64_t batch, head, row; } row_place;
typedef struct { row_place *at; int64_t n; } row_list;

// All rows of a call; or at most `most` of up to 4 heads of each sequence: the first, the last, those at edges of tiles and
// windows, and others spread evenly. free(list.at).
heed_status row_list_all(row_list *, const call *, heed_error *);
heed_status row_list_sample(row_list *, const call *, int64_t most, heed_error *);

// What was observed, dense, as ref_results; NULL: not known.
typedef struct { const double *out, *lse, *dq, *dk, *dv, *dsinks, *dslopes, *dbias; } observed;
enum { GRADIENTS = 6 };
extern const char *const gradient_names[GRADIENTS];    // "dq", ...
const double *observed_gradient(const observed *, int which);

typedef struct { double *out, *var, *lse, *var_lse; void *memory; } prediction;    // (n, value_channels) twice, (n) twice
// What predictions of a call have in common: its inputs as the claim reads them, and who computes.
typedef struct { const call *c; formula claim; threads team; } predictor;
heed_status predictor_begin(predictor *, const call *, int n_threads, heed_error *);
heed_status predictor_use(predictor *, const variant *claim, heed_error *);    // another reading of the claim (variants_correct)
void predictor_end(predictor *);

// Of `all`, the rows to which the variant gives another result than the claim does. free(list.at).
heed_status row_list_differing(row_list *, const predictor *, const variant *, const row_list *all, heed_error *);

heed_status prediction_make(prediction *, const predictor *, const variant *, const row_list *, heed_error *);
void prediction_free(prediction *);    // a zeroed one is fine
// Those rows of a prediction of all rows (row_list_all) that the list names, copied.
heed_status prediction_part(prediction *, const call *, const prediction *all, const row_list *, heed_error *);

// z = (observed - predicted) / expected size of the error.
typedef struct {
    double rms, peak;            // over rows of out (a row counts once: its channels share errors)
    double rms_lse, peak_lse;    // 0 without lse
    struct { double rms, peak; int64_t rows; } grad[GRADIENTS];    // 0 where an array was not observed (gradient.h)
    double sum;                  // of squares over rows, all arrays: what a better explanation makes smaller
    int64_t rows;                // that were looked at
    int64_t apart;               // of them, those that are finite on one side only: left out of the sums
} residual;
residual residual_of(const call *, const prediction *, const observed *, const row_list *);

// What correct computations reach on these rows: the largest of the simulated ones (floor_simulate), at least 1.
heed_status residual_of_correct(residual *, const predictor *, const variant *, const row_list *, heed_error *);
void residual_worst(const residual *, const residual *of_correct, double *rms, double *floor);    // the array furthest outside
bool residual_inside(const residual *, const residual *of_correct);

// Is what sets `other` apart from `claim` present in what was observed? coefficient: how much of it, by least squares, 1 when
// whole; signal: its size in expected errors; surprise: the coefficient in its own standard errors, row by row.
typedef struct { double coefficient, signal, surprise; int64_t apart; } match;    // apart: rows finite in one prediction only
match match_of(const call *, const prediction *claim, const prediction *other, const observed *, const row_list *);
bool match_is_whole(const match *);
