// SPDX-License-Identifier: Apache-2.0
// Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): random numbers that are a function of
// a key and a counter, so that any piece of a stream can be drawn again without drawing what comes before.
#pragma once

#include <stdint.h>

typedef struct { uint32_t word[4]; } philox_block;
philox_block philox(uint64_t key, uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3);

// A stream of numbers: stream `id` of `seed`. Copyable; two fields are its whole state, so that a checkpoint can hold it.
typedef struct { uint64_t seed, id, drawn; } random_stream;

static inline random_stream random_of(uint64_t seed, uint64_t id) { return (random_stream){seed, id, 0}; }
uint32_t random_u32(random_stream *);
uint64_t random_below(random_stream *, uint64_t n);    // uniform in [0, n), exactly; n > 0
double random_unit(random_stream *);                   // uniform in [0, 1), 53 bits
double random_normal(random_stream *);                 // mean 0, variance 1 (Box and Muller 1958)
