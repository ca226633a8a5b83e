// SPDX-License-Identifier: Apache-2.0
// Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3", section 3.3): random words
// as a pure function of a seed and a place. Whoever asks for the same place gets the same words, in any order, on any thread:
// what dropout needs, which draws its mask in forward and again in backward.
#pragma once

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct { uint32_t word[4]; } philox_block;

// Four words for a key (its low word first) and a counter of four words.
static inline philox_block philox(uint64_t key, uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3) {
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;    // the golden ratio
        k1 += 0xBB67AE85u;    // sqrt(3) - 1
    }
    return (philox_block){{c0, c1, c2, c3}};
}

// Dropout with probability p keeps where word >= p * 2^32. A word is whole, so that is word >= ceil(p * 2^32), which is exact
// in double: of the 2^32 words it drops the share p, to within 2^-32. p = 0 keeps all.
static inline bool philox_can_drop(double p) { return p >= 0 && p <= 1 - 0x1p-32; }    // above, no word would be left

static inline uint32_t philox_keep_from(double p) {
    assert(philox_can_drop(p));
    return (uint32_t)ceil(p * 0x1p32);
}
