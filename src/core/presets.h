// SPDX-License-Identifier: Apache-2.0
// Foreign conventions by name: values for fields of the problem. Implementations know none of them.
#pragma once

#include "heed/heed.h"

typedef struct {
    const char *name;
    bool sets_align;          // false: the convention passes a mask, so that the caller's own align stands
    heed_align align;
    heed_empty empty_row;
    bool refuses_mask_with_causal;
    const char *documented;   // not NULL: known, but not built: nothing here could check it against its own system
    const char *note;
} preset;

extern const preset presets[];    // ends with a row without a name
const preset *preset_named(const char *name);    // NULL when there is none
// After masks and arrays are known: does the problem mean anything in this convention?
heed_status preset_check(const preset *, const heed_problem *, heed_error *);
