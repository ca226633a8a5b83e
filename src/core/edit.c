// SPDX-License-Identifier: Apache-2.0
// Hidden is selected, never multiplied or added: whatever a hidden score held, it becomes -infinity.
#include "core/edit.h"

#include "base/dtype.h"
#include "base/memory.h"
#include "core/blocks.h"

#include <math.h>

edit_sequence edit_begin(const heed_problem *problem, const heed_args *args, int64_t batch) {
    edit_sequence s = {.problem = problem, .args = args, .batch = batch, .n_key = problem->keys};
    const unsigned given = args == NULL ? 0 : problem->with;
    if (given & HEED_KEY_COUNT) s.n_key = args->key_count[batch];
    switch (problem->align) {
    case HEED_BOTTOM_RIGHT: s.offset = s.n_key - problem->queries; break;
    case HEED_TOP_LEFT: s.offset = 0; break;
    case HEED_OFFSET: s.offset = given & HEED_OFFSETS ? args->offsets[batch] : problem->offset; break;
    }
    s.end_valid = s.n_key;
    if (given & HEED_KEY_RANGE) {
        s.first_valid = args->key_range[2 * batch];
        s.end_valid = int64_min(s.n_key, args->key_range[2 * batch + 1]);
    }
    return s;
}

bool edit_has_scores(const heed_problem *p) { return p->score[0].kind != NULL || (p->with & (HEED_SLOPES | HEED_BIAS)) != 0; }

static heed_pos position_of(const edit_sequence *s, int64_t head, int64_t row, int64_t key) {
    return (heed_pos){.batch = s->batch, .head = head, .row = row, .position = row + s->offset, .key = key};
}

heed_rect edit_rect_of(const edit_sequence *s, edit_rect r) {
    return (heed_rect){.first = position_of(s, r.head, r.row0, r.key0), .rows = r.rows, .keys = r.keys};
}

static int n_masks(const heed_problem *p) {
    int n = 0;
    while (n < HEED_EDITS && p->mask[n].kind != NULL) n++;
    return n;
}

static int n_scores(const heed_problem *p) {
    int n = 0;
    while (n < HEED_EDITS && p->score[n].kind != NULL) n++;
    return n;
}

// ---- The arrays ---------------------------------------------------------------------------------------------------

static int64_t grid_at(heed_grid_stride stride, const edit_sequence *s, int64_t head, int64_t row, int64_t key) {
    return s->batch * stride.batch + head * stride.head + row * stride.query + key * stride.key;
}

static bool mask_at(const edit_sequence *s, int64_t head, int64_t row, int64_t key) {
    if (s->args == NULL || !(s->problem->with & HEED_MASK)) return true;
    return s->args->mask[grid_at(s->problem->bool_mask, s, head, row, key)] != 0;
}

double edit_bias_at(const edit_sequence *s, int64_t head, int64_t row, int64_t key) {
    if (s->args == NULL || !(s->problem->with & HEED_BIAS)) return 0;
    return (double)dtype_load(s->problem->bias_dtype, s->args->bias, grid_at(s->problem->bias, s, head, row, key));
}

// The ids of this sequence's keys, NULL without documents.
static const int32_t *documents_of(const edit_sequence *s) {
    if (s->args == NULL || !(s->problem->with & HEED_DOCUMENTS)) return NULL;
    return s->args->documents + s->batch * s->problem->keys;
}

// ---- Masks --------------------------------------------------------------------------------------------------------

// The keys of one row by padding, counts and every mask that knows intervals.
static void interval_of_row(const edit_sequence *s, int64_t head, int64_t row, int64_t *first, int64_t *end) {
    const heed_pos at = position_of(s, head, row, 0);
    *first = s->first_valid;
    *end = s->end_valid;
    for (const heed_mask *mask = s->problem->mask, *stop = mask + n_masks(s->problem); mask < stop; mask++) {
        if (mask->kind->keys_of_row == NULL) continue;
        int64_t mask_first, mask_end;
        mask->kind->keys_of_row(mask, at, &mask_first, &mask_end);
        *first = int64_max(*first, mask_first);
        *end = int64_min(*end, mask_end);
    }
    if (*end < *first) *end = *first;
}

