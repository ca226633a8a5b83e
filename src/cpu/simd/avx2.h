// SPDX-License-Identifier: Apache-2.0
// Eight lanes: AVX2 with FMA and F16C. What the functions mean: scalar.h.
#pragma once

#include "base/dtype.h"

#include <immintrin.h>

typedef __m256 v_f32;
typedef __m256 v_mask;    // all bits of a lane or none
enum { V_LANES = 8 };
enum { MM_ROWS = 6, MM_VECTORS = 2 };    // 12 accumulators + 2 of b + 1 of a: 15 of 16 registers

static inline __m256i v_lane_mask(int64_t n) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const int clipped = n < 0 ? 0 : n > 8 ? 8 : (int)n;
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(clipped), lane);
}

static inline v_f32 v_zero(void) { return _mm256_setzero_ps(); }
static inline v_f32 v_set(float x) { return _mm256_set1_ps(x); }
static inline v_f32 v_load(const float *from) { return _mm256_loadu_ps(from); }
static inline void v_store(float *to, v_f32 x) { _mm256_storeu_ps(to, x); }
static inline v_f32 v_load_n(const float *from, int64_t n) { return _mm256_maskload_ps(from, v_lane_mask(n)); }
static inline void v_store_n(float *to, v_f32 x, int64_t n) { _mm256_maskstore_ps(to, v_lane_mask(n), x); }

