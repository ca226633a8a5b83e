// SPDX-License-Identifier: Apache-2.0
// gelu_new (Hendrycks and Gimpel 2016, the tanh form GPT-2 was trained with):
//     y = x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))
#pragma once

#include "nn/engine.h"

void gelu_forward(const engine *, int64_t n, const float *x, float *y);
// dx = dy * dgelu(x); dx may be dy. y not NULL: gelu(x) once more, so that forward need not keep it.
void gelu_backward(const engine *, int64_t n, const float *x, const float *dy, float *dx, float *y);

void add_forward(const engine *, int64_t n, const float *a, const float *b, float *sum);    // sum may be a or b
