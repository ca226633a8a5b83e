// SPDX-License-Identifier: Apache-2.0
// No signal handler: a handler borrows the stack of the thread it interrupts, and oneDNN's compiled products keep data below
// the stack pointer (one interrupted run in four ended in a damaged heap). So the computing threads block both signals, and a
// thread of its own waits for them.
#include "train/stop.h"

#include "base/clock.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#define ECHO_SECONDS 0.5    // a launcher may pass on what the terminal has sent already: that is one request, not two

static _Atomic int received;

static void wanted_signals(sigset_t *set) {
    sigemptyset(set);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGTERM);
}

static void *wait_for_signals(void *unused) {
    sigset_t set;
    double first = 0;
    wanted_signals(&set);
    for (int number; sigwait(&set, &number) == 0;) {
        if (atomic_load(&received) != 0 && clock_seconds() - first < ECHO_SECONDS) continue;
        if (atomic_load(&received) != 0) {    // the second: end as if nobody had watched
            signal(number, SIG_DFL);
            pthread_sigmask(SIG_UNBLOCK, &set, NULL);
            raise(number);
        }
        first = clock_seconds();
        atomic_store(&received, number);
    }
    return unused;
}

heed_status stop_watch(heed_error *error) {
    sigset_t set;
    pthread_t watcher;
    wanted_signals(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    const int failed = pthread_create(&watcher, NULL, wait_for_signals, NULL);
    if (failed != 0) return error_set(error, HEED_NO_MEMORY, "no thread to wait for signals: %s", strerror(failed));
    pthread_detach(watcher);
    return HEED_OK;
}

int stop_requested(void) { return atomic_load(&received); }
