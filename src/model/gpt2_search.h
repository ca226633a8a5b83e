// SPDX-License-Identifier: Apache-2.0
// The search for the first non-finite value of a pass.
#pragma once

#include "model/model.h"

// origin NULL: the pass is no search, and both functions are free of cost.
typedef struct { const model_batch *batch; nan_origin *origin; } gpt2_search;

static inline bool gpt2_search_ended(const gpt2_search *s) { return s->origin != NULL && s->origin->found; }

// Looks through the result of an operation, (tokens, width); true: something was found, and the pass ends.
bool gpt2_search_in(const gpt2_search *, int64_t layer, const char *operation, bool backward, heed_dtype type,
                    const void *x, int64_t width);
// Notes that operation `operation` gave `value` at a token of the batch.
void gpt2_search_note(const gpt2_search *, int64_t layer, const char *operation, bool backward, int64_t token, double value);
