// SPDX-License-Identifier: Apache-2.0
// The vectors of any CPU: one lane, plain C. Also the definition of what every other header of this folder must do; the
// comments on the functions are here only.
#pragma once

#include "base/dtype.h"

#include <math.h>

typedef float v_f32;
typedef bool v_mask;    // one truth per lane
enum { V_LANES = 1 };

// The register block of the product, in rows and in vectors of columns: bounded by the number of registers.
enum { MM_ROWS = 4, MM_VECTORS = 4 };

static inline v_f32 v_zero(void) { return 0.0f; }
static inline v_f32 v_set(float x) { return x; }    // every lane
static inline v_f32 v_load(const float *from) { return *from; }
static inline void v_store(float *to, v_f32 x) { *to = x; }
// The first n lanes, 0 <= n <= V_LANES: nothing else is touched; the others load as 0.
static inline v_f32 v_load_n(const float *from, int64_t n) { return n > 0 ? *from : 0.0f; }
static inline void v_store_n(float *to, v_f32 x, int64_t n) { if (n > 0) *to = x; }
// bf16 in memory: exact when loaded, nearest even when stored, NaN stays NaN; every set to the same bits.
static inline v_f32 v_load_bf16(const uint16_t *from) { return bf16_to_f32(*from); }
static inline void v_store_bf16(uint16_t *to, v_f32 x) { *to = bf16_of_f32(x); }
static inline v_f32 v_load_bf16_n(const uint16_t *from, int64_t n) { return n > 0 ? bf16_to_f32(*from) : 0.0f; }
static inline void v_store_bf16_n(uint16_t *to, v_f32 x, int64_t n) { if (n > 0) *to = bf16_of_f32(x); }
// f16 in memory: the same.
static inline v_f32 v_load_f16(const uint16_t *from) { return f16_to_f32(*from); }
static inline void v_store_f16(uint16_t *to, v_f32 x) { *to = f16_of_f32(x); }
static inline v_f32 v_load_f16_n(const uint16_t *from, int64_t n) { return n > 0 ? f16_to_f32(*from) : 0.0f; }
static inline void v_store_f16_n(uint16_t *to, v_f32 x, int64_t n) { if (n > 0) *to = f16_of_f32(x); }

static inline v_f32 v_add(v_f32 a, v_f32 b) { return a + b; }
static inline v_f32 v_sub(v_f32 a, v_f32 b) { return a - b; }
static inline v_f32 v_mul(v_f32 a, v_f32 b) { return a * b; }
static inline v_f32 v_div(v_f32 a, v_f32 b) { return a / b; }
static inline v_f32 v_sqrt(v_f32 a) { return sqrtf(a); }
static inline v_f32 v_fma(v_f32 a, v_f32 b, v_f32 c) { return a * b + c; }      // may round once or twice
static inline v_f32 v_fnma(v_f32 a, v_f32 b, v_f32 c) { return c - a * b; }     // the same
static inline v_f32 v_max(v_f32 a, v_f32 b) { return a > b ? a : b; }           // b where either is NaN
static inline v_f32 v_min(v_f32 a, v_f32 b) { return a < b ? a : b; }           // b where either is NaN
static inline v_f32 v_abs(v_f32 a) { return fabsf(a); }
static inline v_f32 v_copysign(v_f32 size, v_f32 sign) { return copysignf(size, sign); }
static inline v_f32 v_round(v_f32 a) { return rintf(a); }                       // to a whole number, nearest even
// x * 2^n for whole -250 <= n <= 250 (and what v_split gives), rounded once where the result is subnormal.
static inline v_f32 v_scale(v_f32 x, v_f32 n) {
    const int whole = n == n ? (int)n : 0;    // NaN to int has no meaning in C; x is NaN then
    const int half = whole / 2, rest = whole - half;
    return x * float_of_bits((uint32_t)(half + 127) << 23) * float_of_bits((uint32_t)(rest + 127) << 23);
}
// Takes t apart for 2^t: returns the fraction r in [-0.5, 0.5] and *whole, so that v_scale(2^r, *whole) is 2^t for any t,
// infinity and NaN included.
static inline v_f32 v_split(v_f32 t, v_f32 *whole) {
    t = v_min(v_set(250.0f), v_max(v_set(-250.0f), t));    // beyond, f32 holds 0 and infinity; NaN passes through
    *whole = t == t ? v_round(t) : 0.0f;
    return t - *whole;
}

// Comparisons with NaN are false.
static inline v_mask v_lt(v_f32 a, v_f32 b) { return a < b; }
static inline v_mask v_le(v_f32 a, v_f32 b) { return a <= b; }
static inline v_mask v_eq(v_f32 a, v_f32 b) { return a == b; }
static inline v_mask v_is_nan(v_f32 a) { return a != a; }
static inline v_mask v_is_finite(v_f32 a) { return fabsf(a) < INFINITY; }
static inline v_mask v_first(int64_t n) { return n > 0; }    // lanes below n; any n
static inline v_mask v_and(v_mask a, v_mask b) { return a && b; }
static inline v_mask v_or(v_mask a, v_mask b) { return a || b; }
static inline v_mask v_not(v_mask a) { return !a; }
static inline bool v_any(v_mask a) { return a; }
static inline v_f32 v_select(v_mask which, v_f32 yes, v_f32 no) { return which ? yes : no; }

// Blocks of Philox, V_BLOCKS at once, each in the lower half of a 64-bit lane; the upper halves hold anything.
typedef uint64_t v_u64;
enum { V_BLOCKS = 1 };
static inline v_u64 v_set_u64(uint32_t x) { return x; }                 // every lane
static inline v_u64 v_counters(uint32_t first) { return first; }        // first, first + 1, ... in the order v_at_least takes
static inline v_u64 v_mul_low(v_u64 a, v_u64 b) { return (uint64_t)(uint32_t)a * (uint32_t)b; }    // of the lower halves
static inline v_u64 v_high(v_u64 a) { return a >> 32; }
static inline v_u64 v_xor(v_u64 a, v_u64 b, v_u64 c) { return a ^ b ^ c; }
// Lane l of yes[i], at place p = i * V_LANES + l: is word p % 4 of block p / 4 at least `from`?
static inline void v_at_least(const v_u64 word[4], uint32_t from, v_mask *yes) {
    for (int i = 0; i < 4; i++) yes[i] = (uint32_t)word[i] >= from;
}

// Over the lanes, always in the same order.
static inline float v_reduce_add(v_f32 a) { return a; }
static inline float v_reduce_max(v_f32 a) { return a; }    // of lanes that hold no NaN

// Rows become columns: x[i] lane j <-> x[j] lane i.
static inline void v_transpose(v_f32 *x) { (void)x; }
