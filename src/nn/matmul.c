// SPDX-License-Identifier: Apache-2.0
// c is cut into tiles that threads_for hands out, each one single-threaded product: the cut depends on the shape only, so
// the bits do not depend on the threads, and a busy neighbour delays one tile, not a whole static share.
//
// oneDNN's plain sgemm packs both operands itself, in any orientation: measured on GPT-2 124M's shapes (Zen 5, one thread) it
// runs at 200 to 240 GF/s on tiles of 256 x 768, its matmul primitive at 170 to 240; the first also has one signature in
// oneDNN 2 and 3, and needs nothing cached.

#include "nn/matmul.h"

#include "base/memory.h"
#include "cpu/kernels.h"

#include <stdio.h>

#ifdef HEED_ONEDNN
#include <oneapi/dnnl/dnnl.h>
#endif

typedef struct { int64_t rows, cols; } tile_shape;

typedef struct {
    const engine *engine;
    int64_t m, n, k;
    matrix a, b;
    float *c;
    int64_t ldc;
    bool add;
    tile_shape tile;
    int64_t across;    // tiles in a row of tiles
} product;

// The largest tile of this list that gives eight tiles, so that two to eight workers share a product evenly. Smaller tiles
// pack the same operands more often: 5 % slower at 128 x 256, 10 to 30 % at 64 x 256.
static tile_shape choose_tile(int64_t m, int64_t n) {
    static const tile_shape list[] = {{256, 768}, {256, 384}, {256, 256}, {128, 256}, {128, 192}, {64, 256}};
    enum { COUNT = sizeof list / sizeof *list, ENOUGH = 8 };
    for (int i = 0; i < COUNT; i++) {
        if (int64_ceil_div(m, list[i].rows) * int64_ceil_div(n, list[i].cols) >= ENOUGH) return list[i];
    }
    return list[COUNT - 1];
}

static matrix matrix_from(matrix x, int64_t row, int64_t col) {
    x.data += x.transposed ? col * x.ld + row : row * x.ld + col;
    return x;
}

#ifdef HEED_ONEDNN

static void tile_product(const product *p, int64_t m, int64_t n, matrix a, matrix b, float *c, int worker) {
    // Shapes are positive and strides at least as long as rows: nothing is left that sgemm could refuse but memory.
    const dnnl_status_t status = dnnl_sgemm(a.transposed ? 'T' : 'N', b.transposed ? 'T' : 'N', m, n, p->k, 1.0f, a.data, a.ld,
                                            b.data, b.ld, p->add ? 1.0f : 0.0f, c, p->ldc);
    if (status == dnnl_success) return;
    for (int64_t i = 0; i < m; i++) {    // out of memory: late is better than wrong
        for (int64_t j = 0; j < n; j++) {
            float sum = p->add ? c[i * p->ldc + j] : 0;
            for (int64_t t = 0; t < p->k; t++) sum += *matrix_from(a, i, t).data * *matrix_from(b, t, j).data;
            c[i * p->ldc + j] = sum;
        }
    }
}

size_t matmul_worker_bytes(void) { return 0; }

const char *matmul_provider(void) {
    static char text[32];
    const dnnl_version_t *v = dnnl_version();
    snprintf(text, sizeof text, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
    return text;
}

#else

enum { BLOCK_K = 256, BLOCK_N = 768 };    // a packed block of b: 768 KB, half of a large L2

// heed's packing writes rows with NaN or Inf as zeros, as attention needs it; a linear layer must hand them on.
static void add_plain(int64_t m, int64_t n, int64_t k, matrix a, matrix b, float *c, int64_t ldc) {
    for (int64_t i = 0; i < m; i++) {
        for (int64_t t = 0; t < k; t++) {
            const float x = *matrix_from(a, i, t).data;
            for (int64_t j = 0; j < n; j++) c[i * ldc + j] += x * *matrix_from(b, t, j).data;
        }
    }
}

static void tile_product(const product *p, int64_t m, int64_t n, matrix a, matrix b, float *c, int worker) {
    const cpu_product *f32 = &p->engine->cpu->f32;
    void *packed = p->engine->scratch + (size_t)worker * p->engine->worker_bytes;
    for (int64_t k0 = 0; k0 < p->k; k0 += BLOCK_K) {
        const int64_t k = int64_min(p->k - k0, BLOCK_K);
        const bool add = p->add || k0 > 0;
        const matrix a_part = matrix_from(a, 0, k0), b_part = matrix_from(b, k0, 0);
        bool finite = true;
        if (b.transposed) f32->pack_bt(packed, k, n, HEED_F32, b_part.data, b.ld);
        else finite = f32->pack_b(packed, k, k, n, HEED_F32, b_part.data, b.ld);
        if (!finite) {
            for (int64_t i = 0; i < m && !add; i++) {
                for (int64_t j = 0; j < n; j++) c[i * p->ldc + j] = 0;
            }
            add_plain(m, n, k, a_part, b_part, c, p->ldc);
        } else if (a.transposed) {
            f32->mm_t(m, n, k, a_part.data, a.ld, packed, k, c, p->ldc, add);
        } else {
            f32->mm(m, n, k, a_part.data, a.ld, packed, k, c, p->ldc, add);
        }
    }
}

size_t matmul_worker_bytes(void) {
    return (size_t)BLOCK_K * (BLOCK_N + 64) * sizeof(float);    // 64: the widest panel any table pads to
}

const char *matmul_provider(void) { return "heed's own tiles"; }

#endif

static void run_tile(void *context, int64_t item, int worker) {
    const product *p = context;
    const int64_t i = item / p->across * p->tile.rows, j = item % p->across * p->tile.cols;
    const int64_t m = int64_min(p->m - i, p->tile.rows), n = int64_min(p->n - j, p->tile.cols);
    tile_product(p, m, n, matrix_from(p->a, i, 0), matrix_from(p->b, 0, j), p->c + i * p->ldc + j, worker);
}

void matmul(const engine *e, int64_t m, int64_t n, int64_t k, matrix a, matrix b, float *c, int64_t ldc, bool add) {
    if (m == 0 || n == 0 || k == 0) return;
    const tile_shape tile = choose_tile(m, n);
    product p = {e, m, n, k, a, b, c, ldc, add, tile, int64_ceil_div(n, tile.cols)};
    threads_for(&e->team, int64_ceil_div(m, tile.rows) * p.across, run_tile, &p);
}
