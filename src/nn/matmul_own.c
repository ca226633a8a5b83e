// SPDX-License-Identifier: Apache-2.0
// Products by the tiles that attention uses. Blocks of k are packed one after another, so that a packed b stays in a near
// cache; bf16 operands become f32 when they are packed.
#include "nn/matmul.h"

#include "base/dtype.h"
#include "base/memory.h"
#include "cpu/kernels.h"

#include <string.h>

enum {
    BLOCK_K = 256,           // a packed block of b: 768 KB, half of a large L2
    PANEL_MOST = 64,         // the widest panel any table pads to
    PACKED = BLOCK_K * (MATMUL_OWN_COLS + PANEL_MOST),
    WIDE_A = MATMUL_OWN_ROWS * BLOCK_K, WIDE_C = MATMUL_OWN_ROWS * MATMUL_OWN_COLS    // f32 of bf16
};

size_t matmul_own_bytes(void) { return (size_t)(PACKED + WIDE_A + WIDE_C) * sizeof(float); }

static int64_t place(const matrix *x, int64_t i, int64_t j) { return x->transposed ? j * x->ld + i : i * x->ld + j; }
static float element(const matrix *x, int64_t i, int64_t j) { return dtype_load(x->type, x->data, place(x, i, j)); }

static matrix part_of(const matrix *x, int64_t i, int64_t j) {
    matrix part = *x;
    part.data = (const char *)x->data + (size_t)place(x, i, j) * dtype_bytes(x->type);
    return part;
}

// heed's packing writes rows with NaN or Inf as zeros, as attention needs it; a linear layer must hand them on.
static void add_plain(int64_t m, int64_t n, int64_t k, const matrix *a, const matrix *b, float *c, int64_t ldc) {
    for (int64_t i = 0; i < m; i++) {
        for (int64_t t = 0; t < k; t++) {
            const float x = element(a, i, t);
            for (int64_t j = 0; j < n; j++) c[i * ldc + j] += x * element(b, t, j);
        }
    }
}

static void begin_rows(const multiplication *p, float *c, int64_t ldc) {
    for (int64_t i = 0; i < p->m; i++) {
        if (p->bias != NULL) memcpy(c + i * ldc, p->bias, (size_t)p->n * sizeof(float));
        else if (!p->add) memset(c + i * ldc, 0, (size_t)p->n * sizeof(float));
    }
}

void matmul_own(const engine *e, const multiplication *p, void *scratch) {
    const cpu_product *f32 = &e->cpu->f32;
    float *packed = scratch, *wide_a = packed + PACKED, *c = p->c_type == HEED_BF16 ? wide_a + WIDE_A : p->c;
    const int64_t ldc = p->c_type == HEED_BF16 ? p->n : p->ldc;
    const heed_dtype type = p->a.type == HEED_BF16 ? HEED_BF16 : HEED_F32;
    begin_rows(p, c, ldc);
    for (int64_t k0 = 0; k0 < p->k; k0 += BLOCK_K) {
        const int64_t k = int64_min(p->k - k0, BLOCK_K);
        const matrix b = part_of(&p->b, k0, 0);
        matrix a = part_of(&p->a, 0, k0);
        bool finite = true;
        if (b.transposed) f32->pack_bt(packed, k, p->n, type, b.data, b.ld);
        else finite = f32->pack_b(packed, k, k, p->n, type, b.data, b.ld);
        if (!finite) {
            add_plain(p->m, p->n, k, &a, &b, c, ldc);
            continue;
        }
        if (type == HEED_BF16) {
            const int64_t rows = a.transposed ? k : p->m, length = a.transposed ? p->m : k;
            f32->rows_of(wide_a, rows, length, length, type, a.data, a.ld, 1);
            a = (matrix){wide_a, length, a.transposed, HEED_F32};
        }
        if (a.transposed) f32->mm_t(p->m, p->n, k, a.data, a.ld, packed, k, c, ldc, true);
        else f32->mm(p->m, p->n, k, a.data, a.ld, packed, k, c, ldc, true);
    }
    if (p->c_type == HEED_BF16) e->cpu->rows_to(p->m, p->n, HEED_BF16, p->c, p->ldc, c, ldc, NULL);
}

void matmul_plain(const multiplication *p) {
    for (int64_t i = 0; i < p->m; i++) {
        for (int64_t j = 0; j < p->n; j++) {
            float sum = p->bias != NULL ? p->bias[j] : p->add ? dtype_load(p->c_type, p->c, i * p->ldc + j) : 0;
            for (int64_t t = 0; t < p->k; t++) sum += element(&p->a, i, t) * element(&p->b, t, j);
            dtype_store(p->c_type, p->c, i * p->ldc + j, sum);
        }
    }
}
