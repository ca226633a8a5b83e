// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "nn/engine.h"

// y[t] = tokens[id[t]] + positions[position[t]]; every index is in range (the model checks).
void embedding_forward(const engine *, int64_t rows, int64_t width, const int32_t *id, const int32_t *position,
                       const float *tokens, const float *positions, float *y);
// dtokens[id[t]] += dy[t], dpositions[position[t]] += dy[t], in the order of t whatever the threads.
void embedding_backward(const engine *, int64_t rows, int64_t width, const int32_t *id, const int32_t *position,
                        const float *dy, float *dtokens, float *dpositions);
