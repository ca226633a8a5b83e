// SPDX-License-Identifier: Apache-2.0
#include "base/threads.h"

#include <omp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

typedef struct {
    void (*body)(void *context, int64_t item, int worker);
    void *context;
    int64_t n;
    _Atomic int64_t next;
} queue;

static _Atomic bool forked;    // this process is a child: OpenMP's workers did not come along
static _Thread_local bool inside;

static void mark_forked(void) { atomic_store(&forked, true); }
static void watch_forks(void) { pthread_atfork(NULL, NULL, mark_forked); }

bool threads_inside(void) { return inside; }
int threads_available(void) { return omp_get_max_threads(); }

static void work(void *context, int64_t worker) {
    queue *q = context;
    const bool was_inside = inside;
    const int open = omp_get_max_threads();
    omp_set_num_threads(1);    // a body that calls a library with OpenMP of its own (oneDNN) gets this thread, no second team
    inside = true;
    for (int64_t item; (item = atomic_fetch_add(&q->next, 1)) < q->n;) q->body(q->context, item, (int)worker);
    inside = was_inside;
    omp_set_num_threads(open);
}

void threads_for(const threads *team, int64_t n, void (*body)(void *, int64_t, int), void *context) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);
    queue q = {.body = body, .context = context, .n = n};
    const int64_t workers = team->workers < n ? team->workers : n;
    if (workers <= 1 || inside || (team->parallel == NULL && (atomic_load(&forked) || omp_in_parallel()))) {
        work(&q, 0);
    } else if (team->parallel != NULL) {
        team->parallel(team->pool, workers, work, &q);
    } else {
#pragma omp parallel num_threads((int)workers)
        work(&q, omp_get_thread_num());
    }
}
