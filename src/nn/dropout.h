// SPDX-License-Identifier: Apache-2.0
// Dropout (Srivastava et al. 2014) of activations: which are kept is a function of seed and place (base/dropout.h), so forward
// and backward draw the same, whoever computes them.
#pragma once

#include "base/dropout.h"
#include "nn/engine.h"

// y[r][j] = x[r][j] * dropout_factor(d, r, j) over (rows, width); y may be x. Backward is the same function of the gradient.
void dropout_apply(const engine *, const dropout *, int64_t rows, int64_t width, const float *x, float *y);
