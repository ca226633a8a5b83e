// SPDX-License-Identifier: Apache-2.0
#include "model/kv_cache.h"

#include "base/dtype.h"
#include "base/error.h"
#include "base/memory.h"
#include "model/model_state.h"

#include <stdlib.h>
#include <string.h>

static size_t bytes_of(const kv_cache *c) {
    const size_t token = size_mul(size_mul((size_t)c->heads, (size_t)c->channels), dtype_bytes(c->type));
    return size_mul(size_mul(size_mul(2 * (size_t)c->layers, (size_t)c->rows), (size_t)c->capacity), token);
}

heed_status kv_cache_create(kv_cache **out, const model *m, int64_t rows, int64_t capacity, heed_error *error) {
    const model_config *config = model_config_of(m);
    *out = NULL;
    if (rows < 1 || rows > INT32_MAX)
        return error_set(error, HEED_INVALID, "a cache of %lld rows; it must have 1 to 2147483647", (long long)rows);
    if (capacity < 1 || capacity > config->positions)
        return error_set(error, HEED_INVALID, "a cache of %lld tokens a row; model %s has %lld positions, so it must be 1 to that",
                         (long long)capacity, config->name, (long long)config->positions);
    kv_cache *c = calloc(1, sizeof *c);
    if (c == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for a cache");
    *c = (kv_cache){.layers = config->layers, .rows = rows, .heads = config->heads, .capacity = capacity,
                    .channels = config->width / config->heads, .type = m->operands};
    c->length = calloc((size_t)rows, sizeof *c->length);
    c->values = memory_take(bytes_of(c));
    if (c->length == NULL || c->values == NULL) {
        const double gigabytes = 1e-9 * (double)bytes_of(c);
        kv_cache_free(c);
        return error_set(error, HEED_NO_MEMORY, "no memory for the keys and values of %lld x %lld tokens (%.1f GB)",
                         (long long)rows, (long long)capacity, gigabytes);
    }
    *out = c;
    return HEED_OK;
}

void kv_cache_free(kv_cache *c) {
    if (c == NULL) return;
    memory_free(c->values);
    free(c->length);
    free(c);
}

void *kv_cache_at(const kv_cache *c, int64_t layer, int which, int64_t row, int64_t head) {
    const int64_t place = (((layer * 2 + which) * c->rows + row) * c->heads + head) * c->capacity * c->channels;
    return c->values + (size_t)place * dtype_bytes(c->type);
}

void kv_cache_copy(kv_cache *c, int64_t to, int64_t from) {
    if (to == from) return;
    const size_t bytes = (size_t)(c->length[from] * c->channels) * dtype_bytes(c->type);
    for (int64_t layer = 0; layer < c->layers; layer++) {
        for (int which = 0; which < 2; which++) {
            for (int64_t h = 0; h < c->heads; h++)
                memcpy(kv_cache_at(c, layer, which, to, h), kv_cache_at(c, layer, which, from, h), bytes);
        }
    }
    c->length[to] = c->length[from];
}
