// SPDX-License-Identifier: Apache-2.0
// Rows between storage (f32, bf16, f16) and f32, and the packing of a product's second operand.

static inline v_f32 load_n(heed_dtype type, const void *from, int64_t at, int64_t n) {
    if (type == HEED_F32) return v_load_n((const float *)from + at, n);
    if (type == HEED_BF16) return v_load_bf16_n((const uint16_t *)from + at, n);
    return v_load_f16_n((const uint16_t *)from + at, n);
}

static inline v_f32 load_all(heed_dtype type, const void *from, int64_t at) {
    if (type == HEED_F32) return v_load((const float *)from + at);
    if (type == HEED_BF16) return v_load_bf16((const uint16_t *)from + at);
    return v_load_f16((const uint16_t *)from + at);
}

static inline v_f32 load_upto(heed_dtype type, const void *from, int64_t at, int64_t n) {
    return n >= V_LANES ? load_all(type, from, at) : load_n(type, from, at, n);
}

static inline void store_upto(heed_dtype type, void *to, int64_t at, v_f32 x, int64_t n) {
    float *const wide = (float *)to + at;
    uint16_t *const half = (uint16_t *)to + at;
    if (type == HEED_F32) {
        if (n >= V_LANES) v_store(wide, x); else v_store_n(wide, x, n);
    } else if (type == HEED_BF16) {
        if (n >= V_LANES) v_store_bf16(half, x); else v_store_bf16_n(half, x, n);
    } else {
        if (n >= V_LANES) v_store_f16(half, x); else v_store_f16_n(half, x, n);
    }
}

// One row into its panels. False: it holds NaN or Inf, and zeros were written instead.
static bool pack_row(float *b, int64_t b_rows, int64_t n, heed_dtype type, const void *src, int64_t at) {
    v_f32 bad = v_zero();    // x - x is 0, or NaN where x is not finite
    for (int64_t j = 0; j < n; j += V_LANES) {
        const v_f32 x = load_upto(type, src, at + j, n - j);
        bad = v_add(bad, v_sub(x, x));
        v_store(b + j / MM_COLS * b_rows * MM_COLS + j % MM_COLS, x);
    }
    const bool finite = !v_any(v_is_nan(bad));
    const int64_t padded = (n + MM_COLS - 1) / MM_COLS * MM_COLS;
    for (int64_t j = finite ? (n + V_LANES - 1) / V_LANES * V_LANES : 0; j < padded; j += V_LANES) {
        v_store(b + j / MM_COLS * b_rows * MM_COLS + j % MM_COLS, v_zero());
    }
    return finite;
}

static bool pack_b(void *b, int64_t b_rows, int64_t k, int64_t n, heed_dtype type, const void *src, int64_t ld) {
    bool finite = true;
    for (int64_t t = 0; t < k; t++) finite &= pack_row((float *)b + t * MM_COLS, b_rows, n, type, src, t * ld);
    return finite;
}

static void pack_bt(void *b, int64_t k, int64_t n, heed_dtype type, const void *src, int64_t ld) {
    const int64_t padded = (n + MM_COLS - 1) / MM_COLS * MM_COLS;
    for (int64_t j = 0; j < padded; j += V_LANES) {
        float *to = (float *)b + j / MM_COLS * k * MM_COLS + j % MM_COLS;
        for (int64_t t = 0; t < k; t += V_LANES) {
            v_f32 square[V_LANES];
            for (int r = 0; r < V_LANES; r++) {
                square[r] = j + r < n ? load_upto(type, src, (j + r) * ld + t, k - t) : v_zero();
            }
            v_transpose(square);
            for (int r = 0; r < V_LANES && t + r < k; r++) v_store(to + (t + r) * MM_COLS, square[r]);
        }
    }
}

static void rows_of(void *a, int64_t m, int64_t k, int64_t lda, heed_dtype type, const void *src, int64_t ld, float factor) {
    for (int64_t i = 0; i < m; i++) {
        for (int64_t t = 0; t < k; t += V_LANES) {
            const v_f32 x = v_mul(load_upto(type, src, i * ld + t, k - t), v_set(factor));
            store_upto(HEED_F32, a, i * lda + t, x, k - t);
        }
    }
}

