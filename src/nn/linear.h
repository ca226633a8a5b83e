// SPDX-License-Identifier: Apache-2.0
// y = x . W + bias over rows of tokens, and its gradients.
#pragma once

#include "nn/matmul.h"

typedef enum {
    LINEAR_IN_OUT,    // W[in][out]: GPT-2's Conv1D
    LINEAR_OUT_IN     // W[out][in]: torch.nn.Linear, and the embedding used as a head
} linear_order;

typedef struct {
    int64_t in, out;
    linear_order order;
    heed_dtype type;              // of x, W and dy: f32 (0 too) or bf16; bias, dW and dbias are f32
    heed_dtype y_type, dx_type;   // of y and dx: f32 (0 too), or bf16 where `type` is
} linear_shape;

// Up to so many rows are computed one by one, whatever stands beside them: a row's bits are those it has alone, and the
// weights are read once for all of them, which is what bounds the time of generating a token.
enum { LINEAR_FEW_ROWS = 16 };

// y[rows][out] = x[rows][in] . W + bias (NULL: none)
void linear_forward(const engine *, linear_shape, int64_t rows, const void *x, const void *w, const float *bias, void *y);
// forward: y = x . W + bias      so:  dx = dy . W^T,  dW (+)= x^T . dy,  dbias (+)= sum of dy over rows
void linear_dx(const engine *, linear_shape, int64_t rows, const void *dy, const void *w, void *dx);
void linear_dw(const engine *, linear_shape, int64_t rows, const void *x, const void *dy, float *dw, float *dbias, bool add);
