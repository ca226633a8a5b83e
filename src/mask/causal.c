// SPDX-License-Identifier: Apache-2.0
#include "heed/heed.h"

extern const heed_mask_kind mask_causal;

static bool visible(const heed_mask *mask, heed_pos at) { return at.key <= at.position; }

static heed_rect_class classify(const heed_mask *mask, const heed_rect *rect) {
    const int64_t last_key = rect->first.key + rect->keys - 1, last_position = rect->first.position + rect->rows - 1;
    if (rect->first.key > last_position) return HEED_RECT_SKIP;
    return last_key <= rect->first.position ? HEED_RECT_KEEP : HEED_RECT_EDIT;
}

static void keys_of_row(const heed_mask *mask, heed_pos at, int64_t *first, int64_t *end) {
    *first = INT64_MIN;
    *end = at.position + 1;
}

const heed_mask_kind mask_causal = {"causal", visible, classify, keys_of_row,
                                    HEED_AXIS_QUERY | HEED_AXIS_KEY};

heed_mask heed_causal(void) { return (heed_mask){.kind = &mask_causal}; }
