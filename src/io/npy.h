// SPDX-License-Identifier: Apache-2.0
// One array of NumPy's .npy format (numpy/lib/format.py), from memory.
#pragma once

#include "base/error.h"
#include "base/tensor.h"

// What its header says, and where its elements are. file, name: for sentences.
typedef struct {
    char kind;                // f i u b, S (bytes) U (UTF-32), V (raw)
    int64_t width;            // bytes an element
    bool swapped, fortran;    // the other byte order; the first axis varies fastest
    int dims;
    int64_t shape[TENSOR_DIMS], elements;
    const unsigned char *data;
} npy;

heed_status npy_parse(npy *, const unsigned char *bytes, size_t n, const char *file, const char *name, heed_error *);

// As a plain array (npz.h says how); view->data is the file's where it can be, else *owned, which the caller frees.
heed_status npy_view(const npy *, tensor_view *view, void **owned, const char *file, heed_error *);
