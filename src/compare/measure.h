// SPDX-License-Identifier: Apache-2.0
// How far apart two results are, as numbers: before any judgement.
#pragma once

#include "heed/heed.h"

enum { ULP_BINS = 12 };    // up to 1/2, 1, 2, 4, .., 256, beyond; not finite on one side only

typedef struct {
    double max, mean, rms;       // of |a - b| where both are finite
    double cosine;               // of the angle between them; NaN where one is zero
    double mismatched;           // fraction beyond atol + rtol |b|, or finite on one side only
    int64_t first_bad_index;     // dense; -1: none
    int64_t not_finite;          // finite on one side only, or infinities of different sign
    int64_t ulps[ULP_BINS];      // of |a - b| in units in the last place of b's type at b
    int64_t n;
} error_size;

// rtol and atol as torch.testing.assert_close takes them for the type.
typedef struct { double rtol, atol; } error_tolerance;
error_tolerance error_tolerance_of(heed_dtype);

error_size error_size_of(const double *a, const double *b, int64_t n, heed_dtype, error_tolerance);
