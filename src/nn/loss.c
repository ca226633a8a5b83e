// SPDX-License-Identifier: Apache-2.0
#include "nn/loss.h"

#include "base/memory.h"
#include "cpu/kernels.h"
#include "nn/matmul.h"

#include <string.h>

// 256 rows of GPT-2's vocabulary are 51 MB of logits: enough rows that W is read three times a chunk for 3 * 2 * 256
// operations on each of its elements.
enum { CHUNK_ROWS = 256, CHUNK_LOGITS = 1 << 24 };

static int64_t chunk_rows(int64_t rows, int64_t vocabulary) {
    return int64_min(rows, int64_max(int64_min(CHUNK_ROWS, CHUNK_LOGITS / vocabulary), 16));
}

static int64_t logits_ld(int64_t vocabulary) { return int64_ceil_div(vocabulary, 16) * 16; }    // rows begin on cache lines

size_t head_loss_scratch_bytes(int64_t rows, int64_t width, int64_t vocabulary) {
    const size_t n = (size_t)chunk_rows(rows, vocabulary);
    const size_t logits = size_mul(size_mul(n, (size_t)logits_ld(vocabulary)), sizeof(float));
    const size_t xs = size_align(size_mul(size_mul(n, (size_t)width), sizeof(float)));
    const size_t lists = size_align(n * (sizeof(int64_t) + sizeof(double)));
    return size_add(size_add(size_align(logits), size_mul(xs, 2)), lists);
}

typedef struct {
    const cpu_pointwise *point;
    const head_loss *head;
    int64_t ld;
    float *logits, *x, *dx;    // of the chunk's rows, one after another
    int64_t *row;              // where each row of the chunk came from
    double *loss;
} chunk;

static void softmax_row(void *context, int64_t item, int worker) {
    const chunk *c = context;
    const head_loss *h = c->head;
    float *logits = c->logits + item * c->ld;
    const int32_t target = h->target[c->row[item]];
    const double log_sum = c->point->log_sum_exp(h->vocabulary, logits);
    c->loss[item] = log_sum - (double)logits[target];
    if (h->dx == NULL) return;
    // forward: loss = ln(sum of e^x) - x[target]      so:  dx = softmax(x) - (1 at target)
    c->point->softmax_scaled(h->vocabulary, logits, log_sum, (float)h->scale);
    logits[target] -= (float)h->scale;
}

static void run_chunk(const engine *e, const chunk *c, int64_t n, bool write) {
    const head_loss *h = c->head;
    const int64_t C = h->width, V = h->vocabulary;
    const matrix x = {c->x, C, false}, w = {h->w, C, false}, w_t = {h->w, C, true};
    matmul(e, n, V, C, x, w_t, c->logits, c->ld, false);
    threads_for(&e->team, n, softmax_row, (void *)(uintptr_t)c);
    if (h->dx == NULL) return;
    // forward: logits = x . W^T      so:  dx = dlogits . W,  dW += dlogits^T . x
    matmul(e, n, C, V, (matrix){c->logits, c->ld, false}, w, c->dx, C, false);
    matmul(e, V, C, n, (matrix){c->logits, c->ld, true}, x, h->dw, C, !write);
    for (int64_t i = 0; i < n; i++) memcpy(h->dx + c->row[i] * C, c->dx + i * C, (size_t)C * sizeof(float));
}

void head_loss_run(const engine *e, const head_loss *h, double *sum, int64_t *scored, void *scratch) {
    const int64_t C = h->width, most = chunk_rows(h->rows, h->vocabulary);
    const size_t bytes = (size_t)C * sizeof(float), xs = size_align((size_t)most * bytes);
    chunk c = {.point = &e->cpu->pointwise, .head = h, .ld = logits_ld(h->vocabulary), .logits = scratch};
    char *rest = (char *)scratch + size_align((size_t)(most * c.ld) * sizeof(float));
    c.x = (float *)rest;
    c.dx = (float *)(rest + xs);
    c.row = (int64_t *)(rest + 2 * xs);
    c.loss = (double *)(c.row + most);
    bool write = h->dw_write;
    for (int64_t r = 0; r < h->rows;) {
        int64_t n = 0;
        for (; r < h->rows && n < most; r++) {
            if (h->target[r] >= 0) {
                memcpy(c.x + n * C, h->x + r * C, bytes);
                c.row[n++] = r;
            } else if (h->dx != NULL) {
                memset(h->dx + r * C, 0, bytes);
            }
        }
        if (n == 0) break;
        run_chunk(e, &c, n, write);
        write = false;
        for (int64_t i = 0; i < n; i++) *sum += c.loss[i];
        *scored += n;
    }
    if (write && h->dx != NULL) memset(h->dw, 0, (size_t)(h->vocabulary * C) * sizeof(float));    // nothing was scored
}
