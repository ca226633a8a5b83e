// SPDX-License-Identifier: Apache-2.0
// The keys and values of a kv head, packed once for all query tiles and all heads of its group.
#pragma once

#include "core/impl.h"
#include "cpu/kernels.h"

// Keys of a tile. Tiles begin at its multiples, so that what a row computes does not depend on where other rows begin.
// 256: a score tile of a few dozen rows stays near, and the running softmax costs little beside the products.
enum { TILE_KEYS = 256 };

typedef struct {
    float *k_turned;    // b of Q K^T: channels x keys
    float *v;           // b of P V: keys x value channels (forward)
    float *v_turned;    // b of dO V^T: value channels x keys (backward)
    float *k;           // b of dS K: keys x channels (backward)
    // One byte a tile: does it hold rows with NaN or Inf? Those are zeros in v and k. In the turned arrays they are whole,
    // since a column touches no other one.
    uint8_t *bad_k, *bad_v;
    int64_t rows;       // b_rows of v and k
} packed_head;

size_t packed_bytes(const heed_problem *, const cpu_product *);
packed_head packed_at(const heed_problem *, const cpu_product *, void *at);    // lays the arrays out from `at` on
// Fills a tile from sequence b, kv head g, which has n_key keys.
void packed_fill(packed_head *, const heed_problem *, const heed_args *, const cpu_product *, int64_t b, int64_t g, int64_t n_key,
                 int64_t tile);

// All kv heads of all sequences, one after another at the beginning of the workspace: where one lies, and packing them all.
packed_head packed_shared(const heed_plan *, const heed_args *, int64_t b, int64_t g);
void packed_fill_all(const heed_plan *, const heed_args *);

// What a product left out where rows of its b held NaN or Inf: for each seen pair of such a row r of src
//   c[i] += weight[i][r] * factor * src[r]        turned: weight, seen are m x keys and src has m rows: c[j] += weight[r][j] * ..
// The bits of all other rows of c stay what they were. row: scratch of n floats.
typedef struct {
    heed_dtype type;
    const void *src;
    int64_t ld, n;
    float factor;
    float *row;
} bad_rows;
void packed_mend(const bad_rows *, bool turned, int64_t m, int64_t keys, const float *weight, int64_t ld, const uint8_t *seen,
                 int64_t ld_seen, float *c, int64_t ldc);

// seen[i][j]: first[i] <= j < end[i] (NULL: all) and s[i][j] is not -inf.
void packed_mark_seen(int64_t m, int64_t keys, const float *s, int64_t ld, const int32_t *first, const int32_t *end,
                      uint8_t *seen, int64_t ld_seen);
