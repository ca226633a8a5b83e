// SPDX-License-Identifier: Apache-2.0
#include "base/tensor.h"

#include "base/dtype.h"

#include <string.h>

static const struct { const char *name; uint8_t bytes; } types[TENSOR_TYPES] = {
    {"BOOL", 1}, {"U8", 1}, {"I8", 1}, {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"I16", 2}, {"U16", 2}, {"F16", 2}, {"BF16", 2},
    {"I32", 4}, {"U32", 4}, {"F32", 4}, {"F64", 8}, {"I64", 8}, {"U64", 8},
};

const char *tensor_type_name(tensor_type type) { return (unsigned)type < TENSOR_TYPES ? types[type].name : "unknown"; }
size_t tensor_type_bytes(tensor_type type) { return (unsigned)type < TENSOR_TYPES ? types[type].bytes : 0; }

bool tensor_type_is_real(tensor_type type) {
    return type == TENSOR_F16 || type == TENSOR_BF16 || type == TENSOR_F32 || type == TENSOR_F64;
}

bool tensor_type_is_integer(tensor_type type) {
    return (unsigned)type < TENSOR_TYPES && !tensor_type_is_real(type) && type != TENSOR_F8_E4M3 && type != TENSOR_F8_E5M2;
}

// The bits of an element, which may be unaligned in the file.
static uint64_t bits_at(const tensor_view *t, int64_t at) {
    const size_t n = types[t->type].bytes;
    const char *from = (const char *)t->data + (size_t)at * n;
    uint8_t one;
    uint16_t two;
    uint32_t four;
    uint64_t eight;
    switch (n) {
    case 1: memcpy(&one, from, 1); return one;
    case 2: memcpy(&two, from, 2); return two;
    case 4: memcpy(&four, from, 4); return four;
    default: memcpy(&eight, from, 8); return eight;
    }
}

double tensor_value(const tensor_view *t, int64_t at) {
    const uint64_t bits = bits_at(t, at);
    double real;
    switch (t->type) {
    case TENSOR_BOOL: return bits != 0;
    case TENSOR_U8: case TENSOR_U16: case TENSOR_U32: case TENSOR_U64: return (double)bits;
    case TENSOR_I8: return (int8_t)bits;
    case TENSOR_I16: return (int16_t)bits;
    case TENSOR_I32: return (int32_t)bits;
    case TENSOR_I64: return (double)(int64_t)bits;
    case TENSOR_F16: return (double)f16_to_f32((uint16_t)bits);
    case TENSOR_BF16: return (double)bf16_to_f32((uint16_t)bits);
    case TENSOR_F32: return (double)float_of_bits((uint32_t)bits);
    case TENSOR_F64: memcpy(&real, &bits, 8); return real;
    default: return NAN;
    }
}

bool tensor_to_f32(const tensor_view *t, float *out) {
    if (!tensor_type_is_real(t->type) || t->type == TENSOR_F64) return false;
    if (t->type == TENSOR_F32) {
        if (t->bytes > 0) memcpy(out, t->data, t->bytes);
        return true;
    }
    for (int64_t i = 0; i < t->elements; i++) {
        const uint16_t x = (uint16_t)bits_at(t, i);
        out[i] = t->type == TENSOR_F16 ? f16_to_f32(x) : bf16_to_f32(x);
    }
    return true;
}
