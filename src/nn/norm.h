// SPDX-License-Identifier: Apache-2.0
// LayerNorm (Ba, Kiros, Hinton 2016): y = (x - mean) / sqrt(variance + epsilon) * weight + bias, over each row.
#pragma once

#include "heed/heed.h"
#include "nn/engine.h"

typedef struct {
    int64_t width;
    double epsilon;
    const float *weight, *bias;
    heed_dtype y_type;    // f32 (0 too) or bf16; all else is f32
} layer_norm;

// mean, rstd: (rows), kept for backward. With `added`, x + added is what is normalised, and is stored in *sum (which may be
// x): the residual stream and its norm in one pass. added NULL: sum is not written.
void layer_norm_forward(const engine *, const layer_norm *, int64_t rows, const float *x, const float *added, float *sum,
                        void *y, float *mean, float *rstd);

// forward: n = (x - mean) * rstd, y = n * weight + bias
// so:      dweight (+)= sum of dy * n, dbias (+)= sum of dy, and with g = dy * weight:
//          dx += rstd * (g - mean(g) - n * mean(g * n))
// dx is added to: it already holds what the residual stream brings back. dweight and dbias are added to when add_parameters.
// scratch: layer_norm_scratch_bytes; partial sums of fixed groups of rows, added in order.
void layer_norm_backward(const engine *, const layer_norm *, int64_t rows, const float *x, const float *mean, const float *rstd,
                         const float *dy, float *dx, float *dweight, float *dbias, bool add_parameters, void *scratch);
size_t layer_norm_scratch_bytes(int64_t rows, int64_t width);
