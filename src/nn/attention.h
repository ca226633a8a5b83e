// SPDX-License-Identifier: Apache-2.0
// Attention as a layer: the fused (rows, length, 3 * width) activations of c_attn read in place through strides, and the
// public API doing the work. Which implementation runs is the caller's plan (model/attention_choice.h).
#pragma once

#include "heed/heed.h"

// The arrays of the batch at hand, where a mask function finds them: a plan that holds the function outlives the batch.
typedef struct { int64_t length; const int32_t *key_range, *document; } attention_seen;

typedef struct {
    int64_t rows, length, heads, channels;
    heed_dtype type;             // of qkv, out, dout, dqkv; lse is f32
    const int32_t *key_range;    // (rows, 2) or NULL
    const int32_t *document;     // (rows, length) or NULL
    double dropout;              // probability of dropping a weight, and the seed that says which
    uint64_t seed;
    attention_seen *seen;        // not NULL: causality, padding and documents go to heed as one mask function that reads it
} attention_batch;

// Causality alone as such a function.
heed_mask attention_causal_function(attention_seen *);

// Causal self-attention over fused qkv: q, k, v at channels 0, width, 2 * width of each token.
heed_problem attention_problem(const attention_batch *, heed_pass);

// out: (rows, length, width); lse: (rows, heads, length)
heed_status attention_forward(const heed_plan *, const attention_batch *, const void *qkv, void *out, float *lse,
                              void *workspace, size_t workspace_bytes, heed_error *);
// dqkv: as qkv, all of it written.
heed_status attention_backward(const heed_plan *, const attention_batch *, const void *qkv, const void *out, const float *lse,
                               const void *dout, void *dqkv, void *workspace, size_t workspace_bytes, heed_error *);
