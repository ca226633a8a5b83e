// SPDX-License-Identifier: Apache-2.0
// LayerNorm (Ba, Kiros, Hinton 2016): y = (x - mean) / sqrt(variance + epsilon) * weight + bias, over each row.
#pragma once

#include "nn/engine.h"

#include <stddef.h>

// mean, rstd: (rows), kept for backward. y may be x's memory only when x is not needed again.
void layer_norm_forward(const engine *, int64_t rows, int64_t width, double epsilon, const float *x, const float *weight,
                        const float *bias, float *y, float *mean, float *rstd);
// The same, after sum = x + added: the residual stream and its norm in one pass.
void layer_norm_forward_add(const engine *, int64_t rows, int64_t width, double epsilon, const float *x, const float *added,
                            float *sum, const float *weight, const float *bias, float *y, float *mean, float *rstd);

// forward: n = (x - mean) * rstd, y = n * weight + bias
// so:      dweight += sum of dy * n, dbias += sum of dy, and with g = dy * weight:
//          dx (+)= rstd * (g - mean(g) - n * mean(g * n))
// scratch: layer_norm_scratch_bytes; partial sums of fixed groups of rows, added in order.
void layer_norm_backward(const engine *, int64_t rows, int64_t width, const float *x, const float *mean, const float *rstd,
                         const float *weight, const float *dy, float *dx, bool add, float *dweight, float *dbias, void *scratch);
size_t layer_norm_scratch_bytes(int64_t rows, int64_t width);
