// SPDX-License-Identifier: Apache-2.0
#include "base/random.h"

#include <math.h>

philox_block philox(uint64_t key, uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3) {
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return (philox_block){{c0, c1, c2, c3}};
}

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
