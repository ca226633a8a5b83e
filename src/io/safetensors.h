// SPDX-License-Identifier: Apache-2.0
// Tensors on disk, in the safetensors format: eight bytes of header length, a JSON header, the data.
// A file is hostile until safetensors_open has returned HEED_OK: every length, offset, dtype, shape, overlap, hole and name
// has been checked by then, and no view reaches outside the file.
#pragma once

#include "base/error.h"
#include "base/tensor.h"

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
