// SPDX-License-Identifier: Apache-2.0
// Sixteen lanes: AVX-512 F, BW, DQ, VL. What the functions mean: scalar.h.
#pragma once

#include "base/dtype.h"

#include <immintrin.h>

typedef __m512 v_f32;
typedef __mmask16 v_mask;
enum { V_LANES = 16 };
enum { MM_ROWS = 6, MM_VECTORS = 4 };    // 24 accumulators + 4 of b + 1 of a: 29 of 32 registers

static inline __mmask16 v_lane_mask(int64_t n) { return (__mmask16)(n <= 0 ? 0 : n >= 16 ? 0xffff : (1u << n) - 1); }

static inline v_f32 v_zero(void) { return _mm512_setzero_ps(); }
static inline v_f32 v_set(float x) { return _mm512_set1_ps(x); }
static inline v_f32 v_load(const float *from) { return _mm512_loadu_ps(from); }
static inline void v_store(float *to, v_f32 x) { _mm512_storeu_ps(to, x); }
static inline v_f32 v_load_n(const float *from, int64_t n) { return _mm512_maskz_loadu_ps(v_lane_mask(n), from); }
static inline void v_store_n(float *to, v_f32 x, int64_t n) { _mm512_mask_storeu_ps(to, v_lane_mask(n), x); }

static inline v_f32 v_of_bf16(__m256i x) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16)); }
static inline __m256i v_to_bf16(v_f32 x) {
    const __m512i bits = _mm512_castps_si512(x);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
    const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_mask_mov_epi32(rounded, nan, quiet), 16));
}
static inline v_f32 v_load_bf16(const uint16_t *from) { return v_of_bf16(_mm256_loadu_si256((const __m256i *)from)); }
static inline void v_store_bf16(uint16_t *to, v_f32 x) { _mm256_storeu_si256((__m256i *)to, v_to_bf16(x)); }
static inline v_f32 v_load_bf16_n(const uint16_t *from, int64_t n) {
    return v_of_bf16(_mm256_maskz_loadu_epi16(v_lane_mask(n), from));
}
static inline void v_store_bf16_n(uint16_t *to, v_f32 x, int64_t n) {
    _mm256_mask_storeu_epi16(to, v_lane_mask(n), v_to_bf16(x));
}
static inline __m256i v_to_f16(v_f32 x) { return _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
static inline v_f32 v_load_f16(const uint16_t *from) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)from)); }
static inline void v_store_f16(uint16_t *to, v_f32 x) { _mm256_storeu_si256((__m256i *)to, v_to_f16(x)); }
static inline v_f32 v_load_f16_n(const uint16_t *from, int64_t n) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(v_lane_mask(n), from));
}
static inline void v_store_f16_n(uint16_t *to, v_f32 x, int64_t n) {
    _mm256_mask_storeu_epi16(to, v_lane_mask(n), v_to_f16(x));
}

