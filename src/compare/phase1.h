// SPDX-License-Identifier: Apache-2.0
// Four tests of a GPT-OSS attention block whose mismatch was reported and never explained. All weights, biases and sinks are
// equal, so that every output channel of a row has the same value. Stages in bf16: fused qkv projection, half-split rotary
// embedding, scores, causal and window masks, one sink, softmax, value product, output projection.
#pragma once

#include "compare/hypothesis.h"

enum { PHASE1_TESTS = 4, PHASE1_TOKENS = 64, PHASE1_HIDDEN = 64 };    // bounds of a test's sizes

typedef struct {
    char id[16], name[48];
    int64_t tokens, heads, kv_heads, hidden, head_dim, window;    // window: keys counting self; 0: none
    double theta, weights, biases, sinks;
    double input[PHASE1_TOKENS * PHASE1_HIDDEN];                  // (tokens, hidden)
    double reference[PHASE1_TOKENS];                              // one value a row
    double mismatched, max_abs_error, rtol, atol;                 // as reported
} phase1_test;

// The built-in tests; their inputs are drawn as they were (MT19937, Matsumoto and Nishimura 1998, seed 42).
void phase1_builtin(phase1_test[PHASE1_TESTS]);

// The block with a hypothesis in it (NULL: as it should be): one value a row.
heed_status phase1_block(const phase1_test *, const hypothesis *, double parameter, double value[PHASE1_TOKENS], heed_error *);

typedef struct { double mismatched, max_abs_error; } phase1_difference;    // of values to the reference
phase1_difference phase1_differ(const phase1_test *, const double value[PHASE1_TOKENS]);

// A hypothesis over all tests at once.
typedef struct {
    const hypothesis *of;
    double parameter;
    phase1_difference found[PHASE1_TESTS];
    bool visible;    // some test shows it
    bool matches;    // every reported fraction and maximum is what it gives
} phase1_trial;

enum { PHASE1_TRIALS = 256 };
typedef struct {
    bool exact[PHASE1_TESTS];    // the block as it should be gives the reference, bit for bit
    phase1_trial trial[PHASE1_TRIALS];
    int trials;
} phase1_findings;
heed_status phase1_search(phase1_findings *, const phase1_test *, int tests, heed_error *);
