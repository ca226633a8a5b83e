// SPDX-License-Identifier: Apache-2.0
// The products of linear layers, by oneDNN where it was found at build time, else by heed's own tiles (nn/matmul_own.c).
#pragma once

#include "heed/heed.h"
#include "nn/engine.h"

// A plain matrix of f32 (type 0 too) or bf16, row-major with row length ld; transposed: element (i, j) is at data[j * ld + i].
typedef struct { const void *data; int64_t ld; bool transposed; heed_dtype type; } matrix;

// c[m][n] = a[m][k] * b[k][n], with f32 sums. a and b have one type; c is plain rows of length ldc, f32, or also bf16 where
// a and b are; it overlaps nothing.
typedef struct {
    int64_t m, n, k;
    matrix a, b;
    void *c;
    int64_t ldc;
    heed_dtype c_type;
    const float *bias;    // added to each row; NULL: none
    bool add;             // to what c holds; not together with bias, nor to bf16
} multiplication;

void matmul(const engine *, const multiplication *);

const char *matmul_provider(void);    // "oneDNN 2.6.3" or "heed's own tiles"

// What matmul keeps between calls, for engine_create and engine_destroy: scratch of each worker and oneDNN's compiled products.
heed_status matmul_open(engine *, heed_error *);
void matmul_close(engine *);

// nn/matmul_own.c: the same by heed's own tiles, on this thread, for any k and up to so many rows and columns.
enum { MATMUL_OWN_ROWS = 256, MATMUL_OWN_COLS = 768 };
void matmul_own(const engine *, const multiplication *, void *scratch);
size_t matmul_own_bytes(void);    // of scratch
// A plain loop: right, slow, and in need of no memory.
void matmul_plain(const multiplication *);
