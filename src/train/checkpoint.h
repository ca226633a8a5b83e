// SPDX-License-Identifier: Apache-2.0
// A whole run at a step, as a folder that appears whole or not at all: model, tokenizer, optimizer, position.
#pragma once

#include "io/json.h"
#include "io/tokenizer.h"
#include "model/model.h"
#include "train/schedule.h"

// What is needed besides weights and moments to take the next step exactly as if nothing had happened.
typedef struct {
    int64_t step, steps, steps_per_epoch;    // taken; of the run; in an epoch
    double loss_sum;                         // of all steps
    double window_loss;                      // sum and count of losses since the last logged line
    int64_t window_steps;
    int64_t tokens;                          // trained on so far
    int64_t skipped, skipped_in_row;         // steps, by --on_nan skip; the last ones
    int64_t best_step;                       // of the best evaluation so far; -1: none
    double best_metric;
    char metric[32];                         // which one
    plateau plateau;                         // of reduce_lr_on_plateau
    json_t *attention;                       // what ran so far, as attention.json has it; borrowed by the writer
    bool evaluation_due;                     // a signal came before this step's evaluation
    // What the course depends on: resuming with anything else is an error.
    int64_t seed, batch_size, accumulation, rows, threads;
    uint64_t data;                           // hash of the rows
    // What it depends on in a way a user may mean to change: said, not refused.
    double learning_rate;
    char schedule[32];
    bool bf16;                               // what products were computed in
} trainer_state;

typedef struct { float *memory, **m, **v; int64_t count; } moments;    // AdamW's, one pair a parameter
heed_status moments_create(moments *, const model *, heed_error *);    // zeroed
void moments_free(moments *);

// Writes `folder` (its parent exists). A failure leaves what was there.
heed_status checkpoint_write(const char *folder, const model *, const tokenizer *, const moments *, const trainer_state *,
                             heed_error *);
heed_status checkpoint_read_state(const char *folder, trainer_state *, heed_error *);
heed_status checkpoint_check(const char *folder, heed_error *);    // are all its files what was written? By their checksums
json_t *checkpoint_read_attention(const char *folder);    // NULL: not there
heed_status checkpoint_read_moments(const char *folder, const model *, moments *, heed_error *);

// A checkpoint's files, byte by byte.
heed_status checkpoint_copy(const char *from, const char *to, heed_error *);

// Keeps the newest `limit` of checkpoints/step-N; step `kept` (-1: none) and the last stay whatever the limit.
heed_status checkpoint_limit(const char *checkpoints, int64_t limit, int64_t kept, heed_error *);
// The one with the most steps, step-N or final; *folder is NULL when there is none. free it.
heed_status checkpoint_latest(const char *checkpoints, char **folder, heed_error *);
