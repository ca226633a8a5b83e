// SPDX-License-Identifier: Apache-2.0
// The part of a kernel table that layers use: passes over rows and arrays, each as fast as memory allows. Every sum is taken
// in an order that depends on lengths only. Where a heed_dtype stands, the arrays after it are f32 or bf16; the arithmetic is
// f32 all the same, rounded once. Arrays have any alignment; NaN and infinities go where arithmetic takes them.
#pragma once

#include "heed/heed.h"

// torch.optim.AdamW's step with everything that does not depend on the element worked out.
typedef struct {
    float keep;           // 1 - learning_rate * weight_decay, or 1
    float grad_scale;
    float rest1;          // 1 - beta1, from double: 1 - 0.999f would lose five digits
    float beta2, rest2;   // rest2 = 1 - beta2
    float step_size;      // learning_rate / (1 - beta1^step)
    float root_scale;     // 1 / sqrt(1 - beta2^step)
    float epsilon;
} adamw_factors;

typedef struct {
    void (*add)(int64_t n, const float *a, const float *b, float *sum);    // sum[j] = a[j] + b[j]; sum may be a or b

    // y = x / 2 * (1 + tanh(u)), u = sqrt(2 / pi) * (x + 0.044715 x^3); y may be x.
    void (*gelu)(int64_t n, heed_dtype, const void *x, void *y);
    // dx = dy * dy/dx; y (may be NULL) gets gelu(x) again. dx may be dy; y overlaps nothing.
    void (*gelu_grad)(int64_t n, heed_dtype, const void *x, const void *dy, void *dx, void *y);

    // y[i][j] += sum over t of x[i][t] * w[t][j], t ascending, for the few rows of x that a plain w is read for once. A row's
    // bits do not depend on the other rows, nor on how many columns there are. y overlaps nothing.
    void (*rows_times)(int64_t m, int64_t n, int64_t k, const float *x, int64_t ldx, heed_dtype, const void *w, int64_t ldw,
                       float *y, int64_t ldy);

    // One row: t = x (+ added, then stored in sum); *mean, *rstd of t; y = (t - mean) * rstd * weight + bias.
    void (*norm)(int64_t n, float epsilon, const float *x, const float *added, float *sum, const float *weight,
                 const float *bias, heed_dtype, void *y, float *mean, float *rstd);
    // One row, with h = (x - mean) * rstd and g = dy * weight:
    // dx += rstd * (g - mean of g - h * mean of g h);  dweight += dy * h;  dbias += dy
    void (*norm_grad)(int64_t n, const float *x, float mean, float rstd, const float *weight, const float *dy, float *dx,
                      float *dweight, float *dbias);

    // y[j] += sum over r of x[r * ld + j]; y is f32
    void (*sum_rows)(int64_t m, int64_t n, heed_dtype, const void *x, int64_t ld, float *y);

    double (*log_sum_exp)(int64_t n, const float *x);                             // ln(sum of e^x[j]), without overflow
    // y[j] = scale * e^(x[j] - log_sum); y may be x where it is f32
    void (*softmax_scaled)(int64_t n, const float *x, double log_sum, float scale, heed_dtype, void *y);

    double (*sum_squares)(int64_t n, const float *x);
    // rounded (NULL: not wanted) gets the new values as bf16.
    void (*adamw)(int64_t n, const adamw_factors *, float *value, const float *grad, float *m, float *v, uint16_t *rounded);
} cpu_pointwise;
