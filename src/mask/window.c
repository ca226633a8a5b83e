// SPDX-License-Identifier: Apache-2.0
// i[0] keys to the left besides self, i[1] to the right; -1: open. Beltagy et al. 2020 (Longformer), section 3.1.
#include "heed/heed.h"

extern const heed_mask_kind mask_window;

static void keys_of_row(const heed_mask *mask, heed_pos at, int64_t *first, int64_t *end) {
    *first = mask->i[0] < 0 ? INT64_MIN : at.position - mask->i[0];
    *end = mask->i[1] < 0 ? INT64_MAX : at.position + mask->i[1] + 1;
}

static bool visible(const heed_mask *mask, heed_pos at) {
    int64_t first, end;
    keys_of_row(mask, at, &first, &end);
    return first <= at.key && at.key < end;
}

static heed_rect_class classify(const heed_mask *mask, const heed_rect *rect) {
    heed_pos last = rect->first;
    last.position += rect->rows - 1;
    int64_t first_of_top, end_of_top, first_of_bottom, end_of_bottom;
    keys_of_row(mask, rect->first, &first_of_top, &end_of_top);
    keys_of_row(mask, last, &first_of_bottom, &end_of_bottom);
    const int64_t key = rect->first.key, key_end = key + rect->keys;
    if (key_end <= first_of_top || key >= end_of_bottom) return HEED_RECT_SKIP;
    return key >= first_of_bottom && key_end <= end_of_top ? HEED_RECT_KEEP : HEED_RECT_EDIT;
}

const heed_mask_kind mask_window = {"window", visible, classify, keys_of_row,
                                    HEED_AXIS_QUERY | HEED_AXIS_KEY};

heed_mask heed_window(int64_t left, int64_t right) { return (heed_mask){.kind = &mask_window, .i = {left, right}}; }
