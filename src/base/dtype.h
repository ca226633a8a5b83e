// SPDX-License-Identifier: Apache-2.0
// Storage types, value by value. Rows at speed are cpu/kernels/convert.inl.
#pragma once

#include "heed/heed.h"

#include <math.h>
#include <string.h>

static inline size_t dtype_bytes(heed_dtype type) {
    switch (type) {
    case HEED_BF16: case HEED_F16: return 2;
    case HEED_INT8: return 1;
    default: return 4;
    }
}

static inline const char *dtype_name(heed_dtype type) {
    static const char *const names[] = {"f32", "f32", "bf16", "f16", "int8"};
    return names[type];
}

static inline uint32_t float_bits(float x) { uint32_t bits; memcpy(&bits, &x, 4); return bits; }
static inline float float_of_bits(uint32_t bits) { float x; memcpy(&x, &bits, 4); return x; }

static inline float bf16_to_f32(uint16_t x) { return float_of_bits((uint32_t)x << 16); }

// Nearest even. NaN stays NaN: its quiet bit is set, since rounding up could carry its payload into infinity.
static inline uint16_t bf16_of_f32(float x) {
    const uint32_t bits = float_bits(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

// Exact. NaN keeps what its fraction holds and becomes quiet, to the bit as the instructions of F16C and AVX-512 do it.
static inline float f16_to_f32(uint16_t x) {
    const uint32_t sign = (uint32_t)(x & 0x8000u) << 16, magnitude = x & 0x7fffu;
    if (magnitude > 0x7c00u) return float_of_bits(sign | 0x7fc00000u | (magnitude & 0x3ffu) << 13);
    if (magnitude == 0x7c00u) return float_of_bits(sign | 0x7f800000u);
    if (magnitude < 0x0400u) return float_of_bits(sign | float_bits((float)magnitude * 0x1p-24f));
    return float_of_bits(sign | ((magnitude << 13) + 0x38000000u));
}

// Nearest even, subnormals included; 65520 and beyond is infinity.
static inline uint16_t f16_of_f32(float x) {
    const uint32_t bits = float_bits(x), sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return (uint16_t)(sign | 0x7e00u | (magnitude >> 13 & 0x3ffu));
    if (magnitude >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u);    // rounds to 65536 or more
    if (magnitude < 0x38800000u)                                        // subnormal: units of 2^-24, nearest even
        return (uint16_t)(sign | (uint32_t)lrintf(float_of_bits(magnitude) * 0x1p24f));
    return (uint16_t)(sign | ((magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1u)) >> 13));
}

// The largest finite number of a type: beyond it (and half a unit) storing gives infinity.
static inline double dtype_most(heed_dtype type) {
    switch (type) {
    case HEED_BF16: return 0x1.fep127;
    case HEED_F16: return 65504;
    case HEED_INT8: return 127;
    default: return 0x1.fffffep127;
    }
}

// Element `at` of an array of the type (int8: without its scale).
static inline float dtype_load(heed_dtype type, const void *array, int64_t at) {
    switch (type) {
    case HEED_BF16: return bf16_to_f32(((const uint16_t *)array)[at]);
    case HEED_F16: return f16_to_f32(((const uint16_t *)array)[at]);
    case HEED_INT8: return ((const int8_t *)array)[at];
    default: return ((const float *)array)[at];
    }
}

static inline void dtype_store(heed_dtype type, void *array, int64_t at, float x) {
    switch (type) {
    case HEED_BF16: ((uint16_t *)array)[at] = bf16_of_f32(x); break;
    case HEED_F16: ((uint16_t *)array)[at] = f16_of_f32(x); break;
    case HEED_INT8: ((int8_t *)array)[at] = x >= 127 ? 127 : x <= -127 ? -127 : x != x ? 0 : (int8_t)x; break;
    default: ((float *)array)[at] = x;
    }
}
