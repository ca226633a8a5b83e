// SPDX-License-Identifier: Apache-2.0
// One line that names a problem: docs/contract.md, "Problem text".
#pragma once

#include "heed/heed.h"

typedef enum { PAD_NONE, PAD_LEFT, PAD_RIGHT } pad_side;

// Rotary embedding of a call whose q and k are given before it: captures and comparisons know it, the library does not.
typedef enum { ROPE_NONE, ROPE_HALF, ROPE_PAIRS } rope_layout;    // channels c and c + D / 2, or 2 c and 2 c + 1, turn together
typedef struct { rope_layout layout; double theta, yarn; } rope_claim;    // theta 10000 when not said; yarn: its factor, 1: none

// A problem and how its data is to be drawn.
typedef struct {
    heed_problem problem;
    rope_claim rope;
    pad_side pad;
    bool layout_bshd;
    const heed_preset *preset;    // NULL: none named
    uint64_t seed;
} problem_line;

heed_status problem_line_parse(problem_line *, const char *text, heed_error *);
heed_status problem_claim_parse(problem_line *, const char *text, heed_error *);    // the same, where rope may be said
size_t problem_line_print(const problem_line *, char *text, size_t bytes);    // as snprintf
