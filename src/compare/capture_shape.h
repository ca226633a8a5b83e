// SPDX-License-Identifier: Apache-2.0
// How an array of a capture lies over the axes that a call needs it in.
#pragma once

#include "compare/capture.h"

enum { CAPTURE_AXES = 4 };
typedef struct { int dims; int64_t extent[CAPTURE_AXES]; const char *axis[CAPTURE_AXES]; } capture_shape;

// Element n of the needed shape is element capture_at(.., n) of the view.
typedef struct { const tensor_view *view; int dims; int64_t extent[CAPTURE_AXES], stride[CAPTURE_AXES]; } capture_grid;

// Leading axes of 1 may be missing or too many. broadcast: an axis of 1 stands for all of its extent.
heed_status capture_fit(capture_grid *, const capture *, const tensor_view *, const capture_shape *, bool broadcast, heed_error *);
int64_t capture_at(const capture_grid *, int64_t n);
int64_t capture_elements(const capture_shape *);

// Element n as a number: uint16 holds the bits of a bf16.
double capture_real(const capture_grid *, int64_t n);

// All elements as numbers of the type: floats, or uint16 where the type is bf16; each must be a number of that type exactly
// (`exact`), so that what was recorded is what the call was given.
heed_status capture_take(double *to, const capture *, const tensor_view *, const capture_shape *, bool broadcast, heed_dtype,
                         bool exact, heed_error *);

// cos and sin of a capture that has them, as tables of the call.
heed_status capture_rotary(call *, const capture *, heed_error *);
