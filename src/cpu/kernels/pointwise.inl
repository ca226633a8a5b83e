// SPDX-License-Identifier: Apache-2.0
// What layers do besides products: norms, activations, cross-entropy, the optimizer. Meaning: cpu/pointwise.h.

static inline v_f32 take(const float *x, int64_t left) { return load_upto(HEED_F32, x, 0, left); }
static inline void put(float *x, v_f32 y, int64_t left) { store_upto(HEED_F32, x, 0, y, left); }

// Where operands may be f32 or bf16, a body is compiled once for each: `type` is a constant in it.
static void add_arrays(int64_t n, const float *a, const float *b, float *sum) {
    for (int64_t j = 0; j < n; j += V_LANES) put(sum + j, v_add(take(a + j, n - j), take(b + j, n - j)), n - j);
}

// ---- gelu -----------------------------------------------------------------------------------------------------------

// With 1 + tanh(u) = 2 / (1 + e^(-2u)) it is x / (1 + e^(-2u)): nothing cancels where x is far below 0.
// Past +-12 gelu is x or 0 to the last bit, and e^(-2u) would leave f32: x is clamped there. The operands of the clamps are
// ordered so that NaN passes.
static inline v_f32 gelu_exp(v_f32 x, v_f32 square) {
    const v_f32 inner = v_fma(v_mul(v_set(0.044715f * 1.5957691216f), square), x, v_mul(v_set(1.5957691216f), x));
    return v_exp(v_sub(v_zero(), v_min(v_set(88.0f), v_max(v_set(-88.0f), inner))));
}

static inline __attribute__((always_inline)) void gelu_of(heed_dtype type, int64_t n, const void *x, void *y) {
    for (int64_t j = 0; j < n; j += V_LANES) {
        const v_f32 a = v_max(v_set(-12.0f), load_upto(type, x, j, n - j)), near = v_min(v_set(12.0f), a);
        const v_f32 s = v_div(v_set(1.0f), v_add(v_set(1.0f), gelu_exp(near, v_mul(near, near))));
        store_upto(type, y, j, v_mul(a, s), n - j);
    }
}

static void gelu(int64_t n, heed_dtype type, const void *x, void *y) {
    if (type == HEED_BF16) gelu_of(HEED_BF16, n, x, y);
    else gelu_of(HEED_F32, n, x, y);
}

// forward: y = x s, s = 1 / (1 + e), e = e^(-2u)      so:  dy/dx = s + x s (1 - s) * 2 du/dx,  1 - s = e s
static inline __attribute__((always_inline)) void gelu_grad_of(heed_dtype type, int64_t n, const void *x, const void *dy,
                                                                void *dx, void *y) {
    for (int64_t j = 0; j < n; j += V_LANES) {
        const v_f32 a = v_max(v_set(-12.0f), load_upto(type, x, j, n - j)), near = v_min(v_set(12.0f), a);
        const v_f32 square = v_mul(near, near), e = gelu_exp(near, square);
        const v_f32 s = v_div(v_set(1.0f), v_add(v_set(1.0f), e));
        const v_f32 inner = v_fma(v_set(3 * 0.044715f * 1.5957691216f), square, v_set(1.5957691216f));
        const v_f32 slope = v_fma(v_mul(v_mul(near, s), v_mul(e, s)), inner, s);
        store_upto(type, dx, j, v_mul(load_upto(type, dy, j, n - j), slope), n - j);
        if (y != NULL) store_upto(type, y, j, v_mul(a, s), n - j);
    }
}

static void gelu_grad(int64_t n, heed_dtype type, const void *x, const void *dy, void *dx, void *y) {
    if (type == HEED_BF16) gelu_grad_of(HEED_BF16, n, x, dy, dx, y);
    else gelu_grad_of(HEED_F32, n, x, dy, dx, y);
}

// ---- few rows times a matrix ----------------------------------------------------------------------------------------