static inline v_f32 v_of_bf16(__m128i x) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16)); }
static inline __m128i v_to_bf16(v_f32 x) {
    const __m256i bits = _mm256_castps_si256(x);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    const __m256i high = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16);
    return _mm_packus_epi32(_mm256_castsi256_si128(high), _mm256_extracti128_si256(high, 1));
}
static inline v_f32 v_load_bf16(const uint16_t *from) { return v_of_bf16(_mm_loadu_si128((const __m128i *)from)); }
static inline void v_store_bf16(uint16_t *to, v_f32 x) { _mm_storeu_si128((__m128i *)to, v_to_bf16(x)); }
static inline v_f32 v_load_bf16_n(const uint16_t *from, int64_t n) {    // there is no masked load of 16 bits
    uint16_t x[8] = {0};
    if (n > 0) memcpy(x, from, 2 * (size_t)n);
    return v_load_bf16(x);
}
static inline void v_store_bf16_n(uint16_t *to, v_f32 x, int64_t n) {
    uint16_t all[8];
    v_store_bf16(all, x);
    if (n > 0) memcpy(to, all, 2 * (size_t)n);
}
static inline v_f32 v_load_f16(const uint16_t *from) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)from)); }
static inline void v_store_f16(uint16_t *to, v_f32 x) {
    _mm_storeu_si128((__m128i *)to, _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
static inline v_f32 v_load_f16_n(const uint16_t *from, int64_t n) {
    uint16_t x[8] = {0};
    if (n > 0) memcpy(x, from, 2 * (size_t)n);
    return v_load_f16(x);
}
static inline void v_store_f16_n(uint16_t *to, v_f32 x, int64_t n) {
    uint16_t all[8];
    v_store_f16(all, x);
    if (n > 0) memcpy(to, all, 2 * (size_t)n);
}

static inline v_f32 v_add(v_f32 a, v_f32 b) { return _mm256_add_ps(a, b); }
static inline v_f32 v_sub(v_f32 a, v_f32 b) { return _mm256_sub_ps(a, b); }
static inline v_f32 v_mul(v_f32 a, v_f32 b) { return _mm256_mul_ps(a, b); }
static inline v_f32 v_div(v_f32 a, v_f32 b) { return _mm256_div_ps(a, b); }
static inline v_f32 v_sqrt(v_f32 a) { return _mm256_sqrt_ps(a); }
static inline v_f32 v_fma(v_f32 a, v_f32 b, v_f32 c) { return _mm256_fmadd_ps(a, b, c); }
static inline v_f32 v_fnma(v_f32 a, v_f32 b, v_f32 c) { return _mm256_fnmadd_ps(a, b, c); }
static inline v_f32 v_max(v_f32 a, v_f32 b) { return _mm256_max_ps(a, b); }
static inline v_f32 v_min(v_f32 a, v_f32 b) { return _mm256_min_ps(a, b); }
static inline v_f32 v_abs(v_f32 a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
static inline v_f32 v_copysign(v_f32 size, v_f32 sign) {
    const v_f32 bit = _mm256_set1_ps(-0.0f);
    return _mm256_or_ps(_mm256_andnot_ps(bit, size), _mm256_and_ps(bit, sign));
}
static inline v_f32 v_round(v_f32 a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
static inline v_f32 v_power_of_2(__m256i n) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}
static inline v_f32 v_scale(v_f32 x, v_f32 n) {    // in two steps: 2^n itself may not fit an exponent
    const __m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1);
    return _mm256_mul_ps(_mm256_mul_ps(x, v_power_of_2(half)), v_power_of_2(_mm256_sub_epi32(whole, half)));
}
static inline v_f32 v_split(v_f32 t, v_f32 *whole) {
    t = v_min(v_set(250.0f), v_max(v_set(-250.0f), t));
    *whole = v_round(t);    // NaN becomes some whole number in v_scale, and stays NaN in the fraction
    return v_sub(t, *whole);
}

static inline v_mask v_lt(v_f32 a, v_f32 b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
static inline v_mask v_le(v_f32 a, v_f32 b) { return _mm256_cmp_ps(a, b, _CMP_LE_OQ); }
static inline v_mask v_eq(v_f32 a, v_f32 b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
static inline v_mask v_is_nan(v_f32 a) { return _mm256_cmp_ps(a, a, _CMP_UNORD_Q); }
static inline v_mask v_is_finite(v_f32 a) { return v_lt(v_abs(a), v_set(__builtin_inff())); }
static inline v_mask v_first(int64_t n) { return _mm256_castsi256_ps(v_lane_mask(n)); }
static inline v_mask v_and(v_mask a, v_mask b) { return _mm256_and_ps(a, b); }
static inline v_mask v_or(v_mask a, v_mask b) { return _mm256_or_ps(a, b); }
static inline v_mask v_not(v_mask a) { return _mm256_xor_ps(a, _mm256_castsi256_ps(_mm256_set1_epi32(-1))); }
static inline bool v_any(v_mask a) { return _mm256_movemask_ps(a) != 0; }
static inline v_f32 v_select(v_mask which, v_f32 yes, v_f32 no) { return _mm256_blendv_ps(no, yes, which); }

typedef __m256i v_u64;
enum { V_BLOCKS = 4 };
static inline v_u64 v_set_u64(uint32_t x) { return _mm256_set1_epi64x((int64_t)x); }
static inline v_u64 v_counters(uint32_t first) { return _mm256_add_epi64(v_set_u64(first), _mm256_setr_epi64x(0, 2, 1, 3)); }
static inline v_u64 v_mul_low(v_u64 a, v_u64 b) { return _mm256_mul_epu32(a, b); }
static inline v_u64 v_high(v_u64 a) { return _mm256_srli_epi64(a, 32); }
static inline v_u64 v_xor(v_u64 a, v_u64 b, v_u64 c) { return _mm256_xor_si256(_mm256_xor_si256(a, b), c); }
static inline v_mask v_at_least_u32(__m256i x, __m256i from) {
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_max_epu32(x, from), x));
}
static inline void v_at_least(const v_u64 word[4], uint32_t from, v_mask *yes) {
    const __m256i least = _mm256_set1_epi32((int)from);
    const __m256i low = _mm256_blend_epi32(word[0], _mm256_slli_epi64(word[1], 32), 0xaa);
    const __m256i high = _mm256_blend_epi32(word[2], _mm256_slli_epi64(word[3], 32), 0xaa);
    yes[0] = v_at_least_u32(_mm256_unpacklo_epi64(low, high), least);    // lanes 0 and 2: blocks 0 and 1
    yes[1] = v_at_least_u32(_mm256_unpackhi_epi64(low, high), least);
}

static inline float v_reduce_add(v_f32 a) {
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}
static inline float v_reduce_max(v_f32 a) {
    __m128 x = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    x = _mm_max_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
}

static inline void v_transpose(v_f32 *x) {
    v_f32 t[8];
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(x[i], x[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(x[i], x[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        for (int j = 0; j < 2; j++) {
            x[i + 2 * j] = _mm256_shuffle_ps(t[i + j], t[i + j + 2], 0x44);
            x[i + 2 * j + 1] = _mm256_shuffle_ps(t[i + j], t[i + j + 2], 0xee);
        }
    }
    for (int i = 0; i < 4; i++) {
        const v_f32 low = x[i], high = x[i + 4];
        x[i] = _mm256_permute2f128_ps(low, high, 0x20);
        x[i + 4] = _mm256_permute2f128_ps(low, high, 0x31);
    }
}
