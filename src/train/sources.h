// SPDX-License-Identifier: Apache-2.0
// What a run reads: tokenizer, model and data sets, by the names the options give.
#pragma once

#include "io/dataset.h"
#include "io/tokenizer.h"
#include "model/model.h"
#include "train/data.h"
#include "train/options.h"

// One data set that is trained on.
typedef struct {
    char label[128];              // for people and as a part of keys: "valid.txt", "owner/name:config"
    dataset all, part, held;      // what was read; all without what is held out; that, or the data set's own split
    const dataset *learn;         // trained on: all or part
    bool judged;                  // held is something to evaluate on
} source_data;

typedef struct {
    tokenizer *words;
    model *model;
    member_list members;          // names of what is trained on
    source_data *data;            // one for each
    dataset judge, spoken;        // what --eval_dataset names; a generated one that it is a view of
    bool judge_named;             // judge is evaluated on, and nothing is held out
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

// An option about configurations or splits where no data set has any. HEED_INVALID, a usage error.
heed_status sources_check_splits(const train_options *, heed_error *);

// Fills members, data and judge for training: --eval_dataset, or each data set's own split, or the last documents held out (when
// there are two or more).
heed_status sources_open_data(sources *, const train_options *, heed_error *);
// The one data set of an evaluation, in judge: a whole file, a split, or what training on demo would have held out.
heed_status sources_open_eval(sources *, const train_options *, heed_error *);

// A row is longer than the model has positions; a word the model has no row for. HEED_INVALID, a usage error.
heed_status sources_check_length(const sources *, const train_options *, heed_error *);

void sources_close(sources *);    // a zeroed one is fine
void sources_close_data(sources *);    // what sources_open_data and sources_open_eval opened; sources_close does it
