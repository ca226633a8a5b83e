// SPDX-License-Identifier: Apache-2.0
// What a model gave, component by component, as hooks in PyTorch save it: arrays in the .npz and .safetensors files of a folder, or
// of one file. docs/doctor.md has their names.
#pragma once

#include "cli/capture_file.h"
#include "model/gpt2_exact.h"

enum { MODEL_CAPTURE_FILES = 64 };

typedef struct {
    capture_file file[MODEL_CAPTURE_FILES];
    char *path[MODEL_CAPTURE_FILES];
    int files;
    const model *a;               // whose sizes the arrays must have
    const exact_batch *batch;
    int64_t arrays, unknown;      // in all files; of them, those whose names say nothing
    const char *first_unknown;
    double unit;                  // of the widest rounding among the arrays: bf16's where one is bf16
} model_capture;

// Files in the order of their names. HEED_INVALID: damaged, unreadable, or a name twice.
heed_status model_capture_open(model_capture *, const char *path, heed_error *);
void model_capture_close(model_capture *);    // also after a failure

// The array `ids`, (rows, length) or (length): NULL when there is none.
heed_status model_capture_ids(const model_capture *, const tensor_view **, heed_error *);

// Every array fits the model and the batch, or the sentence that names one that does not.
heed_status model_capture_check(model_capture *, const model *, const exact_batch *, heed_error *);

// As walk_side.give.
bool model_capture_give(void *context, exact_component, int64_t layer, const exact_state *, double *to, double *unit);
