// SPDX-License-Identifier: Apache-2.0
// Is an implementation right on this problem? Every output against the reference, by the contract's yardstick: error at most
// 2 e + r (gradients 3 e + r), e the error of plain f32 code, r one ulp and the first-order floor (docs/numerics.md).
#pragma once

#include "compare/drawn.h"
#include "ref/attention.h"

enum { CHECK_OUTPUTS = 8 };

typedef struct {
    const char *name;    // "out", "lse", "dq", ...
    double error;        // max |result - ref|; infinite where one is finite and the other is not
    double bound;
    double most;         // max |ref|
    int64_t worst;       // index of the worst element, dense
    bool pass;
} check_output;

typedef struct {
    const char *implementation, *cpu;
    check_output output[CHECK_OUTPUTS];
    int outputs;
    bool guards_whole;    // nothing was written outside of an array
    bool pass;            // all outputs and the guards
} check_report;

// A problem with its data and what is right for it; several implementations can then be checked.
typedef struct {
    drawn data;
    ref_results reference, plain, floor;
    void *memory;
} check_case;

// poison: NaN and infinities in every hidden place first (drawn_poison).
heed_status check_begin(check_case *, const problem_line *, bool poison, heed_error *);
void check_end(check_case *);    // also after a failure

// HEED_REFUSED when the implementation refuses; HEED_OK with report->pass false when it is wrong.
heed_status check_run(check_case *, const heed_choice *, check_report *, heed_error *);
