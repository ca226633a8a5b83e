// SPDX-License-Identifier: Apache-2.0
// The products of linear layers, by oneDNN where it was found at build time, else by heed's own tiles.
#pragma once

#include "nn/engine.h"

// A plain matrix, row-major with row length ld; transposed: element (i, j) is at data[j * ld + i].
typedef struct { const float *data; int64_t ld; bool transposed; } matrix;

// c[m][n] (+)= a[m][k] * b[k][n]; c is plain rows of length ldc and overlaps nothing.
void matmul(const engine *, int64_t m, int64_t n, int64_t k, matrix a, matrix b, float *c, int64_t ldc, bool add);

// Bytes of scratch one worker needs: 0 with oneDNN.
size_t matmul_worker_bytes(void);

const char *matmul_provider(void);    // "oneDNN 2.6.3" or "heed's own tiles"
