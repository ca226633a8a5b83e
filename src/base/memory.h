// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MEMORY_LINE = 64 };    // a cache line; also the alignment of a workspace

// size_t that stays SIZE_MAX once a sum or product has overflowed: check once, at the end.
size_t size_add(size_t a, size_t b);
size_t size_mul(size_t a, size_t b);
size_t size_align(size_t bytes);    // up to a multiple of MEMORY_LINE

// *product = a * b; false when it overflows. For counts of elements and offsets.
static inline bool int64_mul(int64_t a, int64_t b, int64_t *product) { return !__builtin_mul_overflow(a, b, product); }
static inline int64_t int64_min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t int64_max(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t int64_ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Aligned to MEMORY_LINE; NULL when there is none (or bytes is SIZE_MAX). Free with memory_free.
void *memory_take(size_t bytes);
void *memory_take_zeroed(size_t bytes);
void memory_free(void *block);

// The largest resident set of this process so far.
int64_t memory_peak_bytes(void);
