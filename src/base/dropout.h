// SPDX-License-Identifier: Apache-2.0
// Which weights dropout keeps: a function of the seed and of the weight's place (batch, head, row, key), whatever order they
// are computed in. Places side by side along the keys share a block of philox: four words, one a key.
#pragma once

#include "base/philox.h"

typedef struct {
    uint64_t seed;
    uint32_t batch, head;
    uint32_t keep_from;    // kept where word >= keep_from
    double scale;          // what the kept are multiplied by: 1 / (1 - p)
} dropout;

static inline dropout dropout_of(double p, uint64_t seed, int64_t batch, int64_t head) {
    return (dropout){seed, (uint32_t)batch, (uint32_t)head, philox_keep_from(p), 1 / (1 - p)};
}

static inline bool dropout_keeps(const dropout *d, int64_t row, int64_t key) {
    return philox(d->seed, (uint32_t)(key / 4), (uint32_t)row, d->head, d->batch).word[key % 4] >= d->keep_from;
}

// What a weight is multiplied by. A dropped weight is multiplied by 0, not left out: 0 * NaN is NaN.
static inline double dropout_factor(const dropout *d, int64_t row, int64_t key) {
    return dropout_keeps(d, row, key) ? d->scale : 0;
}
