// SPDX-License-Identifier: Apache-2.0
// The seam between algorithms and instruction sets: one table per row of isa.def, whose functions know tiles and nothing
// of attention. Each is defined by the plain loop it equals; no pointer of a table is ever NULL.
#pragma once

#include "base/dropout.h"
#include "base/error.h"
#include "cpu/pointwise.h"
#include "heed/heed.h"

// ---- Products -----------------------------------------------------------------------------------------------------

// Everything an algorithm multiplies is c[m][n] (+)= a[m][k] * b[k][n]: a is plain rows of the operand type, b was packed by
// the same table, sums are f32. Storage types (f32, bf16, f16) become operands when they are packed.
// A packed b is a row of panels of `cols` columns; panel j / cols holds its k rows one after another, zero-padded to `cols`.
typedef struct {
    heed_dtype type;            // of operands
    int rows, cols, depth;      // the block of the product: any m, n, k is served, multiples of these cost least
    size_t (*b_bytes)(int64_t k, int64_t n);

    // b[t][j] = src[t * ld + j]. False: some of the k rows hold NaN or Inf; those were packed as zeros.
    // b_rows: rows of the whole packed b, when this call fills some of them (b from product_at).
    bool (*pack_b)(void *b, int64_t b_rows, int64_t k, int64_t n, heed_dtype, const void *src, int64_t ld);
    // b[t][j] = src[j * ld + t]. A column never touches another one in a product, so NaN and Inf are packed as they are.
    void (*pack_bt)(void *b, int64_t k, int64_t n, heed_dtype, const void *src, int64_t ld);
    // a[i * lda + t] = factor * src[i * ld + t].
    void (*rows_of)(void *a, int64_t m, int64_t k, int64_t lda, heed_dtype, const void *src, int64_t ld, float factor);

    // c[i][j] (+)= sum over t of a[i][t] * b[t][j], t ascending. c overlaps nothing; with `add` sums begin with c.
    void (*mm)(int64_t m, int64_t n, int64_t k, const void *a, int64_t lda, const void *b, int64_t b_rows, float *c, int64_t ldc,
               bool add);
    // The same with a stored transposed: c[i][j] (+)= sum over t of a[t][i] * b[t][j].
    void (*mm_t)(int64_t m, int64_t n, int64_t k, const void *a, int64_t lda, const void *b, int64_t b_rows, float *c,
                 int64_t ldc, bool add);

    // Folds a tile of scores s[m][n] into running softmaxes, row by row, over columns first[r] <= j < end[r] (NULL: all n):
    //   big = max(max[r], max over j of s[j]);  s[j] = exp(s[j] - big), as operands in place;  shrink = exp(max[r] - big)
    //   sum[r] = sum[r] * shrink + sum over j of s[j];  o[r][0..n_o) *= shrink;  max[r] = big
    // Columns outside and scores of -inf become exactly 0, whatever the tile held. Before the first tile: max -inf, sum 0.
    // A row whose scores are all -inf keeps its state. NaN makes sum NaN. May keep an older, smaller max[r] as long as
    // nothing overflows: only max[r] + ln(sum[r]) and o[r] / sum[r] have a meaning.
    void (*softmax)(int64_t m, int64_t n, float *s, int64_t ld, const int32_t *first, const int32_t *end, float *max, float *sum,
                    float *o, int64_t ldo, int64_t n_o);
    // s[j] = p = exp(s[j] - lse[r]);  ds[j] = p * (ds[j] - delta[r]), as operands in place. Outside and for -inf both are
    // exactly 0.   forward: w = exp(x - lse), out = w . v   so: dx = w * (dw - out . dout)
    void (*softmax_grad)(int64_t m, int64_t n, float *s, int64_t lds, float *ds, int64_t ldd, const int32_t *first,
                         const int32_t *end, const float *lse, const float *delta);
    // = mm(m, n, k, a, lda, b, b_rows, s, ld, false), then softmax(m, n, s, ld, ...): a set whose matrix and vector units
    // work side by side interleaves them.
    void (*mm_softmax)(int64_t m, int64_t n, int64_t k, const void *a, int64_t lda, const void *b, int64_t b_rows, float *s,
                       int64_t ld, const int32_t *first, const int32_t *end, float *max, float *sum, float *o, int64_t ldo,
                       int64_t n_o);
} cpu_product;

// Row t, column j of a packed b; j is a multiple of cols, t of depth.
static inline void *product_at(const cpu_product *p, const void *b, int64_t b_rows, int64_t t, int64_t j) {
    const size_t bytes = p->type == HEED_BF16 ? 2 : 4;
    return (char *)(uintptr_t)b + (size_t)((j / p->cols * b_rows + t) * p->cols) * bytes;
}

// ---- The table ----------------------------------------------------------------------------------------------------

typedef struct cpu_kernels {
    const char *name;                        // "avx512"
    void (*enter)(void), (*leave)(void);     // around each worker's share of a run (matrix sets configure tiles there)
    cpu_product f32, bf16;                   // bf16: the same as f32 where multiplying bf16 is not faster

    // Rows between storage and f32: to[r][j] = from[r][j] (* factor[r], unless NULL), rounded once.
    void (*rows_to)(int64_t m, int64_t n, heed_dtype, void *to, int64_t ld, const float *from, int64_t ldf, const float *factor);
    // y[r] = sum over j of a[r][j] * b[r][j].
    void (*row_dots)(int64_t m, int64_t n, heed_dtype, const void *a, int64_t lda, const void *b, int64_t ldb, float *y);
    // y[r] = sum over j of w[r][j] * x[j]: a matrix as it lies, times a vector.
    void (*dot_rows)(int64_t m, int64_t n, heed_dtype, const void *w, int64_t ldw, const float *x, float *y);
    // y[j] += sum over r of x[r] * w[r][j], leaving out rows whose x is 0, whatever they hold.
    void (*add_rows)(int64_t m, int64_t n, heed_dtype, const void *w, int64_t ldw, const float *x, float *y);
    // x[r][j] *= dropout_factor(d, row + r, key + j); key is a multiple of 4.
    void (*dropout)(int64_t m, int64_t n, float *x, int64_t ld, const dropout *d, int64_t row, int64_t key);
    void (*add)(int64_t n, float *y, const float *x);    // y[j] += x[j]
    void (*exp)(int64_t n, float *y, const float *x);    // y[j] = e^x[j]
    void (*tanh)(int64_t n, float *y, const float *x);   // y[j] = tanh(x[j])

    cpu_pointwise pointwise;                 // what layers need besides products
} cpu_kernels;

// ---- The choice ---------------------------------------------------------------------------------------------------

// The named table, else the one HEED_CPU names, else the last row of isa.def that this CPU can run. A name that is unknown
// or cannot run here: NULL and a sentence that lists what can.
const cpu_kernels *cpu_kernels_best(const char *name, heed_error *);

// Row i of isa.def, NULL past the last. *table: NULL when it is not built for this processor or this CPU cannot run it.
const char *cpu_kernels_row(int i, const cpu_kernels **table);
