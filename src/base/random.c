// SPDX-License-Identifier: Apache-2.0
#include "base/random.h"

#include <math.h>

uint32_t random_u32(random_stream *s) {
    const uint64_t at = s->drawn++, block = at / 4;
    return philox(s->seed, (uint32_t)block, (uint32_t)(block >> 32), (uint32_t)s->id, (uint32_t)(s->id >> 32)).word[at % 4];
}

static uint64_t random_u64(random_stream *s) {
    const uint64_t high = random_u32(s);
    return high << 32 | random_u32(s);
}

// Rejects the last incomplete run of n, so that every value is equally likely.
uint64_t random_below(random_stream *s, uint64_t n) {
    const uint64_t excess = (UINT64_MAX % n + 1) % n;
    for (;;) {
        const uint64_t x = random_u64(s);
        if (x <= UINT64_MAX - excess) return x % n;
    }
}

double random_unit(random_stream *s) { return (double)(random_u64(s) >> 11) * 0x1p-53; }

double random_normal(random_stream *s) {
    const double radius = sqrt(-2 * log(1 - random_unit(s)));
    return radius * cos(6.283185307179586 * random_unit(s));
}
