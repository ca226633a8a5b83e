// SPDX-License-Identifier: Apache-2.0
// The rows of masks.def and scores.def as tables; registry.c defines them.
#pragma once

#include "heed/heed.h"

typedef struct { const char *name; const heed_mask_kind *kind; int least, most; int64_t lowest; const char *examples; } mask_row;
typedef struct { const char *name; const heed_score_kind *kind; int least, most; const char *examples; } score_row;

extern const mask_row mask_rows[];      // end with a row without a name
extern const score_row score_rows[];

static inline const mask_row *mask_row_of(const heed_mask_kind *kind) {
    for (const mask_row *row = mask_rows; row->name != NULL; row++)
        if (row->kind == kind) return row;
    return NULL;    // the caller's own
}
static inline const score_row *score_row_of(const heed_score_kind *kind) {
    for (const score_row *row = score_rows; row->name != NULL; row++)
        if (row->kind == kind) return row;
    return NULL;
}
