// SPDX-License-Identifier: Apache-2.0
// The memory of a pass: what each block keeps from forward for backward, and the scratch of all blocks, cut from one piece.
#pragma once

#include "model/model.h"

// Of each block. The residual stream, and what norms and softmax need, are f32; what products read, the operands, are of the
// model's type.
typedef struct {
    float *x, *mid;                          // (tokens, width)
    float *mean1, *rstd1, *mean2, *rstd2;    // (tokens)
    float *lse;                              // (rows, heads, length)
    void *norm1, *att, *norm2;               // operands: (tokens, width)
    void *qkv, *fc;                          // operands: (tokens, 3 * width), (tokens, inner)
} gpt2_kept;

typedef struct {
    float *x_last, *mean, *rstd;             // after the blocks
    void *normed;                            // operand: what the head reads
    float *branch;                           // (tokens, width): what a block adds to mid; in backward, a branch's gradient
    float *dx;                               // (tokens, width): gradient of the residual stream; NULL without gradient
    float *dropped;                          // dx through a branch's dropout; NULL without
    void *dy;                                // either as an operand; NULL where that is f32
    void *gelu, *wide;                       // operands: (tokens, inner); (tokens, max of inner and 3 * width), with gradient
    void *workspace, *norm_scratch;          // of attention; of backward
    void *head_scratch;                      // of the loss; lies over gelu .. norm_scratch, which rest meanwhile
    int64_t n_kept;
    gpt2_kept *kept;                         // one for each block; or a single one that all blocks use, without gradient
    bool drops;                              // backward passes through dropout of branches
    bool recompute;                          // each block keeps its x only; the rest is the last one's that was computed
} gpt2_memory;

typedef struct {
    int64_t tokens;
    bool gradient, loss;
    size_t workspace_bytes;
} gpt2_memory_size;

// For n_kept blocks as set in *memory, from the model's own memory, which grows to the largest pass so far.
heed_status gpt2_memory_take(model *, gpt2_memory *, const gpt2_memory_size *, heed_error *);
