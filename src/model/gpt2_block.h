// SPDX-License-Identifier: Apache-2.0
// GPT-2's recipe, in one place for training, evaluation and generation. With x the residual stream, block l is
//     mid = x + proj(attention(qkv(norm_1(x))))
//     x'  = mid + mlp_out(gelu(mlp_in(norm_2(mid))))
// The last sum is left to whoever reads x': the next block's first norm, or the final one. What lies between the blocks
// is mid and the branch that is still to be added.
#pragma once

#include "model/gpt2_memory.h"
#include "model/gpt2_search.h"
#include "model/model_state.h"
#include "nn/linear.h"
#include "nn/norm.h"

// The attention step, the one operation in which tokens meet. Forward: kept.qkv to kept.att and kept.lse. Backward, of the
// same kept: datt (tokens, width) to dqkv (tokens, 3 * width), all of it; NULL where no gradient is asked for.
typedef struct {
    void *context;
    heed_status (*forward)(void *context, int64_t layer, const gpt2_kept *, heed_error *);
    heed_status (*backward)(void *context, int64_t layer, const gpt2_kept *, const void *datt, void *dqkv, heed_error *);
} gpt2_attention;

// Dropout of a training pass: {0} drops nothing. Of attention's weights the attention step knows.
typedef struct { double embedding, residual; uint64_t seed; } gpt2_dropout;
typedef enum { DROP_EMBEDDING, DROP_ATTENTION, DROP_MLP } gpt2_drop_place;    // the sum of embeddings; the two branches

typedef struct {
    const model *model;
    int64_t tokens;
    gpt2_dropout dropout;
    gpt2_attention attention;
    gpt2_search search;           // {0}: none
    gpt2_memory *memory;
} gpt2_work;

// Which memory block `layer` keeps its activations in.
static inline gpt2_kept *gpt2_kept_of(const gpt2_work *w, int64_t layer) {
    return &w->memory->kept[w->memory->n_kept == 1 ? 0 : layer];
}

layer_norm gpt2_norm(const model *, const parameter *weight);    // the bias follows its weight

// A layer that reads the residual stream (through a norm) and gives operands; one that reads operands and gives a branch.
static inline linear_shape gpt2_from_stream(const model *m, int64_t out) {
    return (linear_shape){m->config.width, out, LINEAR_IN_OUT, .type = m->operands, .y_type = m->operands};
}
static inline linear_shape gpt2_to_stream(const model *m, int64_t in) {
    return (linear_shape){in, m->config.width, LINEAR_IN_OUT, .type = m->operands, .dx_type = m->operands};
}
// What products of the model multiply.
static inline const void *gpt2_weight(const parameter *p) { return p->rounded != NULL ? (const void *)p->rounded : p->value; }

// y = dropout(x) at that place of a layer, (tokens, width), as base/dropout.h has it for batch layer + 1 (0: the embedding), head
// `place`, row token and key channel. y may be x, and is x where nothing is dropped there.
const float *gpt2_drop(const gpt2_work *, gpt2_drop_place, int64_t layer, const float *x, float *y);

// Embedding, all blocks, final norm: memory.normed is what the head reads. HEED_OK also when the search has ended.
heed_status gpt2_forward(const gpt2_work *, const int32_t *id, const int32_t *position, heed_error *);

// Computes again what the forward pass kept of a block, from kept.x: the same lines and so the same bits, without the last branch.
heed_status gpt2_block_recompute(const gpt2_work *, int64_t layer, const gpt2_kept *, heed_error *);
// From memory.dx, the gradient of the block's result, to memory.dx, that of its input; adds to the parameters' gradients,
// or writes them where model.fresh.
heed_status gpt2_block_backward(const gpt2_work *, int64_t layer, const gpt2_kept *, heed_error *);
