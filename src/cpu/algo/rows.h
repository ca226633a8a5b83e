// SPDX-License-Identifier: Apache-2.0
// What every algorithm does with a row outside of its tiles: the sink, rows that see nothing, lse, D = dout . out.
#pragma once

#include "core/impl.h"
#include "cpu/kernels.h"

// The limits all algorithms of this backend share.
heed_refusal rows_refuse(const heed_problem *);

// m rows of one head from row0 on, after their last tile: o holds sums weighted by exp(x - max), whose total is sum. Writes
// out and lse. factor: scratch of m floats; mean: scratch of value_channels doubles.
typedef struct { float *o; int64_t ldo; float *max, *sum, *factor; double *mean; } rows_state;
void rows_finish(const heed_plan *, const heed_args *, const edit_sequence *, int64_t head, int64_t row0, int64_t m,
                 const rows_state *);

// Is there no key that this row sees (sinks apart)? Exact; slow only where lse does not tell. Backward.
bool rows_empty(const heed_plan *, const heed_args *, const edit_sequence *, int64_t head, int64_t row);

// delta[r] = dout . out of m rows of one head; 0 for rows that see nothing, whatever dout holds there.
void rows_delta(const heed_plan *, const heed_args *, const edit_sequence *, int64_t head, int64_t row0, int64_t m, float *delta);

// dsinks[head] = - sum over sequences and rows of exp(sink - lse) * delta, in that order. delta: scratch of ROWS_CHUNK floats.
enum { ROWS_CHUNK = 64 };
void rows_dsink(const heed_plan *, const heed_args *, int64_t head, float *delta);

// The gradient of rows that see nothing. Means: adds dout / n of the group's empty rows to dv[0..end - key0), the sums of keys
// [key0, end). nan: true when kv head g has such a row, so that all its dk and dv become NaN, and so does that row of dq.
void rows_mean_dv(const heed_plan *, const heed_args *, const edit_sequence *, int64_t g, int64_t key0, int64_t end, float *dv,
                  int64_t ld);
bool rows_nan_group(const heed_plan *, const heed_args *, const edit_sequence *, int64_t g);
bool rows_nan(const heed_plan *, const heed_args *, const edit_sequence *, int64_t head, int64_t row);
// n channels of m rows become NaN.
void rows_fill_nan(heed_dtype, void *to, int64_t ld, int64_t m, int64_t n);
