// SPDX-License-Identifier: Apache-2.0
// What an implementation is and may call: the one header of core that algorithms include.
#pragma once

#include "base/dtype.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/threads.h"
#include "core/edit.h"
#include "heed/heed.h"

struct cpu_kernels;    // cpu/kernels.h

// What an implementation may know of the machine when it refuses, prices and plans.
typedef struct {
    const struct cpu_kernels *cpu;    // the table in use
    const char *cpu_name;             // "avx512"
} heed_machine;

// The machine as the caller's choice (and HEED_CPU) restrict it. Defined by registry.c.
heed_status machine_describe(const heed_choice *choice, heed_machine *machine, heed_error *error);

typedef const char *heed_refusal;    // NULL: accepts. Otherwise one static sentence.

typedef struct heed_impl {
    const char *name;    // "cpu.flash"
    heed_pass pass;
    bool only_when_named;    // never chosen by cost
    // The problem is valid and every default is filled in (problem_complete).
    heed_refusal (*refuse)(const heed_problem *, const heed_machine *);
    double (*cost)(const heed_problem *, const heed_machine *);    // nanoseconds by rates.def, of one sequence, on one thread
    heed_status (*plan)(heed_plan *, heed_error *);                // tiles and workspace; no compute
    void (*run)(const heed_plan *, const heed_args *);             // args are checked; nothing can fail any more
} heed_impl;

#define REFUSE_UNLESS(condition, sentence) do { if (!(condition)) return (sentence); } while (0)

// What the problem can say and nothing can compute yet: the one home of these sentences.
heed_refusal refuse_unbuilt(const heed_problem *complete);

// Defined by registry.c, declared here, so that core reaches the implementations without naming them. Ends with NULL.
extern const heed_impl *const heed_impls[];

// The cheapest implementation that accepts the problem, or the one named. Never another than the one named.
heed_status dispatch_choose(const heed_problem *complete, const heed_machine *, const heed_choice *, const heed_impl **,
                            heed_error *);

struct heed_plan {
    heed_problem problem;    // complete: no field that still means "default"
    heed_machine machine;
    const heed_impl *impl;
    threads team;
    // Set by impl->plan. Tiles are functions of one sequence's shape, the types, the masks and the instruction set only.
    int64_t tile_query, tile_key;
    size_t shared_bytes, worker_bytes;    // workspace = shared_bytes + team.workers * worker_bytes, each rounded up to lines
    int64_t note[8];                      // an implementation's own numbers
};

static inline void *plan_shared(const heed_args *a) { return a->workspace; }
static inline void *plan_scratch(const heed_plan *plan, const heed_args *a, int worker) {
    return (char *)a->workspace + size_align(plan->shared_bytes) + (size_t)worker * size_align(plan->worker_bytes);
}

// Where row (batch, head, token) of an array begins.
static inline const void *row_at(heed_dtype type, const void *array, heed_stride s, int64_t batch, int64_t head, int64_t token) {
    return (const char *)array + (batch * s.batch + head * s.head + token * s.token) * (int64_t)dtype_bytes(type);
}
static inline void *row_at_mut(heed_dtype type, void *array, heed_stride s, int64_t batch, int64_t head, int64_t token) {
    return (char *)array + (batch * s.batch + head * s.head + token * s.token) * (int64_t)dtype_bytes(type);
}
