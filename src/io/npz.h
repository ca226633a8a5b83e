// SPDX-License-Identifier: Apache-2.0
// Arrays in NumPy's .npz format: a zip archive of .npy members (versions 1.0 to 3.0). What is read are plain arrays in this
// machine's byte order and C order, whatever the file's were; float16 to 64, integers, bool; void of two bytes (a bfloat16 of
// ml_dtypes) as U16; a text as its bytes: U8. A file is hostile until npz_open has returned HEED_OK. Objects are refused.
#pragma once

#include "base/error.h"
#include "base/tensor.h"

#define NPZ_UNPACKED_MOST ((uint64_t)2 << 30)    // bytes that all deflated members together may unpack to

typedef struct npz npz;    // views live until npz_close

// HEED_REFUSED for what is sound but not read (object arrays, complex numbers, ..), HEED_INVALID for what is damaged.
heed_status npz_open(npz **, const char *path, heed_error *);
void npz_close(npz *);                                     // NULL is fine
int64_t npz_count(const npz *);
const tensor_view *npz_at(const npz *, int64_t index);     // in the file's order
const tensor_view *npz_find(const npz *, const char *name);    // NULL: there is none

typedef struct { const char *name, *text; } npz_text;      // an array of one string of bytes

// Atomic (file_replace), stored, the same bytes for the same arrays. BF16 becomes uint16. HEED_REFUSED from 4 GiB on.
heed_status npz_write(const char *path, const tensor_view *tensors, int64_t count, const npz_text *texts, int64_t n_texts,
                      heed_error *);
