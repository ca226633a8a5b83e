// SPDX-License-Identifier: Apache-2.0
// The memory of a pass: what each block keeps from forward for backward, and the scratch of all blocks, cut from one piece.
#pragma once

#include "model/model.h"

// One block's, in the order they are computed (model/gpt2_block.h): (tokens, width) each, but qkv (tokens, 3 * width),
// fc (tokens, inner), lse (rows, heads, length) and the norms' (tokens).
typedef struct { float *x, *norm1, *qkv, *att, *lse, *mid, *norm2, *fc, *mean1, *rstd1, *mean2, *rstd2; } gpt2_kept;

typedef struct {
    float *x_last, *normed, *mean, *rstd;    // after the blocks
    float *branch;                           // (tokens, width): what a block adds to mid; in backward, a branch's gradient
    float *dx;                               // (tokens, width): gradient of the residual stream; NULL without gradient
    float *gelu, *wide;                      // (tokens, inner); (tokens, max of inner and 3 * width), NULL without gradient
    void *workspace, *norm_scratch;          // of attention; of backward
    void *head_scratch;                      // of the loss; lies over gelu .. norm_scratch, which rest meanwhile
    int64_t n_kept;
    gpt2_kept *kept;                         // one for each block; or a single one that all blocks use, without gradient
    bool recompute;                          // each block keeps its x only; the rest is the last one's that was computed
} gpt2_memory;

typedef struct {
    int64_t tokens;
    bool gradient, loss;
    size_t workspace_bytes;
} gpt2_memory_size;

// Cuts `at` up, for n_kept blocks as set in *memory; returns the bytes it takes. at NULL: only counts.
size_t gpt2_memory_lay_out(gpt2_memory *, const model_config *, const gpt2_memory_size *, void *at);

// The same from the model's own memory, which grows to the largest pass so far.
heed_status gpt2_memory_take(model *, gpt2_memory *, const gpt2_memory_size *, heed_error *);
