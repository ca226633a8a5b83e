// SPDX-License-Identifier: Apache-2.0
// The definition of what heed computes, and how far rounding alone may lead away from it.
#pragma once

#include "core/impl.h"

// Results in double, dense; NULL: not wanted. Shapes as in heed_args.
typedef struct { double *out, *lse, *dq, *dk, *dv, *dbias, *dsinks, *dslopes; } ref_results;

// Each of the three computations takes `scratch` of floor_scratch_bytes.
size_t floor_scratch_bytes(const heed_problem *complete);

// Computes what is wanted, in double, from the stored inputs: forward results, and for a backward problem the gradients.
// out and lse of the args are not read: gradients begin from q, k and v. The args are checked.
void ref_compute(const heed_problem *complete, const heed_args *, const ref_results *, void *scratch);

// The same formulas in float with plain sums, out rounded to its storage type before the gradients read it: what rounding
// alone does to straightforward code. Its distance from ref_compute is `e` of the yardstick (docs/contract.md).
void plain_compute(const heed_problem *complete, const heed_args *, const ref_results *, void *scratch);

// First-order bounds of f32 rounding for each element (docs/numerics.md), laid out as the results: `r` of the yardstick is
// their maximum plus one ulp of the type.
void floor_compute(const heed_problem *complete, const heed_args *, const ref_results *bounds, void *scratch);
