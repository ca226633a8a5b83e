// SPDX-License-Identifier: Apache-2.0
// The rows of `heed doctor phases`: what is tried, and how one is run. doctor_phases.c only prints what these computed.
#pragma once

#include "cli/compare_side.h"
#include "compare/verdict.h"

enum { PHASES = 4, PHASE_ROWS_MOST = 256 };

// How a row is judged.
typedef enum {
    PHASE_ATTENTION,     // an attention: a verdict against the definition
    PHASE_GRADIENT,      // its gradients: the contract's yardstick, as `heed check`
    PHASE_LINEAR,        // a linear layer against double
    PHASE_MODEL          // a GPT-2-shaped model against double
} phase_kind;

// What is done to drawn data, so that all but one part of attention is trivial.
enum {
    FILL_ZERO_Q = 1,         // all scores are 0 before edits
    FILL_IDENTITY_V = 2,     // out is the row of weights
    FILL_ONE_V = 4,          // out is the sum of weights
    FILL_HUGE = 8,           // q times 100
    FILL_POISON = 16,        // NaN and infinities in every hidden place
    FILL_CONSTANT = 32       // all keys and all queries are alike
};

typedef struct {
    int phase;
    phase_kind kind;
    unsigned fill;
    char what[80], text[160];
} phase_row;

// All rows, in order; returns how many.
int phase_rows(phase_row rows[PHASE_ROWS_MOST]);

typedef enum { PHASE_PASS, PHASE_FAIL, PHASE_REFUSED } phase_outcome;
typedef struct {
    phase_outcome outcome;
    char sentence[256];      // of a refusal, or what is wrong where there is no verdict
    bool judged;             // a failure whose verdict is in v
    verdict v;
} phase_result;

typedef struct { compare_side side; const char *cpu; int threads; uint64_t seed; } phase_subject;

heed_status phase_run(phase_result *, const phase_row *, const phase_subject *, heed_error *);

// doctor_phases_layers.c
heed_status phase_run_linear(phase_result *, const phase_row *, const phase_subject *, heed_error *);
// doctor_phases_model.c
heed_status phase_run_model(phase_result *, const phase_row *, const phase_subject *, heed_error *);
