// SPDX-License-Identifier: Apache-2.0
// One line that names a problem: docs/contract.md, "Problem text".
#pragma once

#include "heed/heed.h"

typedef enum { PAD_NONE, PAD_LEFT, PAD_RIGHT } pad_side;

// A problem and how its data is to be drawn.
typedef struct {
    heed_problem problem;
    pad_side pad;
    bool layout_bshd;
    const heed_preset *preset;    // NULL: none named
    uint64_t seed;
} problem_line;

heed_status problem_line_parse(problem_line *, const char *text, heed_error *);
size_t problem_line_print(const problem_line *, char *text, size_t bytes);    // as snprintf
