// SPDX-License-Identifier: Apache-2.0
// What a run reads: tokenizer, model and data sets, by the names the options give.
#pragma once

#include "io/dataset.h"
#include "io/tokenizer.h"
#include "model/model.h"
#include "train/data.h"
#include "train/options.h"

typedef struct {
    tokenizer *words;
    model *model;
    dataset all, part, spoken;    // what was read; all without what is held out; a generated one that judge is a view of
    const dataset *learn;         // trained on: all or part
    dataset judge;                // evaluated on
    bool judged;                  // there is something to evaluate on
    int32_t *token_bytes;         // bytes of text each id of the model stands for
    char *folder;                 // the model's; NULL: a built-in size
    char name[64];                // of the model, for folder names and reports
} sources;

// The name `demo`, how many of its documents a run generates, and the share of documents that is held out.
extern const char sources_demo[];
enum { DEMO_DOCUMENTS = 40000 };
#define HELD_OUT 0.05

// Fills words and model. resume: a checkpoint's folder to take both from; NULL: as the options say.
heed_status sources_open_model(sources *, const train_options *, const char *resume, heed_error *);

// Fills all, learn, judge for training: --eval_dataset, or the last documents held out (when there are two or more).
heed_status sources_open_data(sources *, const train_options *, heed_error *);
// The one data set of an evaluation, in judge: a whole file, or what training on demo would have held out.
heed_status sources_open_eval(sources *, const train_options *, heed_error *);

// A row is longer than the model has positions; a word the model has no row for. HEED_INVALID, a usage error.
heed_status sources_check_length(const sources *, const train_options *, heed_error *);

void sources_close(sources *);    // a zeroed one is fine
