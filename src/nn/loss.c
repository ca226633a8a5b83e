// SPDX-License-Identifier: Apache-2.0
#include "nn/loss.h"

#include "base/dtype.h"
#include "base/memory.h"
#include "cpu/kernels.h"
#include "nn/matmul.h"

#include <math.h>
#include <string.h>

// 256 rows of GPT-2's vocabulary are 51 MB of logits: enough rows that W is read three times a chunk for 3 * 2 * 256
// operations on each of its elements.
enum { CHUNK_ROWS = 256, CHUNK_LOGITS = 1 << 24 };

static int64_t chunk_rows(int64_t rows, int64_t vocabulary) {
    return int64_min(rows, int64_max(int64_min(CHUNK_ROWS, CHUNK_LOGITS / vocabulary), 16));
}

static int64_t logits_ld(int64_t vocabulary) { return int64_ceil_div(vocabulary, 16) * 16; }    // rows begin on cache lines

typedef struct { size_t slopes, x, dx, row, loss, bytes; } chunk_layout;    // where each part begins; logits at 0

static size_t after(size_t at, size_t n, size_t size) { return size_add(at, size_align(size_mul(n, size))); }

static chunk_layout lay_out(heed_dtype type, int64_t rows, int64_t width, int64_t vocabulary) {
    const size_t n = (size_t)chunk_rows(rows, vocabulary), logits = size_mul(n, (size_t)logits_ld(vocabulary));
    const size_t values = size_mul(n, (size_t)width);
    chunk_layout l = {.slopes = 0, .x = after(0, logits, sizeof(float))};    // f32: slopes take the place of the logits
    if (type == HEED_BF16) {
        l.slopes = l.x;
        l.x = after(l.slopes, logits, sizeof(uint16_t));
    }
    l.dx = after(l.x, values, dtype_bytes(type));
    l.row = after(l.dx, values, sizeof(float));
    l.loss = after(l.row, n, sizeof(int64_t));
    l.bytes = after(l.loss, n, sizeof(double));
    return l;
}

size_t head_loss_scratch_bytes(heed_dtype type, int64_t rows, int64_t width, int64_t vocabulary) {
    return lay_out(type, rows, width, vocabulary).bytes;
}

typedef struct {
    const cpu_pointwise *point;
    const head_loss *head;
    heed_dtype type;
    int64_t ld;
    float *logits, *dx;        // of the chunk's rows, one after another
    void *slopes, *x;
    int64_t *row;              // where each row of the chunk came from
    double *loss;
} chunk;

static void softmax_row(void *context, int64_t item, int worker) {
    const chunk *c = context;
    const head_loss *h = c->head;
    float *logits = c->logits + item * c->ld;
    const int32_t target = h->target[c->row[item]];
    const float chosen = logits[target];
    const double log_sum = c->point->log_sum_exp(h->vocabulary, logits);
    c->loss[item] = log_sum - (double)chosen;
    if (h->dx == NULL) return;
    // forward: loss = ln(sum of e^x) - x[target]      so:  dx = softmax(x) - (1 at target)
    const float scale = (float)h->scale;
    if (c->type == HEED_BF16) {
        uint16_t *slopes = (uint16_t *)c->slopes + item * c->ld;
        c->point->softmax_scaled(h->vocabulary, logits, log_sum, scale, HEED_BF16, slopes);
        slopes[target] = bf16_of_f32(scale * (float)expm1((double)chosen - log_sum));    // not from what was rounded
    } else {
        c->point->softmax_scaled(h->vocabulary, logits, log_sum, scale, HEED_F32, logits);
        logits[target] -= scale;
    }
}

static void run_chunk(const engine *e, const chunk *c, int64_t n, bool write) {
    const head_loss *h = c->head;
    const int64_t C = h->width, V = h->vocabulary;
    const matrix x = {c->x, C, false, c->type}, w = {h->w, C, false, c->type}, w_t = {h->w, C, true, c->type};
    const matrix slopes = {c->slopes, c->ld, false, c->type}, slopes_t = {c->slopes, c->ld, true, c->type};
    matmul(e, &(multiplication){.m = n, .n = V, .k = C, .a = x, .b = w_t, .c = c->logits, .ldc = c->ld});
    threads_for(&e->team, n, softmax_row, (void *)(uintptr_t)c);
    if (h->dx == NULL) return;
    // forward: logits = x . W^T      so:  dx = dlogits . W,  dW += dlogits^T . x
    matmul(e, &(multiplication){.m = n, .n = C, .k = V, .a = slopes, .b = w, .c = c->dx, .ldc = C});
    matmul(e, &(multiplication){.m = V, .n = C, .k = n, .a = slopes_t, .b = x, .c = h->dw, .ldc = C, .add = !write});
    for (int64_t i = 0; i < n; i++) memcpy(h->dx + c->row[i] * C, c->dx + i * C, (size_t)C * sizeof(float));
}

void head_loss_run(const engine *e, const head_loss *h, double *sum, int64_t *scored, void *scratch) {
    const heed_dtype type = h->type == HEED_BF16 ? HEED_BF16 : HEED_F32;
    const int64_t C = h->width, most = chunk_rows(h->rows, h->vocabulary);
    const size_t bytes = (size_t)C * dtype_bytes(type);
    const chunk_layout l = lay_out(type, h->rows, C, h->vocabulary);
    char *at = scratch;
    const chunk c = {.point = &e->cpu->pointwise, .head = h, .type = type, .ld = logits_ld(h->vocabulary),
                     .logits = scratch, .dx = (float *)(at + l.dx), .slopes = at + l.slopes, .x = at + l.x,
                     .row = (int64_t *)(at + l.row), .loss = (double *)(at + l.loss)};
    bool write = h->dw_write;
    for (int64_t r = 0; r < h->rows;) {
        int64_t n = 0;
        for (; r < h->rows && n < most; r++) {
            if (h->target[r] >= 0) {
                memcpy((char *)c.x + (size_t)n * bytes, (const char *)h->x + (size_t)r * bytes, bytes);
                c.row[n++] = r;
            } else if (h->dx != NULL) {
                memset(h->dx + r * C, 0, (size_t)C * sizeof(float));
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