void edit_key_bounds(const edit_sequence *s, int64_t head, int64_t row0, int64_t rows, int64_t *first, int64_t *end) {
    *first = s->n_key;
    *end = 0;
    for (int64_t row = row0; row < row0 + rows; row++) {
        int64_t row_first, row_end;
        interval_of_row(s, head, row, &row_first, &row_end);
        if (row_first == row_end) continue;
        *first = int64_min(*first, row_first);
        *end = int64_max(*end, row_end);
    }
    if (*end < *first) *first = *end;
}

// The tile of the block list in which the rect lies; false without one.
static bool listed_tile(const edit_sequence *s, edit_rect r, block_tile *tile) {
    return s->blocks != NULL && r.rows > 0 && r.keys > 0 && blocks_tile(s->blocks, s, r, tile);
}

static bool no_arrays(const edit_sequence *s) { return s->args == NULL || !(s->problem->with & (HEED_MASK | HEED_DOCUMENTS)); }

// Nothing but intervals hides keys.
static bool only_intervals(const edit_sequence *s) {
    for (const heed_mask *mask = s->problem->mask, *stop = mask + n_masks(s->problem); mask < stop; mask++)
        if (mask->kind->keys_of_row == NULL) return false;
    return no_arrays(s);
}

static void clip(edit_rect r, int64_t first, int64_t end, int32_t *to_first, int32_t *to_end) {
    *to_first = (int32_t)int64_min(r.keys, int64_max(0, first - r.key0));
    *to_end = (int32_t)int64_max(*to_first, int64_min(r.keys, end - r.key0));
}

bool edit_intervals(const edit_sequence *s, edit_rect r, int32_t *first, int32_t *end) {
    block_tile tile;
    if (listed_tile(s, r, &tile) && tile.first != NULL) {
        for (int64_t row = 0, at = r.row0 - tile.row0; row < r.rows; row++, at++)
            clip(r, tile.key0 + tile.first[at], tile.key0 + tile.end[at], &first[row], &end[row]);
        return no_arrays(s);
    }
    for (int64_t row = 0; row < r.rows; row++) {
        int64_t row_first, row_end;
        interval_of_row(s, r.head, r.row0 + row, &row_first, &row_end);
        clip(r, row_first, row_end, &first[row], &end[row]);
    }
    return only_intervals(s);
}

static heed_rect_class worse(heed_rect_class a, heed_rect_class b) { return a < b ? a : b; }

static heed_rect_class classify_intervals(const edit_sequence *s, edit_rect r) {
    bool any = false, all = true;
    for (int64_t row = r.row0; row < r.row0 + r.rows; row++) {
        int64_t first, end;
        interval_of_row(s, r.head, row, &first, &end);
        any |= first < r.key0 + r.keys && end > r.key0 && first < end;
        all &= first <= r.key0 && end >= r.key0 + r.keys;
    }
    return all ? HEED_RECT_KEEP : any ? HEED_RECT_EDIT : HEED_RECT_SKIP;
}

typedef struct { int32_t least, most; } id_range;

static id_range ids_of(const int32_t *id, int64_t n) {
    id_range range = {id[0], id[0]};
    for (int64_t i = 1; i < n; i++) {
        range.least = id[i] < range.least ? id[i] : range.least;
        range.most = id[i] > range.most ? id[i] : range.most;
    }
    return range;
}

