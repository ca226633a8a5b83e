// SPDX-License-Identifier: Apache-2.0
// Loss over a whole data set: sums and counts, never a mean of means.
#pragma once

#include "io/json.h"
#include "train/data.h"

typedef struct {
    double loss_sum;                   // nats over scored tokens
    int64_t scored, tokens;            // scored, and all real tokens
    int64_t bytes;                     // of text the scored tokens stand for; an EOS stands for none
    int64_t batches, all_batches;
    bool truncated;                    // --eval_max_batches left some out: said wherever the numbers appear
    bool stopped;                      // a signal came: the numbers are of no use
    bool finite;                       // otherwise origin says where it was lost
    nan_origin origin;
    double floor;                      // nats per scored token no model can beat; NaN when unknown
    double seconds;
} evaluation;

typedef struct {
    int64_t batch_size, max_batches;   // max_batches -1: all
    batch_padding padding;
    const int32_t *token_bytes;        // bytes each id stands for
    bool search;                       // look for NaN in activations the loss does not show (rows of padding)
    void (*tick)(void *context, int64_t done, int64_t of);    // after each batch; NULL: none
    void *context;
} evaluate_settings;

// Rows in their order. HEED_OK also when a loss is not finite (finite tells) or a signal stopped it (stopped tells).
heed_status evaluate_rows(evaluation *, model *, const row_set *, const evaluate_settings *, heed_error *);

double evaluation_loss(const evaluation *);
double evaluation_perplexity(const evaluation *);       // exp(loss), without a cap
double evaluation_bits_per_byte(const evaluation *);
// By the name in metrics.jsonl, with or without "eval_"; false: there is none of that name.
bool evaluation_metric(const evaluation *, const char *name, double *value);
extern const char *const evaluation_metrics[];          // the names, ending in NULL

// Sets eval_loss, perplexity, bits_per_byte, truncated, ... in an object.
void evaluation_record(const evaluation *, json_t *object);
