// SPDX-License-Identifier: Apache-2.0
// Inputs that decide: of a claim, at sizes near it, on which every hypothesis that means anything for it would show.
#pragma once

#include "compare/search.h"

typedef enum { PROBE_NO_CHANGE, PROBE_IS_ROUNDING, PROBE_TOO_SMALL } probe_reason;
extern const char *const probe_reasons[];    // in words

typedef struct {
    call c;                       // its line: the sizes and the seed that were found best
    int tried, hypotheses;        // inputs looked at; hypotheses that apply to the call
    const hypothesis *blind[HYPOTHESES_MOST];    // what even these inputs cannot show
    probe_reason reason[HYPOTHESES_MOST];
    int n_blind;
} probe;

// Draws from claim->seed on. Free with call_free(&p->c), also after a failure.
heed_status probe_make(probe *, const problem_line *claim, int n_threads, heed_error *);
