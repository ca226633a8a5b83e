// SPDX-License-Identifier: Apache-2.0
// The keys and values of tokens a model has seen: several sequences (rows), each with room for `capacity` tokens, dense, of the
// type the model multiplies (model_set_precision).
// What lies behind a row's length is never read, so a row is forgotten by setting its length, and memory that no token has
// come to is never touched.
#pragma once

#include "model/model.h"

struct kv_cache {
    int64_t layers, rows, heads, capacity, channels;
    int32_t *length;    // (rows): tokens each row holds
    heed_dtype type;    // f32 or bf16
    char *values;       // (layers, 2, rows, heads, capacity, channels): keys, then values
};

// capacity: at most the model's positions; HEED_INVALID otherwise. Sequences may grow to it.
heed_status kv_cache_create(kv_cache **, const model *, int64_t rows, int64_t capacity, heed_error *);
void kv_cache_free(kv_cache *);    // NULL is fine

// Where keys (0) or values (1) of a row and head begin: (capacity, channels).
void *kv_cache_at(const kv_cache *, int64_t layer, int which, int64_t row, int64_t head);

// Row `to` becomes what row `from` is.
void kv_cache_copy(kv_cache *, int64_t to, int64_t from);