// By the ranges of ids: exact for documents that lie in a row, EDIT where ranges merely overlap.
static heed_rect_class classify_documents(const edit_sequence *s, edit_rect r) {
    const int32_t *documents = documents_of(s);
    if (documents == NULL) return HEED_RECT_KEEP;
    const int64_t keys = int64_min(r.keys, s->n_key - r.key0);
    if (keys <= 0) return HEED_RECT_SKIP;
    const id_range row = ids_of(documents + r.row0 + s->offset, r.rows), key = ids_of(documents + r.key0, keys);
    if (row.most < key.least || key.most < row.least) return HEED_RECT_SKIP;
    return row.least == row.most && key.least == key.most ? HEED_RECT_KEEP : HEED_RECT_EDIT;
}

static heed_rect_class classify_mask_array(const edit_sequence *s, edit_rect r) {
    if (s->args == NULL || !(s->problem->with & HEED_MASK)) return HEED_RECT_KEEP;
    const heed_grid_stride stride = s->problem->bool_mask;
    const int64_t rows = stride.query == 0 ? 1 : r.rows, keys = stride.key == 0 ? 1 : int64_min(r.keys, s->n_key - r.key0);
    int64_t shown = 0;
    for (int64_t row = 0; row < rows; row++) {
        const uint8_t *mask = s->args->mask + grid_at(stride, s, r.head, r.row0 + row, r.key0);
        for (int64_t key = 0; key < keys; key++) shown += mask[key * stride.key] != 0;
    }
    return shown == 0 ? HEED_RECT_SKIP : shown == rows * keys ? HEED_RECT_KEEP : HEED_RECT_EDIT;
}

static heed_rect_class classify_masks(const edit_sequence *s, edit_rect r) {
    block_tile tile;
    if (listed_tile(s, r, &tile)) return tile.class;
    heed_rect_class class = classify_intervals(s, r);
    const heed_rect rect = edit_rect_of(s, r);
    for (const heed_mask *mask = s->problem->mask, *stop = mask + n_masks(s->problem); mask < stop; mask++) {
        if (class == HEED_RECT_SKIP) return class;
        if (mask->kind->classify != NULL) class = worse(class, mask->kind->classify(mask, &rect));
        else if (mask->kind->keys_of_row == NULL) class = worse(class, HEED_RECT_EDIT);
    }
    return class;
}

heed_rect_class edit_classify(const edit_sequence *s, edit_rect r) {
    heed_rect_class class = classify_masks(s, r);
    if (class != HEED_RECT_SKIP) class = worse(class, classify_documents(s, r));
    if (class != HEED_RECT_SKIP) class = worse(class, classify_mask_array(s, r));
    return class;
}

// ---- Editing a tile -----------------------------------------------------------------------------------------------

static void apply_score(const edit_sequence *s, const heed_score *score, edit_rect r, float *x, int64_t ld) {
    const heed_rect rect = edit_rect_of(s, r);
    if (score->kind->tile != NULL) {
        score->kind->tile(score, &rect, x, ld);
        return;
    }
    for (int64_t row = 0; row < r.rows; row++)
        for (int64_t key = 0; key < r.keys; key++)
            x[row * ld + key] =
                (float)score->kind->value(score, position_of(s, r.head, r.row0 + row, r.key0 + key), (double)x[row * ld + key]);
}

static void add_slopes(const edit_sequence *s, edit_rect r, float *x, int64_t ld) {
    const float slope = s->args->slopes[r.head];
    for (int64_t row = 0; row < r.rows; row++) {
        const int64_t distance = r.key0 - (r.row0 + row + s->offset);
        for (int64_t key = 0; key < r.keys; key++) x[row * ld + key] += slope * (float)(distance + key);
    }
}

// A bias of -infinity hides its key: selected, since adding it to a NaN would not.
static inline float add_or_hide(float x, float bias) { return bias == -INFINITY ? -INFINITY : x + bias; }

