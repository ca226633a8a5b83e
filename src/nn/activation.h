// SPDX-License-Identifier: Apache-2.0
// gelu_new (Hendrycks and Gimpel 2016, the tanh form GPT-2 was trained with):
//     y = x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))
#pragma once

#include "heed/heed.h"
#include "nn/engine.h"

// All arrays are f32 or bf16.
void gelu_forward(const engine *, heed_dtype, int64_t n, const void *x, void *y);
// dx = dy * dgelu(x); dx may be dy. y not NULL: gelu(x) once more, so that forward need not keep it.
void gelu_backward(const engine *, heed_dtype, int64_t n, const void *x, const void *dy, void *dx, void *y);

void round_to_bf16(const engine *, int64_t n, const float *x, uint16_t *y);
