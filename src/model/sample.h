// SPDX-License-Identifier: Apache-2.0
// The next token from logits, with the meaning and in the order of transformers' logits processors: repetition penalty,
// temperature, top-k, top-p, min-p; then one draw from what is left.
#pragma once

#include "base/random.h"
#include "nn/engine.h"

typedef struct {
    bool greedy;                  // the largest logit; only the repetition penalty matters besides
    double repetition_penalty;    // 1: none. Of every token seen so far: x < 0 ? x * penalty : x / penalty
    double temperature;           // above 0
    int64_t top_k;                // keeps the k largest, and what equals the k-th; 0: all
    double top_p;                 // keeps the fewest of the largest whose probabilities reach top_p (Holtzman et al. 2020); 1: all
    double min_p;                 // drops what is less likely than min_p times the likeliest (Nguyen et al. 2024); 0: none
} sample_options;

extern const sample_options sample_greedy;    // and every other field without effect

typedef struct sampler sampler;
heed_status sampler_create(sampler **, const engine *, const sample_options *, int64_t vocabulary, heed_error *);
void sampler_free(sampler *);    // NULL is fine

// Applies the options to logits in place: what is dropped becomes -inf. seen: the ids of prompt and text so far.
void sample_process(sampler *, const int32_t *seen, int64_t n_seen, float *logits);

// One token; logits are spoilt. A function of logits, seen, options and the stream alone. The stream is read when not greedy.
int32_t sample(sampler *, const int32_t *seen, int64_t n_seen, float *logits, random_stream *);
