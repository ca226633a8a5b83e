// SPDX-License-Identifier: Apache-2.0
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

size_t size_add(size_t a, size_t b) {
    size_t sum;
    return __builtin_add_overflow(a, b, &sum) ? SIZE_MAX : sum;
}

size_t size_mul(size_t a, size_t b) {
    size_t product;
    if (a == SIZE_MAX || b == SIZE_MAX) return a == 0 || b == 0 ? 0 : SIZE_MAX;
    return __builtin_mul_overflow(a, b, &product) ? SIZE_MAX : product;
}

size_t size_align(size_t bytes) {
    const size_t up = size_add(bytes, MEMORY_LINE - 1);
    return up == SIZE_MAX ? up : up / MEMORY_LINE * MEMORY_LINE;
}

void *memory_take(size_t bytes) {
    const size_t whole = size_align(bytes == 0 ? 1 : bytes);
    return whole == SIZE_MAX ? NULL : aligned_alloc(MEMORY_LINE, whole);
}

void *memory_take_zeroed(size_t bytes) {
    void *block = memory_take(bytes);
    if (block != NULL) memset(block, 0, bytes);
    return block;
}

void memory_free(void *block) { free(block); }

int64_t memory_peak_bytes(void) {
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
#ifdef __APPLE__
    return usage.ru_maxrss;
#else
    return (int64_t)usage.ru_maxrss * 1024;
#endif
}
