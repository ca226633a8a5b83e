// SPDX-License-Identifier: Apache-2.0
// The first i[0] keys are visible to every row, later ones causally. Raffel et al. 2020 (T5), section 3.2.1 ("prefix LM").
#include "heed/heed.h"

extern const heed_mask_kind mask_prefix;

static void keys_of_row(const heed_mask *mask, heed_pos at, int64_t *first, int64_t *end) {
    *first = INT64_MIN;
    *end = at.position + 1 > mask->i[0] ? at.position + 1 : mask->i[0];
}

static bool visible(const heed_mask *mask, heed_pos at) { return at.key < mask->i[0] || at.key <= at.position; }

static heed_rect_class classify(const heed_mask *mask, const heed_rect *rect) {
    heed_pos last = rect->first;
    last.position += rect->rows - 1;
    int64_t first, end_of_top, end_of_bottom;
    keys_of_row(mask, rect->first, &first, &end_of_top);
    keys_of_row(mask, last, &first, &end_of_bottom);
    if (rect->first.key >= end_of_bottom) return HEED_RECT_SKIP;
    return rect->first.key + rect->keys <= end_of_top ? HEED_RECT_KEEP : HEED_RECT_EDIT;
}

const heed_mask_kind mask_prefix = {"prefix", visible, classify, keys_of_row,
                                    HEED_AXIS_QUERY | HEED_AXIS_KEY};

heed_mask heed_prefix(int64_t n) { return (heed_mask){.kind = &mask_prefix, .i = {n}}; }
