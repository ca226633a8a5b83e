// SPDX-License-Identifier: Apache-2.0
// One side of a comparison by its name: an implementation of heed, a convention computed by the definition, or a captured file.
#pragma once

#include "cli/args.h"
#include "cli/capture_file.h"
#include "compare/predict.h"

typedef struct {
    const char *name;              // as it was written
    const char *implementation;    // what computes it; NULL: a file
    const char *preset;            // NULL: the claim's own rules
    capture_file file;
} compare_side;

// HEED_INVALID for a name that is none of these, with the nearest. Opens no file.
heed_status compare_side_find(compare_side *, const char *name, heed_error *);
heed_status compare_side_results(const compare_side *, const call *, int n_threads, call_results *, heed_error *);
