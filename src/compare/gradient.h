// SPDX-License-Identifier: Apache-2.0
// A formula's gradients as evidence: each array with the variance of every element, and how what was observed lies to it. Rows
// of dk and dv are sums over all queries, so these are predicted whole; predict.h has what can be predicted row by row.
#pragma once

#include "compare/predict.h"

typedef struct {
    int64_t rows, width;         // errors are pooled by row: its elements share those of p and D
    double *predicted, *var;     // (rows, width); predicted NULL: the call has no such array
} gradient_array;

typedef struct { gradient_array of[GRADIENTS]; void *memory; } gradients;    // in the order of gradient_names

bool gradients_observed(const observed *);
int64_t gradient_size(const call *, int which);    // elements; 0: the call has no such array

// Those arrays that were observed. Free with gradients_free; a zeroed one is fine.
// backward_only: the forward pass was the claim's, and the variant began from its out and lse.
typedef struct { variant v; bool backward_only; } gradient_variant;
heed_status gradients_make(gradients *, const predictor *, const gradient_variant *, const observed *, gradient_way, heed_error *);
void gradients_free(gradients *);

// Adds the gradients' part to a residual: grad, sum, apart.
void gradients_residual(residual *, const gradients *, const observed *);
// What correct code reaches: GRADIENT_WAYS simulated, at least 1. Fills grad alone.
heed_status gradients_of_correct(residual *, const predictor *, const gradient_variant *, const gradients *, const observed *,
                                 heed_error *);
// match_of for gradients: all observed arrays together.
match gradients_match(const gradients *claim, const gradients *other, const observed *);