// w streams past once: TIMES_DEPTH of its rows meet every row of x, and their sums, which stay in a near cache, are read and
// written once for so many rows. Measured on one row (Zen 4): 98 % of a plain read of w; prefetching by hand made it slower.
enum { TIMES_DEPTH = 8, TIMES_ROWS = 4 };

// w from element `at` on; rows, vectors and type are constants in every caller.
static inline __attribute__((always_inline)) void times_strip(int rows, int vectors, int64_t depth, int64_t n, const float *x,
                                                              int64_t ldx, heed_dtype type, const void *w, int64_t at,
                                                              int64_t ldw, float *y, int64_t ldy) {
    v_f32 sum[TIMES_ROWS][4];
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (int i = 0; i < vectors; i++) sum[r][i] = take(y + r * ldy + i * V_LANES, n - i * V_LANES);
    }
    for (int64_t t = 0; t < depth; t++) {
#pragma GCC unroll 4
        for (int i = 0; i < vectors; i++) {
            const v_f32 weight = load_upto(type, w, at + t * ldw + i * V_LANES, n - i * V_LANES);
#pragma GCC unroll 4
            for (int r = 0; r < rows; r++) sum[r][i] = v_fma(v_set(x[r * ldx + t]), weight, sum[r][i]);
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (int i = 0; i < vectors; i++) put(y + r * ldy + i * V_LANES, sum[r][i], n - i * V_LANES);
    }
}

// depth rows of w against `rows` rows of x, 1 or TIMES_ROWS of them.
static inline __attribute__((always_inline)) void times_block(int rows, int64_t depth, int64_t n, const float *x, int64_t ldx,
                                                              heed_dtype type, const void *w, int64_t at, int64_t ldw, float *y,
                                                              int64_t ldy) {
    const int vectors = rows == 1 ? 4 : 2;    // as many sums as stay in registers
    int64_t j = 0;
    for (; j + vectors * V_LANES <= n; j += vectors * V_LANES) {
        times_strip(rows, vectors, depth, n - j, x, ldx, type, w, at + j, ldw, y + j, ldy);
    }
    for (; j < n; j += V_LANES) times_strip(rows, 1, depth, n - j, x, ldx, type, w, at + j, ldw, y + j, ldy);
}

static inline __attribute__((always_inline)) void rows_times_of(heed_dtype type, int64_t m, int64_t n, int64_t k, const float *x,
                                                                int64_t ldx, const void *w, int64_t ldw, float *y, int64_t ldy) {
    for (int64_t t = 0; t < k; t += TIMES_DEPTH) {
        const int64_t depth = k - t < TIMES_DEPTH ? k - t : TIMES_DEPTH;
        int64_t i = 0;
        for (; i + TIMES_ROWS <= m; i += TIMES_ROWS) {
            times_block(TIMES_ROWS, depth, n, x + i * ldx + t, ldx, type, w, t * ldw, ldw, y + i * ldy, ldy);
        }
        for (; i < m; i++) times_block(1, depth, n, x + i * ldx + t, ldx, type, w, t * ldw, ldw, y + i * ldy, ldy);
    }
}

static void rows_times(int64_t m, int64_t n, int64_t k, const float *x, int64_t ldx, heed_dtype type, const void *w, int64_t ldw,
                       float *y, int64_t ldy) {
    if (type == HEED_BF16) rows_times_of(HEED_BF16, m, n, k, x, ldx, w, ldw, y, ldy);
    else rows_times_of(HEED_F32, m, n, k, x, ldx, w, ldw, y, ldy);
}

// ---- layer norm -----------------------------------------------------------------------------------------------------