static void add_bias(const edit_sequence *s, edit_rect r, float *x, int64_t ld) {
    const heed_grid_stride stride = s->problem->bias;
    const int64_t keys = int64_min(r.keys, s->n_key - r.key0);
    for (int64_t row = 0; row < r.rows; row++) {
        const int64_t at = grid_at(stride, s, r.head, r.row0 + row, r.key0);
        float *scores = x + row * ld;
        if (s->problem->bias_dtype == HEED_F32) {
            const float *bias = (const float *)s->args->bias + at;
            for (int64_t key = 0; key < keys; key++) scores[key] = add_or_hide(scores[key], bias[key * stride.key]);
        } else {
            for (int64_t key = 0; key < keys; key++)
                scores[key] = add_or_hide(scores[key], dtype_load(s->problem->bias_dtype, s->args->bias, at + key * stride.key));
        }
    }
}

// A score function after the bias may have made its -infinity finite again (a softcap does): those keys stay hidden.
static void hide_by_bias(const edit_sequence *s, edit_rect r, float *x, int64_t ld) {
    const int64_t keys = int64_min(r.keys, s->n_key - r.key0);
    for (int64_t row = 0; row < r.rows; row++)
        for (int64_t key = 0; key < keys; key++)
            if (edit_bias_at(s, r.head, r.row0 + row, r.key0 + key) == -INFINITY) x[row * ld + key] = -INFINITY;
}

static void add_terms(const edit_sequence *s, edit_rect r, float *x, int64_t ld) {
    if (s->problem->with & HEED_SLOPES) add_slopes(s, r, x, ld);
    if (s->problem->with & HEED_BIAS) add_bias(s, r, x, ld);
}

// Hides in one row of a listed tile what the list says; x begins at key0.
static void hide_by_tile(const block_tile *tile, int64_t row, int64_t key0, int64_t first, int64_t end, float *x) {
    const int64_t at = row - tile->row0, from = key0 - tile->key0;
    for (int64_t key = first; key < end; key++) {
        bool visible = tile->class == HEED_RECT_KEEP;
        if (tile->first != NULL) visible = from + key >= tile->first[at] && from + key < tile->end[at];
        else if (tile->bits != NULL) visible = tile->bits[at * tile->row_bytes + (from + key) / 8] >> (from + key) % 8 & 1;
        x[key] = visible ? x[key] : -INFINITY;
    }
}

static void hide_by_masks(const edit_sequence *s, edit_rect r, int64_t row, int64_t first, int64_t end, float *x) {
    for (const heed_mask *mask = s->problem->mask, *stop = mask + n_masks(s->problem); mask < stop; mask++) {
        if (mask->kind->keys_of_row != NULL) continue;
        for (int64_t key = first; key < end; key++)
            if (!mask->kind->visible(mask, position_of(s, r.head, row, r.key0 + key))) x[key] = -INFINITY;
    }
}

// Hides in one row, whose interval is [first, end) of the rect, what documents and the mask array hide.
static void hide_by_arrays(const edit_sequence *s, edit_rect r, int64_t row, int64_t first, int64_t end, float *x) {
    const int32_t *documents = documents_of(s);
    if (documents != NULL) {
        const int32_t id = documents[row + s->offset];
        for (int64_t key = first; key < end; key++) x[key] = documents[r.key0 + key] == id ? x[key] : -INFINITY;
    }
    if (s->args != NULL && s->problem->with & HEED_MASK) {
        const int64_t step = s->problem->bool_mask.key;
        const uint8_t *mask = s->args->mask + grid_at(s->problem->bool_mask, s, r.head, row, r.key0);
        for (int64_t key = first; key < end; key++) x[key] = mask[key * step] ? x[key] : -INFINITY;
    }
}

