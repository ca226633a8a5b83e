// SPDX-License-Identifier: Apache-2.0
// The little every C test shares: count, report where, and how to run it again.
#pragma once

#include <stdio.h>
#include <stdlib.h>

static long test_passed, test_failed, test_skipped;

// CHECK(condition, "format", ...): what failed, in words, with the values.
#define CHECK(condition, ...) \
    do { \
        if (condition) { test_passed++; break; } \
        test_failed++; \
        fprintf(stderr, "%s:%d: ", __FILE__, __LINE__); \
        fprintf(stderr, __VA_ARGS__); \
        fputc('\n', stderr); \
    } while (0)

// Names what could not be tested here; never counted as passed.
#define SKIP(...) do { test_skipped++; printf("skipped: "); printf(__VA_ARGS__); putchar('\n'); } while (0)

static inline int test_end(void) {
    printf("%ld passed, %ld failed, %ld skipped\n", test_passed, test_failed, test_skipped);
    return test_failed != 0 || test_passed == 0;
}
