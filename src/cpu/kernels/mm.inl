// SPDX-License-Identifier: Apache-2.0
// The product of f32 operands: a block of MM_ROWS x MM_VECTORS vectors of sums stays in registers over all of k. Every
// element is the same chain of fused multiply-adds, t ascending, whichever block it falls in: a row's bits do not depend on
// what is computed beside it.

enum { MM_COLS = MM_VECTORS * V_LANES };

static size_t b_bytes(int64_t k, int64_t n) {
    const int64_t panels = (n + MM_COLS - 1) / MM_COLS;
    return size_align(size_mul(size_mul((size_t)panels, (size_t)(k < 0 ? 0 : k)), MM_COLS * sizeof(float)));
}

// rows, vectors and transposed are constants in every caller, so that the loops over them unroll and acc is registers.
static inline __attribute__((always_inline)) void mm_block(int rows, int vectors, bool transposed, int64_t k, const float *a,
                                                           int64_t lda, const float *b, float *c, int64_t ldc, int64_t last,
                                                           bool add) {
    v_f32 acc[MM_ROWS][MM_VECTORS];
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) {
#pragma GCC unroll 8
        for (int j = 0; j < vectors; j++) {
            const float *from = c + i * ldc + j * V_LANES;
            acc[i][j] = !add ? v_zero() : j + 1 < vectors || last == V_LANES ? v_load(from) : v_load_n(from, last);
        }
    }
    for (int64_t t = 0; t < k; t++) {
        v_f32 row[MM_VECTORS];
#pragma GCC unroll 8
        for (int j = 0; j < vectors; j++) row[j] = v_load(b + t * MM_COLS + j * V_LANES);
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++) {
            const v_f32 x = v_set(transposed ? a[t * lda + i] : a[i * lda + t]);
#pragma GCC unroll 8
            for (int j = 0; j < vectors; j++) acc[i][j] = v_fma(x, row[j], acc[i][j]);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) {
#pragma GCC unroll 8
        for (int j = 0; j < vectors; j++) {
            float *to = c + i * ldc + j * V_LANES;
            if (j + 1 < vectors || last == V_LANES) v_store(to, acc[i][j]); else v_store_n(to, acc[i][j], last);
        }
    }
}

// One strip of `vectors` vectors of columns: all m rows against the same part of b, which stays in L1.
static inline __attribute__((always_inline)) void mm_strip(int vectors, bool transposed, int64_t m, int64_t k, const float *a,
                                                           int64_t lda, const float *b, float *c, int64_t ldc, int64_t last,
                                                           bool add) {
    const int64_t step = transposed ? 1 : lda;
    int64_t i = 0;
    for (; i + MM_ROWS <= m; i += MM_ROWS) {
        mm_block(MM_ROWS, vectors, transposed, k, a + i * step, lda, b, c + i * ldc, ldc, last, add);
    }
    if (MM_ROWS > 4 && m - i >= 4) {
        mm_block(MM_ROWS > 4 ? 4 : 1, vectors, transposed, k, a + i * step, lda, b, c + i * ldc, ldc, last, add);
        i += 4;
    }
    if (m - i >= 2) {
        mm_block(2, vectors, transposed, k, a + i * step, lda, b, c + i * ldc, ldc, last, add);
        i += 2;
    }
    if (m - i >= 1) mm_block(1, vectors, transposed, k, a + i * step, lda, b, c + i * ldc, ldc, last, add);
}

static inline __attribute__((always_inline)) void mm_all(bool transposed, int64_t m, int64_t n, int64_t k, const float *a,
                                                         int64_t lda, const float *b, int64_t b_rows, float *c, int64_t ldc,
                                                         bool add) {
    for (int64_t j = 0; j < n; j += MM_COLS, b += b_rows * MM_COLS, c += MM_COLS) {
        const int64_t columns = n - j < MM_COLS ? n - j : MM_COLS;
        const int64_t vectors = (columns + V_LANES - 1) / V_LANES, last = columns - (vectors - 1) * V_LANES;
        switch (vectors) {    // those an instruction set never reaches shrink to nothing much
        case 4: mm_strip(MM_VECTORS < 4 ? 1 : 4, transposed, m, k, a, lda, b, c, ldc, last, add); break;
        case 3: mm_strip(MM_VECTORS < 3 ? 1 : 3, transposed, m, k, a, lda, b, c, ldc, last, add); break;
        case 2: mm_strip(2, transposed, m, k, a, lda, b, c, ldc, last, add); break;
        default: mm_strip(1, transposed, m, k, a, lda, b, c, ldc, last, add); break;
        }
    }
}

static void mm(int64_t m, int64_t n, int64_t k, const void *a, int64_t lda, const void *b, int64_t b_rows, float *c, int64_t ldc,
               bool add) {
    mm_all(false, m, n, k, a, lda, b, b_rows, c, ldc, add);
}

static void mm_t(int64_t m, int64_t n, int64_t k, const void *a, int64_t lda, const void *b, int64_t b_rows, float *c,
                 int64_t ldc, bool add) {
    mm_all(true, m, n, k, a, lda, b, b_rows, c, ldc, add);
}
