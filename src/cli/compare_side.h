// SPDX-License-Identifier: Apache-2.0
// One side of a comparison by its name: an implementation of heed, or a convention computed by the definition.
#pragma once

#include "cli/args.h"
#include "compare/call_run.h"
#include "compare/predict.h"

typedef struct {
    const char *name;              // as it was written
    const char *implementation;    // what computes it
    const char *preset;            // NULL: the claim's own rules
} compare_side;

// HEED_INVALID for a name that is none of these, with the nearest.
heed_status compare_side_find(compare_side *, const char *name, heed_error *);
heed_status compare_side_run(const compare_side *, const call *, int n_threads, call_results *, heed_error *);
