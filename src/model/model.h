// SPDX-License-Identifier: Apache-2.0
// A causal language model: its parameters, loss, gradient and files. GPT-2 (model/gpt2.c) is the family built so far.
#pragma once

#include "heed/heed.h"
#include "model/attention_choice.h"
#include "nn/engine.h"
#include "nn/parameter.h"

typedef struct model model;

typedef struct {
    char name[64];                  // "gpt2-nano", or model_type of the checkpoint
    int64_t vocabulary, positions, layers, heads, width, inner;
    double epsilon;                 // of the norms
    // Probabilities of dropping: of the sum of embeddings, an attention weight, what a branch adds to the residual stream.
    // In model_gradient only; built-in sizes have 0.
    double dropout_embedding, dropout_attention, dropout_residual;
    int32_t bos, eos;               // -1: none
} model_config;

// ---- Life --------------------------------------------------------------------------------------------------------

// From scratch, by the name of a built-in size: "gpt2-nano" (4 layers, 4 heads, width 128, 256 positions), "gpt2-124m"
// (12, 12, 768, 1024). Weights are drawn from `seed` as Hugging Face initialises GPT-2.
heed_status model_create(model **, const char *builtin_size, int64_t vocabulary, uint64_t seed, heed_error *);
// The names model_create takes, ended by NULL.
const char *const *model_sizes(void);
bool model_is_size(const char *name);

// From a folder in Hugging Face layout: config.json and model.safetensors. A missing, misshapen or unknown tensor, and a
// config field whose arithmetic heed does not have, are errors that name it.
heed_status model_load(model **, const char *folder, heed_error *);
// The config of a folder, with fresh weights (--from_scratch). vocabulary 0: the config's.
heed_status model_create_from_config(model **, const char *folder, int64_t vocabulary, uint64_t seed, heed_error *);
// Writes config.json and model.safetensors into an existing folder; transformers.AutoModelForCausalLM opens it. Fields of
// a loaded config.json that heed does not use are written back as they were.
heed_status model_save(const model *, const char *folder, heed_error *);
void model_free(model *);    // NULL is fine

const model_config *model_config_of(const model *);
// In a fixed order, the same for every load and save.
const parameter *model_parameters(const model *, int64_t *count);

// ---- Set-up, before the first batch ---------------------------------------------------------------------------------

heed_status model_set_threads(model *, int n_threads, heed_error *);    // 0: all
const engine *model_engine(const model *);                              // for adamw_step and gradient_norm
heed_status model_set_attention(model *, const attention_choice *, bool training, heed_error *);    // default: auto
// Gradient checkpointing (Chen et al. 2016): each block keeps its input only and is computed again in backward. Less memory,
// a third more time, the same bits. Default: off.
void model_set_recompute(model *, bool);
// What products multiply: HEED_F32 (default) or HEED_BF16. With bf16, weights stay f32 and are rounded once a step, for
// products alone; sums, the residual stream, norms, softmax, loss, gradients of weights and moments are f32. adamw_step keeps
// the rounded weights true; whoever else writes a value calls this again.
heed_status model_set_precision(model *, heed_dtype, heed_error *);
// What attention ran so far, one record per distinct problem.
const attention_record *model_attention_records(const model *, int64_t *count);

// ---- Compute --------------------------------------------------------------------------------------------------------

typedef struct {
    int64_t rows, length;
    const int32_t *id, *position;    // (rows, length); positions count real tokens from 0
    const int32_t *target;           // (rows, length): the next token's id, -1 = not scored; may be NULL for logits
    const int32_t *key_range;        // (rows, 2): first real key and one past the last (padding), or NULL
    const int32_t *document;         // (rows, length): packed documents that must not see each other, or NULL
    uint64_t seed;                   // of dropout: what is dropped is a function of it and of the place in the batch
} model_batch;

// Forward only, as evaluation. Sums in nats over scored tokens; the caller divides.
heed_status model_loss(model *, const model_batch *, double *loss_sum, int64_t *scored, heed_error *);

// Forward and backward, as training: adds scale * d(sum of losses) / d(parameter) to every grad.
heed_status model_gradient(model *, const model_batch *, double scale, double *loss_sum, int64_t *scored, heed_error *);
// Grads count as zero from here on; the next model_gradient writes them without reading (do not read them before).
void model_gradient_clear(model *);

// logits: (rows, length, vocabulary), as evaluation. For small batches: tests, doctor.
heed_status model_logits(model *, const model_batch *, float *logits, heed_error *);

// ---- Token by token -------------------------------------------------------------------------------------------------

typedef struct kv_cache kv_cache;    // model/kv_cache.h

typedef struct {
    int64_t first_row, rows;    // the cache's rows that grow: first_row .. first_row + rows - 1
    int64_t length;             // new tokens of each
    const int32_t *id;          // (rows, length); a token's position is the row's length before it
    bool every;                 // logits of every new token, not only of each row's last
} model_tokens;

// Appends tokens to rows of the cache, as evaluation: their logits are those of the whole sequence at once, within rounding.
// logits: (rows, vocabulary), with `every` (rows, length, vocabulary); NULL: not wanted. Up to LINEAR_FEW_ROWS tokens a call,
// a row's bits do not depend on the other rows. A row that would outgrow the cache is HEED_INVALID; a failure changes nothing.
heed_status model_extend(model *, kv_cache *, const model_tokens *, float *logits, heed_error *);

// ---- Where did the NaN come from? -----------------------------------------------------------------------------------

typedef struct {
    bool found;
    bool backward;             // forward and loss were finite; a gradient was not
    int64_t layer;             // block, from 0; -1: outside the blocks
    const char *operation;     // "embedding", "norm 1", "qkv", "attention", "projection", "norm 2", "mlp in", "gelu", ...
    int64_t row, position;     // of the batch; position is the column of the row
    double value;              // NaN, inf or -inf
    bool no_visible_key;       // that row saw no key in attention
    const char *parameter;     // the first parameter that itself holds a NaN or infinity; NULL: none does
    char sentence[512];        // all of it in words
} nan_origin;

// Runs the batch again, operation by operation, and names the first non-finite value. Grads are spoilt when the search
// reaches the backward pass (which needs batch->target).
heed_status model_nan_origin(model *, const model_batch *, bool evaluation, nan_origin *, heed_error *);
