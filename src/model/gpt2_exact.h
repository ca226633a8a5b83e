// SPDX-License-Identifier: Apache-2.0
// GPT-2 component by component, in double, as plain as its formulas: what a model's own code, or another's, is held against.
// Each component also says how far rounding alone may lead code in a narrower type away from it.
#pragma once

#include "model/model.h"

// In the order of computing; all but the first and the last two exist in every block. docs/doctor.md has their names.
typedef enum {
    EXACT_EMBEDDING, EXACT_NORM_1, EXACT_Q, EXACT_K, EXACT_V, EXACT_SCORES, EXACT_WEIGHTS, EXACT_ATTENTION, EXACT_PROJECTION,
    EXACT_MID, EXACT_NORM_2, EXACT_MLP_IN, EXACT_ACTIVATION, EXACT_MLP_OUT, EXACT_OUT, EXACT_FINAL_NORM, EXACT_LOGITS,
    EXACT_COMPONENTS
} exact_component;

typedef struct { int64_t rows, length; const int32_t *id; } exact_batch;    // (rows, length); positions are the columns

// Units in the last place, halved and relative (2^-24 for f32): of sums inside a component, of what it gives, of weights.
typedef struct { double inside, result, weight; } exact_units;

// The arrays of one place in the model, one for each component; those of blocks are the latest block's, and EXACT_OUT is what a
// block reads and then gives (first the embedding).
typedef struct { double *of[EXACT_COMPONENTS]; } exact_state;

// How many elements a component has, and how many of them make a row: (rows, length, width), for scores and weights
// (rows, heads, length, length), of which only keys up to the query's own mean anything.
int64_t exact_size(const model *, const exact_batch *, exact_component);
int64_t exact_width(const model *, const exact_batch *, exact_component);

// The components that one reads, ended by EXACT_COMPONENTS.
const exact_component *exact_inputs(exact_component);

// Computes one from its inputs in `in`. error: standard deviation of each element under rounding; NULL: not wanted, and then
// `row` is scratch for exact_width elements.
void exact_compute(const model *, const exact_batch *, exact_component, int64_t layer, const exact_state *in,
                   const exact_units *, double *out, double *error, double *row);

// Memory for all components of a model; free with exact_state_free, also after a failure.
heed_status exact_state_make(exact_state *, const model *, const exact_batch *, heed_error *);
void exact_state_free(exact_state *);

// Sum of -ln softmax(logits)[target] over targets that are not negative.
double exact_loss(const model *, const exact_batch *, const double *logits, const int32_t *target);