static void rows_to(int64_t m, int64_t n, heed_dtype type, void *to, int64_t ld, const float *from, int64_t ldf,
                    const float *factor) {
    for (int64_t r = 0; r < m; r++) {
        const v_f32 by = v_set(factor != NULL ? factor[r] : 1.0f);
        for (int64_t j = 0; j < n; j += V_LANES) {
            store_upto(type, to, r * ld + j, v_mul(load_upto(HEED_F32, from, r * ldf + j, n - j), by), n - j);
        }
    }
}

static float dot_row(int64_t n, heed_dtype type, const void *a, int64_t at_a, heed_dtype type_b, const void *b, int64_t at_b) {
    v_f32 even = v_zero(), odd = v_zero();
    int64_t j = 0;
    for (; j + 2 * V_LANES <= n; j += 2 * V_LANES) {
        even = v_fma(load_all(type, a, at_a + j), load_all(type_b, b, at_b + j), even);
        odd = v_fma(load_all(type, a, at_a + j + V_LANES), load_all(type_b, b, at_b + j + V_LANES), odd);
    }
    for (; j < n; j += V_LANES) even = v_fma(load_upto(type, a, at_a + j, n - j), load_upto(type_b, b, at_b + j, n - j), even);
    return v_reduce_add(v_add(even, odd));
}

static void row_dots(int64_t m, int64_t n, heed_dtype type, const void *a, int64_t lda, const void *b, int64_t ldb, float *y) {
    for (int64_t r = 0; r < m; r++) y[r] = dot_row(n, type, a, r * lda, type, b, r * ldb);
}

static void dot_rows(int64_t m, int64_t n, heed_dtype type, const void *w, int64_t ldw, const float *x, float *y) {
    for (int64_t r = 0; r < m; r++) y[r] = dot_row(n, type, w, r * ldw, HEED_F32, x, 0);
}

// The sums of `vectors` vectors of columns stay in registers over all rows.
static inline __attribute__((always_inline)) void add_strip(int vectors, int64_t m, int64_t n, heed_dtype type, const void *w,
                                                            int64_t ldw, const float *x, float *y, int64_t j) {
    v_f32 sum[4];
#pragma GCC unroll 4
    for (int i = 0; i < vectors; i++) sum[i] = load_upto(HEED_F32, y, j + i * V_LANES, n - j - i * V_LANES);
    for (int64_t r = 0; r < m; r++) {
        if (x[r] == 0.0f) continue;
#pragma GCC unroll 4
        for (int i = 0; i < vectors; i++) {
            const v_f32 row = load_upto(type, w, r * ldw + j + i * V_LANES, n - j - i * V_LANES);
            sum[i] = v_fma(v_set(x[r]), row, sum[i]);
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < vectors; i++) store_upto(HEED_F32, y, j + i * V_LANES, sum[i], n - j - i * V_LANES);
}

static void add_rows(int64_t m, int64_t n, heed_dtype type, const void *w, int64_t ldw, const float *x, float *y) {
    int64_t j = 0;
    for (; j + 4 * V_LANES <= n; j += 4 * V_LANES) add_strip(4, m, n, type, w, ldw, x, y, j);
    for (; j < n; j += V_LANES) add_strip(1, m, n, type, w, ldw, x, y, j);
}

static void add(int64_t n, float *y, const float *x) {
    for (int64_t j = 0; j < n; j += V_LANES) {
        store_upto(HEED_F32, y, j, v_add(load_upto(HEED_F32, y, j, n - j), load_upto(HEED_F32, x, j, n - j)), n - j);
    }
}

static void exp_all(int64_t n, float *y, const float *x) {
    for (int64_t j = 0; j < n; j += V_LANES) store_upto(HEED_F32, y, j, v_exp(load_upto(HEED_F32, x, j, n - j)), n - j);
}

static void tanh_all(int64_t n, float *y, const float *x) {
    for (int64_t j = 0; j < n; j += V_LANES) store_upto(HEED_F32, y, j, v_tanh(load_upto(HEED_F32, x, j, n - j)), n - j);
}
