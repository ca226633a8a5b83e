// SPDX-License-Identifier: Apache-2.0
// Tensors on disk, in the safetensors format: eight bytes of header length, a JSON header, the data.
// A file is hostile until safetensors_open has returned HEED_OK: every length, offset, dtype, shape, overlap, hole and name
// has been checked by then, and no view reaches outside the file.
#pragma once

#include "base/error.h"

typedef enum {    // in the order of the format's names, which tensor_type_name gives
    TENSOR_BOOL, TENSOR_U8, TENSOR_I8, TENSOR_F8_E4M3, TENSOR_F8_E5M2, TENSOR_I16, TENSOR_U16, TENSOR_F16, TENSOR_BF16,
    TENSOR_I32, TENSOR_U32, TENSOR_F32, TENSOR_F64, TENSOR_I64, TENSOR_U64,
    TENSOR_TYPES
} tensor_type;

const char *tensor_type_name(tensor_type);    // "F32"
size_t tensor_type_bytes(tensor_type);

enum { TENSOR_DIMS = 8 };

typedef struct {
    const char *name;
    tensor_type type;
    int dims;                      // 0: a scalar
    int64_t shape[TENSOR_DIMS];
    int64_t elements;              // product of shape; filled by the reader, computed by the writer
    size_t bytes;
    const void *data;              // reader: inside the map, of any alignment (copy, or tensor_to_f32). Writer: the caller's
} tensor_view;

// ---- reading ------------------------------------------------------------------------------------------------------

typedef struct safetensors safetensors;    // views live until safetensors_close

heed_status safetensors_open(safetensors **, const char *path, heed_error *);
void safetensors_close(safetensors *);                                             // NULL is fine
int64_t safetensors_count(const safetensors *);
const tensor_view *safetensors_at(const safetensors *, int64_t index);             // in the order of their data
const tensor_view *safetensors_find(const safetensors *, const char *name);        // NULL: there is none
const char *safetensors_metadata(const safetensors *, const char *key);            // NULL: there is none

// The tensor, or a sentence: it is missing, or has another type or shape. type TENSOR_TYPES accepts what tensor_to_f32 does.
heed_status safetensors_need(const safetensors *, const char *name, tensor_type type, int dims, const int64_t *shape,
                             const tensor_view **, heed_error *);

// Copies F32, F16 or BF16 elements to `out` as f32; false for any other type.
bool tensor_to_f32(const tensor_view *, float *out);

// ---- writing ------------------------------------------------------------------------------------------------------

typedef struct { const char *key, *value; } tensor_note;    // an entry of __metadata__

// Writes the file in one call, with {"format": "pt"} and then `notes` as metadata, names in the given order, the data at a
// multiple of 8. Flushed to the disk on return. A failed write leaves a partial file: write inside a folder_begin.
heed_status safetensors_write(const char *path, const tensor_view *tensors, int64_t count, const tensor_note *notes,
                              int64_t n_notes, heed_error *);

// The same in pieces, for data that never is in memory as a whole: begin (data pointers are not read), append every tensor's
// bytes in order in pieces of any size, end. After a failure of append or end the writer is gone; abandon it otherwise.
typedef struct safetensors_writer safetensors_writer;
heed_status safetensors_begin(safetensors_writer **, const char *path, const tensor_view *tensors, int64_t count,
                              const tensor_note *notes, int64_t n_notes, heed_error *);
heed_status safetensors_append(safetensors_writer *, const void *bytes, size_t n, heed_error *);
heed_status safetensors_end(safetensors_writer *, heed_error *);
void safetensors_abandon(safetensors_writer *);    // NULL is fine
