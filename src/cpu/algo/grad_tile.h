// SPDX-License-Identifier: Apache-2.0
// Backward's view of a tile: weights and the gradient of the raw scores, recomputed from q, k and lse.
//
//     forward: x = edits(scale q . k), w = exp(x - lse), out = w . v
//     so:      dw = dout . v^T,  dx = w * (dw - D),  draw = dx * slope of the edits       (D = dout . out)
#pragma once

#include "cpu/algo/packed.h"

// Rows of one head against the keys of one tile. The first group is set once by grad_tile_begin, and owns the memory.
typedef struct {
    const heed_plan *plan;
    const heed_args *args;
    int64_t most_rows, ld;        // rows at once; row length of p, ds, raw, dterm, seen
    float *q, *dout, *p, *ds, *raw, *dterm;    // q: scaled rows. raw, dterm: NULL where the problem needs none
    float *q_packed, *dout_packed;
    float *row;                   // scratch of bad_rows
    int32_t *first, *end;
    uint8_t *seen;

    edit_sequence s;              // the rows at hand, by grad_tile_rows
    int64_t head, g, row0, rows;
    const float *lse, *delta;
    bool bad_q, bad_dout, bad_k;  // rows with NaN or Inf, left out of products and mended pair by pair
    int64_t key, n;               // the columns at hand, by grad_tile_compute
} grad_tile;

// Memory for `rows` rows x `keys` keys; at NULL: only counts. Returns bytes.
size_t grad_tile_begin(grad_tile *, const heed_plan *, const heed_args *, int64_t rows, int64_t keys, void *at);

// Takes up rows [row0, row0 + rows) of a head; delta: their D.
void grad_tile_rows(grad_tile *, const edit_sequence *, int64_t head, int64_t row0, int64_t rows, const float *delta);

// Against keys [key0, key0 + keys): p gets the weights (as dropout leaves them), ds the gradient of the raw scores, dterm (where
// there is one) that of slopes and bias, in rows x n columns that stand for keys `key` and on: no others are visible. Hidden
// pairs are 0.
// k_turned, v_turned: packed, from key0 on. class: edit_classify's, not SKIP. False: nothing is visible.
bool grad_tile_compute(grad_tile *, heed_rect_class class, const float *k_turned, const float *v_turned, int64_t key0, int64_t keys,
                       bool bad_k);

// dv += p^T dout, dk += ds^T (scale q): sums of keys from key0 on.  dq (+)= ds k: sums of the rows at hand, still to be scaled.
void grad_tile_add(const grad_tile *, const packed_head *, int64_t key0, float *dk, float *dv, float *dq);

// Sum over the tile of dterm * (key - position), in a fixed order.
double grad_tile_slope(const grad_tile *);