static void norm(int64_t n, float epsilon, const float *x, const float *added, float *sum, const float *weight,
                 const float *bias, heed_dtype type, void *y, float *mean, float *rstd) {
    v_f32 total = v_zero();
    if (added != NULL) {
        for (int64_t j = 0; j < n; j += V_LANES) {
            const v_f32 t = v_add(take(x + j, n - j), take(added + j, n - j));
            put(sum + j, t, n - j);
            total = v_add(total, t);
        }
        x = sum;
    } else {
        for (int64_t j = 0; j < n; j += V_LANES) total = v_add(total, take(x + j, n - j));
    }
    const float middle = v_reduce_add(total) / (float)n;
    v_f32 squares = v_zero();
    for (int64_t j = 0; j < n; j += V_LANES) {
        v_f32 t = v_sub(take(x + j, n - j), v_set(middle));
        if (n - j < V_LANES) t = v_select(v_first(n - j), t, v_zero());
        squares = v_fma(t, t, squares);
    }
    const float scale = 1.0f / sqrtf(v_reduce_add(squares) / (float)n + epsilon);
    for (int64_t j = 0; j < n; j += V_LANES) {
        const v_f32 t = v_mul(v_sub(take(x + j, n - j), v_set(middle)), v_set(scale));
        store_upto(type, y, j, v_fma(t, take(weight + j, n - j), take(bias + j, n - j)), n - j);
    }
    *mean = middle;
    *rstd = scale;
}

static void norm_grad(int64_t n, const float *x, float mean, float rstd, const float *weight, const float *dy, float *dx,
                      float *dweight, float *dbias) {
    v_f32 sum_g = v_zero(), sum_gh = v_zero();
    for (int64_t j = 0; j < n; j += V_LANES) {
        const v_f32 g = v_mul(take(dy + j, n - j), take(weight + j, n - j));
        const v_f32 h = v_mul(v_sub(take(x + j, n - j), v_set(mean)), v_set(rstd));
        sum_g = v_add(sum_g, g);
        sum_gh = v_fma(g, h, sum_gh);    // past the end g is 0 and h finite, unless the whole row is NaN
    }
    const v_f32 mean_g = v_set(v_reduce_add(sum_g) / (float)n), mean_gh = v_set(v_reduce_add(sum_gh) / (float)n);
    for (int64_t j = 0; j < n; j += V_LANES) {
        const v_f32 d = take(dy + j, n - j), g = v_mul(d, take(weight + j, n - j));
        const v_f32 h = v_mul(v_sub(take(x + j, n - j), v_set(mean)), v_set(rstd));
        const v_f32 t = v_fnma(h, mean_gh, v_sub(g, mean_g));
        put(dx + j, v_fma(v_set(rstd), t, take(dx + j, n - j)), n - j);
        put(dweight + j, v_fma(d, h, take(dweight + j, n - j)), n - j);
        put(dbias + j, v_add(d, take(dbias + j, n - j)), n - j);
    }
}

// ---- sums and cross-entropy -----------------------------------------------------------------------------------------

enum { SUM_ROWS_GROUP = 32, SUM_BLOCK = 4096 };    // sums of sums: a long chain of f32 additions loses digits

static inline __attribute__((always_inline)) void sum_rows_of(heed_dtype type, int64_t m, int64_t n, const void *x, int64_t ld,
                                                               float *y) {
    for (int64_t r0 = 0; r0 < m; r0 += SUM_ROWS_GROUP) {
        const int64_t rows = m - r0 < SUM_ROWS_GROUP ? m - r0 : SUM_ROWS_GROUP;
        for (int64_t j = 0; j < n; j += V_LANES) {
            v_f32 total = v_zero();
            for (int64_t r = 0; r < rows; r++) total = v_add(total, load_upto(type, x, (r0 + r) * ld + j, n - j));
            put(y + j, v_add(total, take(y + j, n - j)), n - j);
        }
    }
}

static void sum_rows(int64_t m, int64_t n, heed_dtype type, const void *x, int64_t ld, float *y) {
    if (type == HEED_BF16) sum_rows_of(HEED_BF16, m, n, x, ld, y);
    else sum_rows_of(HEED_F32, m, n, x, ld, y);
}

