// SPDX-License-Identifier: Apache-2.0
// Where a result departs from its claim: heads, rows, keys, and the pattern they make.
#pragma once

#include "compare/search.h"

enum { WHERE_MOST = 64 };

typedef struct {
    int64_t head[WHERE_MOST], row[WHERE_MOST], key[WHERE_MOST];    // the first of each, ascending
    int n_heads, n_rows, n_keys;
    int64_t bad_rows, rows;      // rows of a head that depart, of all
    char pattern[160];           // "" where there is none
} where;

// by: predictions of the claim for all rows (list); explained: the formula that was found, whose keys are then told (NULL: none).
heed_status where_find(where *, const predictor *, const prediction *claim, const row_list *all, const observed *,
                       const residual *correct, const variant *explained, heed_error *);
