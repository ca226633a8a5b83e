// SPDX-License-Identifier: Apache-2.0
// AdamW (Loshchilov and Hutter 2019) as torch.optim.AdamW computes it, gradient norm and clipping.
#pragma once

#include "nn/engine.h"
#include "nn/parameter.h"

typedef struct { double learning_rate, beta1, beta2, epsilon, weight_decay; } adamw;

// One step (counted from 1) over every parameter, with g = grad_scale * grad:
//     value *= 1 - learning_rate * weight_decay                      (only where parameter.decay)
//     m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
//     value -= learning_rate / (1 - beta1^step) * m / (sqrt(v / (1 - beta2^step)) + epsilon)
// and rounded, where a parameter has it, the new value as bf16.
// m[i], v[i]: the moments of parameter i, zero before the first step. grad_scale is what clipping asks for.
void adamw_step(const engine *, const adamw *, int64_t step, double grad_scale, const parameter *, int64_t count,
                float *const *m, float *const *v);

// sqrt(sum of squares) over all gradients, summed in double in a fixed order: the same bits for any number of threads.
double gradient_norm(const engine *, const parameter *, int64_t count);

// What torch.nn.utils.clip_grad_norm_ multiplies by: min(1, max_norm / (norm + 1e-6)); 1 when max_norm <= 0.
double gradient_clip_scale(double norm, double max_norm);
