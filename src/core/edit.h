// SPDX-License-Identifier: Apache-2.0
// Scores and masks composed: classify a rectangle, edit a tile, and its gradient. Every algorithm reads masks and score
// functions, built-in or the caller's, through these calls only.
#pragma once

#include "heed/heed.h"

typedef struct block_view block_view;    // core/blocks.h

// One sequence of a run: where its rows stand and which keys it has.
typedef struct {
    const heed_problem *problem;
    const heed_args *args;
    int64_t batch;
    int64_t n_key;                      // keys this sequence has (Skv_b)
    int64_t offset;                     // row i stands at position i + offset
    int64_t first_valid, end_valid;     // padding: keys outside are hidden
    block_view *blocks;                   // what is known of masks without intervals; NULL: each pair is asked when needed
} edit_sequence;

edit_sequence edit_begin(const heed_problem *, const heed_args *, int64_t batch);

// Does any score function, slope or bias change scores of this problem (masks apart)?
bool edit_has_scores(const heed_problem *);

// Scores [row0, row0 + rows) x [key0, key0 + keys) of one head of the sequence.
typedef struct { int64_t head, row0, rows, key0, keys; } edit_rect;

// The rect as masks and score functions take it.
heed_rect edit_rect_of(const edit_sequence *, edit_rect);

// By the masks alone: skipped if any mask hides all of it, kept if every mask shows all of it. Keys past n_key are hidden.
heed_rect_class edit_classify(const edit_sequence *, edit_rect);

// Keys that any row of [row0, row0 + rows) can see lie in [*first, *end), as far as intervals tell: bounds for loops.
void edit_key_bounds(const edit_sequence *, int64_t head, int64_t row0, int64_t rows, int64_t *first, int64_t *end);

// For each row r of the rect: its visible keys lie in key0 + [first[r], end[r]), 0 <= first <= end <= keys; by the interval
// masks (causal, window, padding, counts, ...) and the block list. True when nothing else hides keys: the intervals are exact.
bool edit_intervals(const edit_sequence *, edit_rect, int32_t *first, int32_t *end);

// x[r * ld + c] holds scale * q . k (raw). Applies score functions, slopes and bias, then sets every hidden score to
// -INFINITY, whatever it held. With `masked` false the masks are left out (the rect was classified KEEP).
void edit_tile(const edit_sequence *, edit_rect, float *x, int64_t ld, bool masked);

// The chain back through the score functions. dx[r * ld + c] holds d loss / d edited score (0 where hidden) and becomes
// d loss / d raw score; dterm (NULL: not wanted; same ld) gets d loss / d (slope and bias term) of each pair, from which an
// algorithm sums dbias and dslopes. raw: the scores as edit_tile found them.
void edit_tile_backward(const edit_sequence *, edit_rect, const float *raw, float *dx, float *dterm, int64_t ld);

// One pair, in double: the definition, used by ref.
bool edit_visible(const edit_sequence *, int64_t head, int64_t row, int64_t key);
double edit_score(const edit_sequence *, int64_t head, int64_t row, int64_t key, double x);
// d edited / d raw at raw score x; *dterm: d edited / d (slope and bias term), 1 unless those come first.
double edit_slope(const edit_sequence *, int64_t head, int64_t row, int64_t key, double x, double *dterm);

// The bias at a place, 0 without one.
double edit_bias_at(const edit_sequence *, int64_t head, int64_t row, int64_t key);
