// SPDX-License-Identifier: Apache-2.0
// A hypothesis with a number that no table holds: the number that leaves the least, on some rows.
#pragma once

#include "compare/hypothesis.h"
#include "compare/predict.h"

// *best: the number, with as few digits as explain it as well; 0: none leaves anything finite. The hypothesis fits
// (hypothesis_fits).
heed_status fit_parameter(double *best, const hypothesis *, const predictor *, const observed *, const row_list *, heed_error *);
