// SPDX-License-Identifier: Apache-2.0
// An array with a name, as files hold it: read through (any alignment), never owned.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {    // in the order of safetensors' names, which tensor_type_name gives
    TENSOR_BOOL, TENSOR_U8, TENSOR_I8, TENSOR_F8_E4M3, TENSOR_F8_E5M2, TENSOR_I16, TENSOR_U16, TENSOR_F16, TENSOR_BF16,
    TENSOR_I32, TENSOR_U32, TENSOR_F32, TENSOR_F64, TENSOR_I64, TENSOR_U64,
    TENSOR_TYPES
} tensor_type;

const char *tensor_type_name(tensor_type);    // "F32"
size_t tensor_type_bytes(tensor_type);
bool tensor_type_is_real(tensor_type);        // F16, BF16, F32, F64
bool tensor_type_is_integer(tensor_type);     // BOOL and the integers

enum { TENSOR_DIMS = 8 };

typedef struct {
    const char *name;
    tensor_type type;
    int dims;                      // 0: a scalar
    int64_t shape[TENSOR_DIMS];
    int64_t elements;              // product of shape; filled by the reader, computed by the writer
    size_t bytes;
    const void *data;              // reader: of any alignment (copy, or the functions below). Writer: the caller's
} tensor_view;

// Element `at`, exactly, but for integers beyond 2^53; NaN for the F8 types, which nothing here reads.
double tensor_value(const tensor_view *, int64_t at);

// Copies F32, F16 or BF16 elements to `out` as f32; false for any other type.
bool tensor_to_f32(const tensor_view *, float *out);