static inline v_f32 v_add(v_f32 a, v_f32 b) { return _mm512_add_ps(a, b); }
static inline v_f32 v_sub(v_f32 a, v_f32 b) { return _mm512_sub_ps(a, b); }
static inline v_f32 v_mul(v_f32 a, v_f32 b) { return _mm512_mul_ps(a, b); }
static inline v_f32 v_div(v_f32 a, v_f32 b) { return _mm512_div_ps(a, b); }
static inline v_f32 v_sqrt(v_f32 a) { return _mm512_sqrt_ps(a); }
static inline v_f32 v_fma(v_f32 a, v_f32 b, v_f32 c) { return _mm512_fmadd_ps(a, b, c); }
static inline v_f32 v_fnma(v_f32 a, v_f32 b, v_f32 c) { return _mm512_fnmadd_ps(a, b, c); }
static inline v_f32 v_max(v_f32 a, v_f32 b) { return _mm512_max_ps(a, b); }
static inline v_f32 v_min(v_f32 a, v_f32 b) { return _mm512_min_ps(a, b); }
static inline v_f32 v_abs(v_f32 a) { return _mm512_abs_ps(a); }
static inline v_f32 v_copysign(v_f32 size, v_f32 sign) {
    const v_f32 bit = _mm512_set1_ps(-0.0f);
    return _mm512_or_ps(_mm512_andnot_ps(bit, size), _mm512_and_ps(bit, sign));
}
static inline v_f32 v_round(v_f32 a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
static inline v_f32 v_scale(v_f32 x, v_f32 n) { return _mm512_scalef_ps(x, n); }
static inline v_f32 v_split(v_f32 t, v_f32 *whole) {    // vreduceps gives 0 for infinity, and vscalefps takes it
    const v_f32 fraction = _mm512_reduce_ps(t, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    *whole = _mm512_sub_ps(t, fraction);
    return fraction;
}

static inline v_mask v_lt(v_f32 a, v_f32 b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
static inline v_mask v_le(v_f32 a, v_f32 b) { return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ); }
static inline v_mask v_eq(v_f32 a, v_f32 b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
static inline v_mask v_is_nan(v_f32 a) { return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q); }
static inline v_mask v_is_finite(v_f32 a) { return v_lt(v_abs(a), v_set(__builtin_inff())); }
static inline v_mask v_first(int64_t n) { return v_lane_mask(n); }
static inline v_mask v_and(v_mask a, v_mask b) { return (v_mask)(a & b); }
static inline v_mask v_or(v_mask a, v_mask b) { return (v_mask)(a | b); }
static inline v_mask v_not(v_mask a) { return (v_mask)~a; }
static inline bool v_any(v_mask a) { return a != 0; }
static inline v_f32 v_select(v_mask which, v_f32 yes, v_f32 no) { return _mm512_mask_blend_ps(which, no, yes); }

typedef __m512i v_u64;
enum { V_BLOCKS = 8 };
static inline v_u64 v_set_u64(uint32_t x) { return _mm512_set1_epi64((int64_t)x); }
static inline v_u64 v_counters(uint32_t first) {
    return _mm512_add_epi64(v_set_u64(first), _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7));
}
static inline v_u64 v_mul_low(v_u64 a, v_u64 b) { return _mm512_mul_epu32(a, b); }
static inline v_u64 v_high(v_u64 a) { return _mm512_srli_epi64(a, 32); }
static inline v_u64 v_xor(v_u64 a, v_u64 b, v_u64 c) { return _mm512_ternarylogic_epi64(a, b, c, 0x96); }
static inline void v_at_least(const v_u64 word[4], uint32_t from, v_mask *yes) {
    const __m512i least = _mm512_set1_epi32((int)from);
    const __m512i low = _mm512_mask_blend_epi32(0xaaaa, word[0], _mm512_slli_epi64(word[1], 32));
    const __m512i high = _mm512_mask_blend_epi32(0xaaaa, word[2], _mm512_slli_epi64(word[3], 32));
    yes[0] = _mm512_cmpge_epu32_mask(_mm512_unpacklo_epi64(low, high), least);    // even lanes: blocks 0 to 3
    yes[1] = _mm512_cmpge_epu32_mask(_mm512_unpackhi_epi64(low, high), least);
}

static inline float v_reduce_add(v_f32 a) { return _mm512_reduce_add_ps(a); }
static inline float v_reduce_max(v_f32 a) { return _mm512_reduce_max_ps(a); }

static inline void v_transpose(v_f32 *x) {
    v_f32 t[16];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_ps(x[i], x[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(x[i], x[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {    // x[i + j]: column j of each 128-bit lane, of rows i to i + 3
        for (int j = 0; j < 2; j++) {
            x[i + 2 * j] = _mm512_shuffle_ps(t[i + j], t[i + j + 2], 0x44);
            x[i + 2 * j + 1] = _mm512_shuffle_ps(t[i + j], t[i + j + 2], 0xee);
        }
    }
    for (int j = 0; j < 4; j++) {
        t[j] = _mm512_shuffle_f32x4(x[j], x[j + 4], 0x88);          // lanes 0 and 2 of rows 0 to 7
        t[j + 4] = _mm512_shuffle_f32x4(x[j], x[j + 4], 0xdd);      // lanes 1 and 3
        t[j + 8] = _mm512_shuffle_f32x4(x[j + 8], x[j + 12], 0x88);
        t[j + 12] = _mm512_shuffle_f32x4(x[j + 8], x[j + 12], 0xdd);
    }
    for (int j = 0; j < 8; j++) {
        x[j] = _mm512_shuffle_f32x4(t[j], t[j + 8], 0x88);
        x[j + 8] = _mm512_shuffle_f32x4(t[j], t[j + 8], 0xdd);
    }
}
