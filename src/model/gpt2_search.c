// SPDX-License-Identifier: Apache-2.0
#include "model/gpt2_search.h"

#include "base/dtype.h"

#include <math.h>

static bool sees_a_key(const model_batch *b, int64_t row, int64_t position) {
    const int64_t first = b->key_range == NULL ? 0 : b->key_range[2 * row];
    const int64_t end = b->key_range == NULL ? b->length : b->key_range[2 * row + 1];
    for (int64_t key = first; key <= position && key < end; key++) {
        const int32_t *document = b->document == NULL ? NULL : b->document + row * b->length;
        if (document == NULL || document[key] == document[position]) return true;
    }
    return false;
}

void gpt2_search_note(const gpt2_search *s, int64_t layer, const char *operation, bool backward, int64_t token, double value) {
    const int64_t row = token / s->batch->length, position = token % s->batch->length;
    *s->origin = (nan_origin){.found = true, .backward = backward, .layer = layer, .operation = operation, .row = row,
                              .position = position, .value = value, .no_visible_key = !sees_a_key(s->batch, row, position)};
}

bool gpt2_search_in(const gpt2_search *s, int64_t layer, const char *operation, bool backward, heed_dtype type, const void *x,
                    int64_t width) {
    if (s->origin == NULL) return false;
    const int64_t n = s->batch->rows * s->batch->length * width;
    for (int64_t i = 0; i < n; i++) {
        const float value = dtype_load(type, x, i);
        if (isfinite(value)) continue;
        gpt2_search_note(s, layer, operation, backward, i / width, (double)value);
        return true;
    }
    return false;
}
