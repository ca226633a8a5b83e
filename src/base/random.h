// SPDX-License-Identifier: Apache-2.0
// Streams of random numbers out of base/philox.h: any piece can be drawn again without drawing what comes before.
#pragma once

#include "base/philox.h"

// A stream of numbers: stream `id` of `seed`. Copyable; two fields are its whole state, so that a checkpoint can hold it.
typedef struct { uint64_t seed, id, drawn; } random_stream;

static inline random_stream random_of(uint64_t seed, uint64_t id) { return (random_stream){seed, id, 0}; }
uint32_t random_u32(random_stream *);
uint64_t random_below(random_stream *, uint64_t n);    // uniform in [0, n), exactly; n > 0
double random_unit(random_stream *);                   // uniform in [0, 1), 53 bits
double random_normal(random_stream *);                 // mean 0, variance 1 (Box and Muller 1958)
