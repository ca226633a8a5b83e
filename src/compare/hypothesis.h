// SPDX-License-Identifier: Apache-2.0
// What could explain a difference: the rows of hypotheses.def. Each says in which calls it means anything and what of the
// formula it changes; whether a call's inputs could show it is for blindness.h to find out by computing.
#pragma once

#include "compare/variant.h"

enum { HYPOTHESIS_PARAMETERS = 6 };

typedef struct {
    const char *id;          // "causal.none": stable
    const char *aliases;     // ids of the same formula, separated by blanks; "" without
    const char *sentence;    // what the other side computed then
    bool (*applies)(const call *);
    // parameter: one of `parameters` (0 where there are none).
    void (*edit)(const call *, variant *, double parameter);
    double parameters[HYPOTHESIS_PARAMETERS];    // values to try, in order, up to the first 0
} hypothesis;

extern const hypothesis hypotheses[];    // ends with a row without an id
int hypotheses_count(void);
// Can its parameter be fitted, where none of the table's explains, and between which numbers?
bool hypothesis_fits(const hypothesis *, const call *, double *low, double *high);
const hypothesis *hypothesis_find(const char *id);    // by id or alias; NULL: unknown
