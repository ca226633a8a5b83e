// SPDX-License-Identifier: Apache-2.0
// What a run is evaluated on: one set of rows or several, each evaluated apart, and their sum.
#pragma once

#include "train/evaluate.h"

typedef struct { const char *label; row_set rows; evaluation last; } judge_member;
typedef struct {
    judge_member *member;
    int64_t count;                 // 0: nothing is evaluated
    evaluation all;                // sums over the members: their token-weighted mean
    double spread, deviation;      // of the members' losses: largest less smallest, and standard deviation
} judge;

heed_status judge_create(judge *, int64_t room, heed_error *);    // no member yet
// HEED_INVALID when the data have nothing to score. label and data are kept, not copied.
heed_status judge_add(judge *, const char *label, const dataset *, row_layout, heed_error *);
void judge_free(judge *);    // a zeroed one is fine
int64_t judge_rows(const judge *);

// As evaluate_rows, for each member; the first that is not finite or stopped ends it, and `all` says so.
heed_status judge_evaluate(judge *, model *, const evaluate_settings *, heed_error *);

// The numbers of all, and for several members each one's as "eval_loss/LABEL", with eval_loss_spread and eval_loss_deviation.
void judge_record(const judge *, json_t *object);
void judge_text(const judge *, text_buffer *);    // in words
