// SPDX-License-Identifier: Apache-2.0
// A GPT-2 small enough for finite differences, and batches for it.
#pragma once

#include "base/random.h"
#include "model/model_state.h"

enum { SMALL_VOCABULARY = 29, SMALL_POSITIONS = 12 };

// Weights five times those of a fresh model, so that no part of it is nearly linear.
static inline model *small_model(const attention_choice *choice, heed_error *error) {
    model *m;
    if (model_begin(&m, error) != HEED_OK) return NULL;
    m->config = (model_config){.name = "small", .vocabulary = SMALL_VOCABULARY, .positions = SMALL_POSITIONS, .layers = 2,
                               .heads = 2,
                               .width = 16, .inner = 64, .epsilon = 1e-5, .bos = -1, .eos = -1};
    if (gpt2_layout(m, error) != HEED_OK || model_set_attention(m, choice, true, error) != HEED_OK) {
        model_free(m);
        return NULL;
    }
    m->initializer_range = 0.1;
    gpt2_initialize(m, 9);
    random_stream s = random_of(4, 0);
    for (int64_t i = 0; i < m->count; i++)
        for (int64_t j = 0; m->parameters[i].dims == 1 && j < m->parameters[i].shape[0]; j++)
            m->parameters[i].value[j] += (float)(0.1 * random_normal(&s));
    return m;
}

enum { SMALL_ROWS = 3, SMALL_LENGTH = 10, SMALL_TOKENS = SMALL_ROWS * SMALL_LENGTH };
typedef struct { int32_t id[SMALL_TOKENS], position[SMALL_TOKENS], target[SMALL_TOKENS], document[SMALL_TOKENS],
                range[2 * SMALL_ROWS]; } small_memory;

// Full rows of random tokens; the last of each row is not scored.
static inline model_batch small_batch(small_memory *b) {
    random_stream s = random_of(8, 1);
    for (int i = 0; i < SMALL_TOKENS; i++) b->id[i] = (int32_t)random_below(&s, SMALL_VOCABULARY);
    for (int i = 0; i < SMALL_TOKENS; i++) {
        b->position[i] = i % SMALL_LENGTH;
        b->target[i] = i % SMALL_LENGTH == SMALL_LENGTH - 1 ? -1 : b->id[i + 1];
        b->document[i] = 0;
    }
    for (int r = 0; r < SMALL_ROWS; r++) b->range[2 * r] = 0, b->range[2 * r + 1] = SMALL_LENGTH;
    return (model_batch){.rows = SMALL_ROWS, .length = SMALL_LENGTH, .id = b->id, .position = b->position, .target = b->target};
}
