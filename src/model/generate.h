// SPDX-License-Identifier: Apache-2.0
// Text by the model: prompts are read into a cache, then every sequence grows a token a step, several at once. What a sequence
// becomes does not depend on its neighbours: a prompt is read by itself, steps go through layers whose rows do not know of one
// another, and its random numbers are its own.
#pragma once

#include "model/model.h"
#include "model/sample.h"

enum { GENERATE_BATCH = 16 };    // sequences at once, at most: LINEAR_FEW_ROWS

typedef enum { FINISH_EOS, FINISH_LENGTH, FINISH_STOP, FINISH_INTERRUPTED, FINISH_REASONS } finish_reason;
extern const char *const finish_names[];    // "eos", "length", "stop", "interrupted"

typedef struct {
    const int32_t *id;      // at least one
    int64_t count, most;    // ids of the prompt; new tokens at most. Together at most the model's positions
    uint64_t stream;        // which random numbers are drawn: a function of this and the seed
} generation_prompt;

typedef struct {
    sample_options sampling;
    uint64_t seed;
    int32_t eos;            // ends a sequence; -1: nothing does
    int64_t batch;          // sequences at once: 1 to GENERATE_BATCH
    void *context;          // of the calls below, which come from the calling thread
    bool (*token)(void *context, int64_t prompt, int32_t id);            // a new token, EOS too; false: it is enough
    void (*finished)(void *context, int64_t prompt, finish_reason);      // once for each prompt
    bool (*interrupted)(void *context);                                  // asked between steps; NULL: never
} generation;

typedef struct {
    int64_t prefill_tokens, decode_tokens;      // read of prompts; computed one by one after them
    double prefill_seconds, decode_seconds;
    bool finite;                                // false: a logit was not; generation ended there
    int64_t prompt;                             // whose it was
    nan_origin origin;                          // where it came from
} generation_result;

heed_status generate(model *, const generation *, const generation_prompt *, int64_t n_prompts, generation_result *, heed_error *);
