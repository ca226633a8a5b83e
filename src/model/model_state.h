// SPDX-License-Identifier: Apache-2.0
// What a model holds; for the sources of this folder only.
#pragma once

#include "io/json.h"
#include "model/model.h"

enum { GPT2_BLOCK_PARAMETERS = 12, MODEL_NAME = 64 };

// Positions in model.parameters: token and position embedding, blocks, final norm.
enum { P_TOKENS = 0, P_POSITIONS = 1, P_BLOCKS = 2 };
enum {
    B_NORM1_W, B_NORM1_B, B_QKV_W, B_QKV_B, B_PROJ_W, B_PROJ_B, B_NORM2_W, B_NORM2_B, B_FC_W, B_FC_B, B_MLP_W, B_MLP_B
};

struct model {
    model_config config;
    json_t *json;               // config.json as it was loaded; NULL from scratch
    parameter *parameters;
    char (*names)[MODEL_NAME];
    int64_t count, elements;    // parameters, and all their values
    float *values, *grads;      // one block each, cut into the parameters; grads NULL until wanted
    heed_dtype operands;        // what products multiply: f32, or bf16 with `rounded` weights
    uint16_t *rounded;          // one block, cut into the matrices that products read; NULL with f32
    bool fresh;                 // grads count as zero
    bool recompute;             // blocks are computed again in backward
    double initializer_range;

    engine engine;
    int n_threads;
    attention_choice choice;
    attention_plans *plans;

    char *memory;               // activations and scratch, for the largest batch so far
    size_t memory_bytes;
};

static inline parameter *block_parameter(const model *m, int64_t layer, int which) {
    return &m->parameters[P_BLOCKS + layer * GPT2_BLOCK_PARAMETERS + which];
}
static inline parameter *final_parameter(const model *m, int which) {    // 0: weight, 1: bias
    return &m->parameters[P_BLOCKS + m->config.layers * GPT2_BLOCK_PARAMETERS + which];
}

// gpt2.c: the parameters of m->config, without values; checks sizes.
heed_status gpt2_layout(model *, heed_error *);
void gpt2_initialize(model *, uint64_t seed);

// gpt2_file.c
heed_status gpt2_read_config(model *, const char *folder, heed_error *);

// model.c
heed_status model_begin(model **, heed_error *);

// gpt2_run.c: one pass over a checked batch.
typedef struct {
    bool evaluation, gradient;
    double scale;               // of the loss, with `gradient`
    double *loss;               // NULL: no loss wanted
    int64_t *scored;
    float *logits;              // NULL: not wanted
    nan_origin *origin;         // not NULL: every operation's result is searched, and the pass ends where one is found
} gpt2_pass;
heed_status gpt2_run(model *, const model_batch *, const gpt2_pass *, heed_error *);