void edit_tile(const edit_sequence *s, edit_rect r, float *x, int64_t ld, bool masked) {
    const bool bias_first = s->problem->with & HEED_BIAS_FIRST;
    if (bias_first) add_terms(s, r, x, ld);
    for (int i = 0; i < n_scores(s->problem); i++) apply_score(s, &s->problem->score[i], r, x, ld);
    if (!bias_first) add_terms(s, r, x, ld);
    else if (s->problem->with & HEED_BIAS && n_scores(s->problem) > 0) hide_by_bias(s, r, x, ld);
    if (!masked) return;
    const bool exact = only_intervals(s);
    block_tile tile;
    const bool listed = !exact && listed_tile(s, r, &tile);
    for (int64_t row = 0; row < r.rows; row++) {
        int64_t first, end;
        interval_of_row(s, r.head, r.row0 + row, &first, &end);
        first = int64_min(r.keys, int64_max(0, first - r.key0));
        end = int64_max(first, int64_min(r.keys, end - r.key0));
        float *scores = x + row * ld;
        for (int64_t key = 0; key < first; key++) scores[key] = -INFINITY;
        for (int64_t key = end; key < r.keys; key++) scores[key] = -INFINITY;
        if (exact) continue;
        hide_by_arrays(s, r, r.row0 + row, first, end, scores);
        if (listed) hide_by_tile(&tile, r.row0 + row, r.key0, first, end, scores);
        else hide_by_masks(s, r, r.row0 + row, first, end, scores);
    }
}

void edit_tile_backward(const edit_sequence *s, edit_rect r, const float *raw, float *dx, float *dterm, int64_t ld) {
    for (int64_t row = 0; row < r.rows; row++)
        for (int64_t key = 0; key < r.keys; key++) {
            float *d = dx + row * ld + key;
            double slope = 1, slope_of_term = 1;
            if (s->problem->score[0].kind != NULL && *d != 0)
                slope = edit_slope(s, r.head, r.row0 + row, r.key0 + key, (double)raw[row * ld + key], &slope_of_term);
            if (dterm != NULL) dterm[row * ld + key] = (float)(slope_of_term * (double)*d);
            *d = (float)(slope * (double)*d);
        }
}

// ---- The definition, pair by pair ---------------------------------------------------------------------------------

bool edit_visible(const edit_sequence *s, int64_t head, int64_t row, int64_t key) {
    if (key < s->first_valid || key >= s->end_valid) return false;
    const heed_pos at = position_of(s, head, row, key);
    for (const heed_mask *mask = s->problem->mask, *stop = mask + n_masks(s->problem); mask < stop; mask++)
        if (!mask->kind->visible(mask, at)) return false;
    const int32_t *documents = documents_of(s);
    if (documents != NULL && documents[at.position] != documents[key]) return false;
    return mask_at(s, head, row, key);
}

static double term_at(const edit_sequence *s, int64_t head, int64_t row, int64_t key) {
    double term = edit_bias_at(s, head, row, key);
    if (s->args != NULL && s->problem->with & HEED_SLOPES)
        term += (double)s->args->slopes[head] * (double)(key - (row + s->offset));
    return term;
}

double edit_score(const edit_sequence *s, int64_t head, int64_t row, int64_t key, double x) {
    const bool bias_first = s->problem->with & HEED_BIAS_FIRST;
    if (edit_bias_at(s, head, row, key) == -INFINITY) return -INFINITY;    // hidden, whatever x and the score functions are
    const double term = term_at(s, head, row, key);
    if (bias_first) x += term;
    for (int i = 0; i < n_scores(s->problem); i++) {
        const heed_score *score = &s->problem->score[i];
        x = score->kind->value(score, position_of(s, head, row, key), x);
    }
    return bias_first ? x : x + term;
}

double edit_slope(const edit_sequence *s, int64_t head, int64_t row, int64_t key, double x, double *dterm) {
    const bool bias_first = s->problem->with & HEED_BIAS_FIRST;
    if (bias_first) x += term_at(s, head, row, key);
    double slope = 1;
    for (int i = 0; i < n_scores(s->problem); i++) {
        const heed_score *score = &s->problem->score[i];
        const heed_pos at = position_of(s, head, row, key);
        slope *= score->kind->slope(score, at, x);
        x = score->kind->value(score, at, x);
    }
    *dterm = bias_first ? slope : 1;
    return slope;
}
