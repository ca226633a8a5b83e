// SPDX-License-Identifier: Apache-2.0
// Two sides, one call, a verdict: what `heed compare` and `heed doctor FILE` share.
#pragma once

#include "cli/compare_side.h"
#include "compare/verdict.h"

typedef struct {
    compare_side side[2];
    problem_line line;         // what both claim
    call c;
    call_results results[2];
    verdict v;
    text_string remarks;       // lines: what of the files was not looked at
    bool of_file;              // a failure is a file's: STATUS_SYSTEM, not STATUS_USAGE
} comparison;

typedef struct {
    const char *problem;                 // NULL: what a file claims
    bool seed_given;
    int64_t seed;
    int n_threads;
    const hypothesis *const *ask;        // NULL: nothing
    const char *capture;                 // a file to write the call and side b's result to; NULL: none
    const char *probe;                   // the inputs are made to decide, and written there; NULL: drawn
} comparison_wish;

// Free with comparison_end, also after a failure.
heed_status comparison_begin(comparison *, const char *a, const char *b, const comparison_wish *, heed_error *);
heed_status comparison_judge(comparison *, const comparison_wish *, heed_error *);
void comparison_end(comparison *);

// Prints the sentence; the exit status it has.
int comparison_fail(const args *, const comparison *, const heed_error *);
