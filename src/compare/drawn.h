// SPDX-License-Identifier: Apache-2.0
// A problem with memory: every array its text names, drawn from a seed; and problem texts drawn at random.
#pragma once

#include "base/random.h"
#include "core/problem_text.h"

enum { DRAWN_BLOCKS = 24 };

typedef struct {
    problem_line line;
    heed_problem problem;       // complete
    heed_args args;             // inputs drawn; outputs allocated, filled with a NaN no computation makes, guarded on both sides
    void *block[DRAWN_BLOCKS];
    size_t bytes[DRAWN_BLOCKS];    // between the guards
    int blocks;
} drawn;

// Draws from line->seed. Free with drawn_free, also after a failure.
heed_status drawn_make(drawn *, const problem_line *line, heed_error *);
void drawn_free(drawn *);

// Puts NaN and infinities wherever no visible pair touches: padding and unused rows of k and v, rows of q and dout that see
// nothing, hidden entries of a full bias. Nothing finite may change (docs/contract.md, "poison safety").
void drawn_poison(drawn *);

// Fills every output with the sentinel again. drawn_guards_whole: did anybody write outside of an array?
void drawn_reset_outputs(drawn *);
bool drawn_guards_whole(const drawn *);

// A valid problem text, at most `size` queries and keys, from a stream.
void drawn_random_text(random_stream *, int64_t size, char *text, size_t bytes);
