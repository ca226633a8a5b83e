// SPDX-License-Identifier: Apache-2.0
// The running softmax of a tile of scores and its gradient. Exponentials are powers of 2: exp(x - m) = 2^((x - m) c) with
// c = log2(e). The difference comes first: near the maximum it is exact, where x c - m c would carry the rounding of m c.

static const float LOG2_E = 0x1.715476p+0f;

static inline v_f32 minus_infinity(void) { return v_set(-INFINITY); }

// Sets s[0..from) and s[to..n) to 0: hidden is selected, whatever was there.
static inline void clear_outside(float *s, int64_t from, int64_t to, int64_t n) {
    for (int64_t j = 0; j < from; j += V_LANES) store_upto(HEED_F32, s, j, v_zero(), from - j);
    for (int64_t j = to; j < n; j += V_LANES) store_upto(HEED_F32, s, j, v_zero(), n - j);
}

static inline float row_max(const float *s, int64_t from, int64_t to) {
    v_f32 even = minus_infinity(), odd = even;
    int64_t j = from;
    for (; j + 2 * V_LANES <= to; j += 2 * V_LANES) {
        even = v_max(v_load(s + j), even);    // a NaN leaves the maximum as it was, and shows in the sum
        odd = v_max(v_load(s + j + V_LANES), odd);
    }
    for (; j < to; j += V_LANES) even = v_max(v_select(v_first(to - j), load_upto(HEED_F32, s, j, to - j), even), even);
    return v_reduce_max(v_max(even, odd));
}

static inline v_f32 exp_from(v_f32 x, v_f32 ref) { return v_exp2(v_mul(v_sub(x, ref), v_set(LOG2_E))); }

// s[j] = exp(s[j] - ref); returns their sum.
static inline float row_exp(float *s, int64_t from, int64_t to, float ref) {
    const v_f32 big = v_set(ref);
    v_f32 even = v_zero(), odd = v_zero();
    int64_t j = from;
    for (; j + 2 * V_LANES <= to; j += 2 * V_LANES) {
        const v_f32 p = exp_from(v_load(s + j), big), q = exp_from(v_load(s + j + V_LANES), big);
        v_store(s + j, p);
        v_store(s + j + V_LANES, q);
        even = v_add(even, p);
        odd = v_add(odd, q);
    }
    for (; j < to; j += V_LANES) {
        const v_f32 p = exp_from(load_upto(HEED_F32, s, j, to - j), big);
        store_upto(HEED_F32, s, j, p, to - j);
        even = v_add(even, v_select(v_first(to - j), p, v_zero()));
    }
    return v_reduce_add(v_add(even, odd));
}

static void softmax(int64_t m, int64_t n, float *s, int64_t ld, const int32_t *first, const int32_t *end, float *max, float *sum,
                    float *o, int64_t ldo, int64_t n_o) {
    for (int64_t r = 0; r < m; r++, s += ld, o += ldo) {
        const int64_t from = first != NULL ? first[r] : 0, to = end != NULL ? end[r] : n;
        clear_outside(s, from, to, n);
        if (from >= to) continue;
        const float old = max[r], found = row_max(s, from, to), big = found > old ? found : old;
        // While nothing but -inf was seen, 0 stands in: 2^(-inf - 0) is 0 where -inf - -inf would be NaN.
        const float added = row_exp(s, from, to, big == -INFINITY ? 0.0f : big);
        if (big > old) {
            const float shrink = expf(old - big);
            sum[r] *= shrink;
            for (int64_t j = 0; j < n_o; j += V_LANES) {
                store_upto(HEED_F32, o, j, v_mul(load_upto(HEED_F32, o, j, n_o - j), v_set(shrink)), n_o - j);
            }
            max[r] = big;
        }
        sum[r] += added;
    }
}

static inline void grad_vector(float *s, float *ds, int64_t n, v_f32 lse, v_f32 delta) {
    const v_f32 x = load_upto(HEED_F32, s, 0, n);
    const v_mask hidden = v_eq(x, minus_infinity());    // also where lse is -inf, and where ds holds NaN
    const v_f32 p = v_select(hidden, v_zero(), exp_from(x, lse));
    const v_f32 d = v_mul(p, v_sub(load_upto(HEED_F32, ds, 0, n), delta));
    store_upto(HEED_F32, s, 0, p, n);
    store_upto(HEED_F32, ds, 0, v_select(hidden, v_zero(), d), n);
}

static void softmax_grad(int64_t m, int64_t n, float *s, int64_t lds, float *ds, int64_t ldd, const int32_t *first,
                         const int32_t *end, const float *lse, const float *delta) {
    for (int64_t r = 0; r < m; r++, s += lds, ds += ldd) {
        const int64_t from = first != NULL ? first[r] : 0, to = end != NULL ? end[r] : n;
        clear_outside(s, from, to, n);
        clear_outside(ds, from, to, n);
        const v_f32 lse_r = v_set(lse[r]), d = v_set(delta[r]);
        int64_t j = from;
        for (; j + V_LANES <= to; j += V_LANES) grad_vector(s + j, ds + j, V_LANES, lse_r, d);
        if (j < to) grad_vector(s + j, ds + j, to - j, lse_r, d);
    }
}

static void mm_softmax(int64_t m, int64_t n, int64_t k, const void *a, int64_t lda, const void *b, int64_t b_rows, float *s,
                       int64_t ld, const int32_t *first, const int32_t *end, float *max, float *sum, float *o, int64_t ldo,
                       int64_t n_o) {
    mm(m, n, k, a, lda, b, b_rows, s, ld, false);
    softmax(m, n, s, ld, first, end, max, sum, o, ldo, n_o);
}
