// SPDX-License-Identifier: Apache-2.0
// Every layer in double, as plain as its formula: what the tests compare the layers with. Arrays are dense; gradients are
// written, not added to.
#pragma once

#include "nn/linear.h"

// y[rows][out] = x . W + bias (NULL: none); W in the order of the shape.
void reference_linear(linear_shape, int64_t rows, const double *x, const double *w, const double *bias, double *y);
void reference_linear_grad(linear_shape, int64_t rows, const double *x, const double *w, const double *dy, double *dx, double *dw,
                           double *dbias);

void reference_norm(int64_t rows, int64_t width, double epsilon, const double *x, const double *weight, const double *bias,
                    double *y);
void reference_norm_grad(int64_t rows, int64_t width, double epsilon, const double *x, const double *weight, const double *dy,
                         double *dx, double *dweight, double *dbias);

double reference_gelu(double x);
double reference_gelu_slope(double x);

void reference_embedding(int64_t rows, int64_t width, const int32_t *id, const int32_t *position, const double *tokens,
                         const double *positions, double *y);
// dtokens, dpositions: added to.
void reference_embedding_grad(int64_t rows, int64_t width, const int32_t *id, const int32_t *position, const double *dy,
                              double *dtokens, double *dpositions);

// Sum over rows with target >= 0 of -ln softmax(logits)[target]; dlogits (NULL: not wanted) is its gradient.
double reference_cross_entropy(int64_t rows, int64_t vocabulary, const double *logits, const int32_t *target, double *dlogits);

// One step of AdamW on one element, as adamw.h says.
void reference_adamw(double learning_rate, double beta1, double beta2, double epsilon, double weight_decay, int64_t step,
                     double grad,
                     double *value, double *m, double *v);
