// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <time.h>

static inline double clock_read(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
static inline double clock_seconds(void) { return clock_read(CLOCK_MONOTONIC); }
// This thread's CPU time: steadier than the wall beside busy neighbours.
static inline double clock_thread_seconds(void) { return clock_read(CLOCK_THREAD_CPUTIME_ID); }
