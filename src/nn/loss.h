// SPDX-License-Identifier: Apache-2.0
// Cross-entropy of a tied head: logits = x . W^T with the token embedding W[vocabulary][width]. Rows are taken in chunks,
// so that rows x vocabulary is never stored whole; only scored rows are computed.
#pragma once

#include "heed/heed.h"
#include "nn/engine.h"

typedef struct {
    int64_t rows, width, vocabulary;
    heed_dtype type;              // of x and w, and of dlogits: f32 (0 too) or bf16; logits and all else are f32
    const void *x, *w;            // (rows, width), (vocabulary, width)
    const int32_t *target;        // (rows); negative: not scored
    // Wanted gradients of scale * (sum of losses); dx NULL: none. dx of rows that are not scored is 0.
    double scale;
    float *dx, *dw;               // dx is written; dw is added to, or written when dw_write
    bool dw_write;
} head_loss;

// Adds to *sum (nats, in double, in the order of the rows) and *scored. scratch: head_loss_scratch_bytes.
void head_loss_run(const engine *, const head_loss *, double *sum, int64_t *scored, void *scratch);
size_t head_loss_scratch_bytes(heed_dtype, int64_t rows, int64_t width, int64_t vocabulary);
