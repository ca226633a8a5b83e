// SPDX-License-Identifier: Apache-2.0
// Two results of one call: the same, rounding, another formula and which, or a NaN and where from.
#pragma once

#include "compare/measure.h"
#include "compare/where.h"

typedef enum { VERDICT_SAME, VERDICT_ROUNDING, VERDICT_SEMANTIC, VERDICT_NAN, VERDICT_UNDECIDABLE } verdict_kind;
extern const char *const verdict_names[];    // "SAME", ...

typedef struct {
    verdict_kind kind;
    bool unexplained;                // SEMANTIC or NAN without an explanation
    int side;                        // whose result departs from the claim: 0 a, 1 b; -1: neither
    findings of[2];                  // of a's and of b's result, against the claim
    const char *nan_cause;           // NAN: "nan.empty_row", ...
    error_size a_ref, b_ref, a_b;    // of out
    where at;                        // of the side that departs
    const hypothesis *asked_in_vain[HYPOTHESES_MOST];    // asked for, but these inputs cannot show them
    int n_asked_in_vain;
} verdict;

// ask: ids the caller wants decided, NULL past the last; may be NULL.
heed_status verdict_reach(verdict *, const call *, const observed *a, const observed *b, const hypothesis *const *ask,
                          int n_threads, heed_error *);
