// SPDX-License-Identifier: Apache-2.0
// How far rounding alone may lead a correct computation of one row away from the formula: a variance for every element of
// out and for lse. With p the weights of the row, u = 2^-24, and X = scale |q| max |k|:
//
//     var out_c = ulp(out_c)^2 / 12                                    out is rounded once
//               + c^2 sum p^2 v^2                                      p is rounded to storage: c is 0.41 of its unit
//               + u^2 k^2 (1 + X^2 + E[x^2]) sum p^2 v^2               scores, exp and p in f32
//               + u^2 (1 + keys / 100) (sum p |v|)^2                   sums in f32
//     var lse   = u^2 (lse^2 + k^2 (1 + X^2 + E[x^2]) sum p^2 + 1 + keys / 100)    (+ c^2 sum p^2 where scores are stored)
// X^2 and x^2 stand for all that a score is made of: slopes and bias are in it term by term, as they are rounded, since their sum
// may cancel; and p of lse is before dropout, for what is dropped is in lse all the same.
#pragma once

#include "compare/formula.h"

typedef struct { double c, k; } floor_factors;
floor_factors floor_factors_of(const call *);

// After formula_row_compute. var: value_channels.
void floor_row(const formula *, const formula_row *, const floor_factors *, double *var, double *var_lse);

double floor_row_spread(const formula *, const formula_row *);    // 1 + X^2 + E[x^2] of the row

// The row once more in f32, as correct code might compute it: way 0 in one piece, 1 in tiles of 64 keys from the last to the
// first with p rounded to storage before the products, 2 the weights normalised, then rounded. FLOOR_WAYS in all.
enum { FLOOR_WAYS = 3 };
bool floor_simulates(const variant *);    // not: formulas that go by tiles
void floor_simulate(const formula *, const formula_row *, int way, float *scratch, double *out, double *lse);
size_t floor_scratch_floats(const call *);

double floor_ulp(heed_dtype, double);    // the distance between numbers of the type at that magnitude
