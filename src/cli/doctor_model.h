// SPDX-License-Identifier: Apache-2.0
// What `heed doctor model` found, and how it is told.
#pragma once

#include "cli/args.h"
#include "cli/model_capture.h"
#include "cli/model_walk.h"
#include "cli/model_weights.h"
#include "compare/verdict.h"

enum { MODEL_FIELDS = 8 };

typedef struct {
    const char *name[2];              // as they were written
    char *folder[2];                  // of checkpoints; [1] NULL: a capture
    model *model[2];                  // [1] NULL: a capture, or weights from which no model can be made
    model_capture capture;
    weight_map weights;
    char field[MODEL_FIELDS][96];     // of the configs, those that differ: "n_head: 4 against 8"
    int fields;
    char not_walked[320];             // why the layers were not computed; ""
    char *prompt;                     // NULL: ids alone
    int32_t *id;
    exact_batch batch;
    walk_findings walk;
    verdict *attention;               // of the attention that departs; NULL
    char problem[96];                 // of it
    verdict_kind kind;
} model_findings;

void doctor_model_print(const model_findings *);
int doctor_model_json(const args *, const model_findings *);