static double log_sum_exp(int64_t n, const float *x) {
    v_f32 most = v_set(-INFINITY);
    int64_t i = 0;
    for (; i + V_LANES <= n; i += V_LANES) most = v_max(v_load(x + i), most);    // a NaN is met again in the sum
    if (i < n) most = v_max(v_select(v_first(n - i), v_load_n(x + i, n - i), most), most);
    const float top = v_reduce_max(most);
    double sum = 0;
    for (int64_t begin = 0; begin < n; begin += SUM_BLOCK) {
        const int64_t end = n - begin < SUM_BLOCK ? n : begin + SUM_BLOCK;
        v_f32 even = v_zero(), odd = v_zero();
        int64_t j = begin;
        for (; j + 2 * V_LANES <= end; j += 2 * V_LANES) {
            even = v_add(even, v_exp(v_sub(v_load(x + j), v_set(top))));
            odd = v_add(odd, v_exp(v_sub(v_load(x + j + V_LANES), v_set(top))));
        }
        for (; j < end; j += V_LANES) {
            const v_f32 e = v_exp(v_sub(take(x + j, end - j), v_set(top)));
            even = v_add(even, v_select(v_first(end - j), e, v_zero()));
        }
        sum += (double)v_reduce_add(v_add(even, odd));
    }
    return (double)top + log(sum);
}

static void softmax_scaled(int64_t n, const float *x, double log_sum, float scale, heed_dtype type, void *y) {
    const v_f32 minus = v_set((float)log_sum), factor = v_set(scale);
    for (int64_t j = 0; j < n; j += V_LANES)
        store_upto(type, y, j, v_mul(factor, v_exp(v_sub(take(x + j, n - j), minus))), n - j);
}

// ---- optimizer ------------------------------------------------------------------------------------------------------

// In f32 over runs of SUM_BLOCK elements, then in double; infinite where a square overflows f32 (a norm of 1e19).
static double sum_squares(int64_t n, const float *x) {
    double sum = 0;
    for (int64_t begin = 0; begin < n; begin += SUM_BLOCK) {
        const int64_t end = n - begin < SUM_BLOCK ? n : begin + SUM_BLOCK;
        v_f32 total[4] = {v_zero(), v_zero(), v_zero(), v_zero()};
        int64_t j = begin;
        for (; j + 4 * V_LANES <= end; j += 4 * V_LANES) {
            for (int i = 0; i < 4; i++) {
                const v_f32 t = v_load(x + j + i * V_LANES);
                total[i] = v_fma(t, t, total[i]);
            }
        }
        for (; j < end; j += V_LANES) {
            const v_f32 t = take(x + j, end - j);
            total[0] = v_fma(t, t, total[0]);
        }
        sum += (double)v_reduce_add(v_add(v_add(total[0], total[1]), v_add(total[2], total[3])));
    }
    return sum;
}

static void adamw(int64_t n, const adamw_factors *f, float *value, const float *grad, float *m, float *v, uint16_t *rounded) {
    const v_f32 keep = v_set(f->keep), scale = v_set(f->grad_scale), rest1 = v_set(f->rest1), beta2 = v_set(f->beta2);
    const v_f32 rest2 = v_set(f->rest2), step = v_set(f->step_size), root = v_set(f->root_scale), epsilon = v_set(f->epsilon);
    for (int64_t j = 0; j < n; j += V_LANES) {
        const int64_t left = n - j;
        const v_f32 g = v_mul(scale, take(grad + j, left)), m_old = take(m + j, left);
        const v_f32 m_new = v_fma(rest1, v_sub(g, m_old), m_old);
        const v_f32 v_new = v_fma(v_mul(rest2, g), g, v_mul(beta2, take(v + j, left)));
        const v_f32 bottom = v_fma(v_sqrt(v_new), root, epsilon);
        put(m + j, m_new, left);
        put(v + j, v_new, left);
        const v_f32 next = v_fnma(step, v_div(m_new, bottom), v_mul(keep, take(value + j, left)));
        put(value + j, next, left);
        if (rounded != NULL) store_upto(HEED_BF16, rounded, j, next, left);
    }
}
