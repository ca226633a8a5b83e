// SPDX-License-Identifier: Apache-2.0
// The products of linear layers, by oneDNN where it was found at build time, else by heed's own tiles.
#pragma once

#include "nn/engine.h"

#include <stddef.h>

// A plain matrix, row-major with row length ld; transposed: element (i, j) is at data[j * ld + i].
typedef struct { const float *data; int64_t ld; bool transposed; } matrix;

// c[m][n] (+)= a[m][k] * b[k][n]; c is plain rows of length ldc and overlaps nothing.
// scratch: matmul_scratch_bytes of memory, aligned to 64, or NULL when that is 0.
void matmul(const engine *, int64_t m, int64_t n, int64_t k, matrix a, matrix b, float *c, int64_t ldc, bool add, void *scratch);
size_t matmul_scratch_bytes(const engine *, int64_t m, int64_t n, int64_t k);

const char *matmul_provider(void);    // "oneDNN 2.6.3" or "heed"
