// SPDX-License-Identifier: Apache-2.0
// The only home of OpenMP. A second pool beside the one oneDNN uses would cost a third of the speed.
#pragma once

#include <stdbool.h>
#include <stdint.h>

// A caller's pool (heed_choice.parallel); parallel NULL: OpenMP.
typedef struct {
    int workers;    // at most so many bodies at once, at least 1
    void (*parallel)(void *pool, int64_t n, void (*body)(void *context, int64_t i), void *context);
    void *pool;
} threads;

int threads_available(void);    // what OpenMP would take (OMP_NUM_THREADS, affinity)

// body(context, item, worker) for each 0 <= item < n, 0 <= worker < workers; items are handed out one at a time in order,
// and a worker runs one item at a time, so `worker` may name scratch memory. Returns when all are done.
// Equals: for (item = 0; item < n; item++) body(context, item, 0);
// One item, one worker, a call from inside a body, and a child after fork (where OpenMP would hang) run inline.
void threads_for(const threads *team, int64_t n, void (*body)(void *context, int64_t item, int worker), void *context);

bool threads_inside(void);    // is this thread running a body now?
