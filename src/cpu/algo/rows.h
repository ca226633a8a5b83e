// SPDX-License-Identifier: Apache-2.0
// What every algorithm does with a row outside of its tiles: the sink, rows that see nothing, lse, D = dout . out.
#pragma once

#include "core/impl.h"
#include "cpu/kernels.h"

// m rows of one head from row0 on, after their last tile: o holds sums weighted by exp(x - max), whose total is sum. Writes
// out and lse. factor: scratch of m floats; mean: scratch of value_channels doubles.
typedef struct { float *o; int64_t ldo; float *max, *sum, *factor; double *mean; } rows_state;
void rows_finish(const heed_plan *, const heed_args *, const edit_sequence *, int64_t head, int64_t row0, int64_t m,
                 const rows_state *);

// delta[r] = dout . out of m rows of one head; 0 for rows that see nothing, whatever dout holds there.
void rows_delta(const heed_plan *, const heed_args *, const edit_sequence *, int64_t head, int64_t row0, int64_t m, float *delta);

// dsinks[head] = - sum over sequences and rows of exp(sink - lse) * delta, in that order. delta: scratch of ROWS_CHUNK floats.
enum { ROWS_CHUNK = 64 };
void rows_dsink(const heed_plan *, const heed_args *, int64_t head, float *delta);

// Stores rows [row0, row0 + rows) of dq from their sums (channels apart), times scale; at most ROWS_CHUNK. An empty row under
// `nan` becomes NaN. factor: scratch of ROWS_CHUNK floats.
void rows_store_dq(const heed_plan *, const heed_args *, const edit_sequence *, int64_t head, int64_t row0, int64_t rows,
                   const float *dq, float *factor);

// Stores keys [key0, key0 + keys) of dk and dv from their sums, after adding to dv what empty rows give under the means.
// nan: rows_nan_group, whether kv head g has an empty row under `nan`, which makes all its dk and dv NaN.
void rows_store_dkv(const heed_plan *, const heed_args *, const edit_sequence *, int64_t g, int64_t key0, int64_t keys, bool nan,
                    const float *dk, float *dv);
bool rows_nan_group(const heed_plan *, const heed_args *, const edit_sequence *, int64_t g);
