// SPDX-License-Identifier: Apache-2.0
// The evidence of `heed doctor nan`: what each operator gives in a model, and what one layer shows by itself. Nothing here is
// known beforehand; doctor_nan.c only prints what these computed.
#pragma once

#include "heed/heed.h"
#include "model/model.h"

enum { NAN_TEXTS = 2 };

// Two texts as ids (a byte each), left-padded to one length, the shorter first.
typedef struct {
    const char *text[NAN_TEXTS];
    int64_t length, pads[NAN_TEXTS];
    int32_t *id, *position, *target;    // (2, length); pads are not scored
    int32_t key_range[2 * NAN_TEXTS];
    model_batch batch;
} nan_texts;

heed_status nan_texts_make(nan_texts *, heed_error *);
void nan_texts_free(nan_texts *);

// An operator by name and preset, in one mode.
typedef struct { const char *label; attention_choice choice; } nan_operator;

typedef struct {
    const char *label, *implementation, *preset;
    char problem[320], reason[512];       // of the attention that ran
    bool training, finite;                // finite: everything that was computed
    int64_t first[3];                     // of logits [b, i, c]: the first that is not finite; -1: all are
    int64_t bad_rows[NAN_TEXTS];          // rows (positions) of each text with a logit that is not finite; -1 in training
    double output_mean, output_mean_real; // of all logits, and of those at real tokens; NaN in training, which has none
    double loss, gradient_norm;           // mean over scored tokens; norm: training only, else NaN
    nan_origin origin;
} nan_result;

// A fresh gpt2-nano of the seed for each call.
heed_status nan_result_compute(nan_result *, const nan_operator *, bool training, const nan_texts *, uint64_t seed, int n_threads,
                               heed_error *);

// One attention by itself, of the model's shape, on data drawn from the seed.
typedef struct {
    int64_t empty_rows[NAN_TEXTS];         // rows that see no key (lse = -inf)
    int64_t first_layer[NAN_TEXTS];        // rows with NaN after one unprotected attention
    int64_t second_layer[NAN_TEXTS];       // after a second one that reads the first's output
    double mean_distance;                  // max |empty row under a finite minimum - mean of all values|
} nan_layers;

heed_status nan_layers_compute(nan_layers *, const nan_texts *, uint64_t seed, int n_threads, heed_error *);
