// SPDX-License-Identifier: Apache-2.0
// A caller's own pool of pthreads (heed_choice.parallel): same bits as one thread, and two runs of one plan at once. This is
// the test that runs under the thread sanitizer, which cannot see into OpenMP's runtime.
#include "test.h"

#include "base/memory.h"
#include "base/random.h"
#include "core/impl.h"
#include "heed/heed.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum { POOL_THREADS = 4, ARRAYS = 9 };

// ---- The pool: made for each call, items taken from a counter -------------------------------------------------------

typedef struct {
    atomic_llong next;
    int64_t n;
    void (*body)(void *context, int64_t i);
    void *context;
} pool_job;

static void *pool_work(void *argument) {
    pool_job *job = argument;
    for (long long i; (i = atomic_fetch_add(&job->next, 1)) < job->n;) job->body(job->context, i);
    return NULL;
}

static void pool_run(void *pool, int64_t n, void (*body)(void *context, int64_t i), void *context) {
    atomic_int *calls = pool;
    atomic_fetch_add(calls, 1);
    pool_job job = {.n = n, .body = body, .context = context};
    pthread_t thread[POOL_THREADS - 1];
    for (int t = 0; t < POOL_THREADS - 1; t++) {
        if (pthread_create(&thread[t], NULL, pool_work, &job) != 0) abort();
    }
    pool_work(&job);
    for (int t = 0; t < POOL_THREADS - 1; t++) pthread_join(thread[t], NULL);
}

// ---- One problem's memory -------------------------------------------------------------------------------------------

typedef struct {
    float *q, *k, *v, *dout;                    // inputs
    float *out, *lse, *dq, *dk, *dv;            // results
    size_t n_out, n_lse, n_q, n_k, n_v;
} arrays;

static float *filled(size_t n, random_stream *random) {
    float *x = malloc(n * sizeof *x);
    if (x == NULL) abort();
    for (size_t i = 0; i < n; i++) x[i] = (float)random_normal(random);
    return x;
}

static arrays arrays_of(const heed_problem *p) {
    random_stream random = random_of(7, 1);
    int64_t kv_heads = p->kv_heads ? p->kv_heads : p->heads, keys = p->keys ? p->keys : p->queries;
    int64_t value_channels = p->value_channels ? p->value_channels : p->channels;
    arrays a = {.n_lse = (size_t)(p->batch * p->heads * p->queries)};
    a.n_q = a.n_lse * (size_t)p->channels;
    a.n_k = (size_t)(p->batch * kv_heads * keys * p->channels);
    a.n_v = (size_t)(p->batch * kv_heads * keys * value_channels);
    a.n_out = a.n_lse * (size_t)value_channels;
    a.q = filled(a.n_q, &random), a.k = filled(a.n_k, &random), a.v = filled(a.n_v, &random), a.dout = filled(a.n_out, &random);
    a.out = calloc(a.n_out, 4), a.lse = calloc(a.n_lse, 4);
    a.dq = calloc(a.n_q, 4), a.dk = calloc(a.n_k, 4), a.dv = calloc(a.n_v, 4);
    return a;
}

static void arrays_free(arrays *a) {
    float *all[ARRAYS] = {a->q, a->k, a->v, a->dout, a->out, a->lse, a->dq, a->dk, a->dv};
    for (int i = 0; i < ARRAYS; i++) free(all[i]);
}

static bool same_bits(const arrays *a, const arrays *b) {
    return !memcmp(a->out, b->out, a->n_out * 4) && !memcmp(a->lse, b->lse, a->n_lse * 4) && !memcmp(a->dq, b->dq, a->n_q * 4) &&
           !memcmp(a->dk, b->dk, a->n_k * 4) && !memcmp(a->dv, b->dv, a->n_v * 4);
}

// ---- Runs -----------------------------------------------------------------------------------------------------------

static heed_status run_plan(const heed_plan *plan, const arrays *a, heed_error *error) {
    heed_args args = {.q = a->q, .k = a->k, .v = a->v, .out = a->out, .lse = a->lse, .dout = a->dout};
    args.dq = a->dq, args.dk = a->dk, args.dv = a->dv;
    args.workspace_bytes = heed_workspace_bytes(plan);
    args.workspace = memory_take(args.workspace_bytes);
    heed_status status = heed_run(plan, &args, error);
    memory_free(args.workspace);
    return status;
}

static bool run_both(heed_problem p, const heed_choice *choice, const arrays *a, heed_error *error) {
    for (int pass = HEED_FORWARD; pass <= HEED_BACKWARD; pass++) {
        p.pass = (heed_pass)pass;
        heed_plan *plan;
        if (heed_plan_create(&plan, &p, choice, error) != HEED_OK) return false;
        heed_status status = run_plan(plan, a, error);
        heed_plan_destroy(plan);
        if (status != HEED_OK) return false;
    }
    return true;
}

static void test_same_bits(const char *text, const char *implementation) {
    heed_problem p;
    heed_error error = {0};
    CHECK(heed_problem_parse(&p, text, &error) == HEED_OK, "%s: %s", text, error.text);
    arrays one = arrays_of(&p), pooled = arrays_of(&p);
    atomic_int calls = 0;
    heed_choice alone = {.implementation = implementation, .threads = 1};
    heed_choice pool = {.implementation = implementation, .threads = POOL_THREADS, .parallel = pool_run, .pool = &calls};
    CHECK(run_both(p, &alone, &one, &error), "%s by %s on one thread: %s", text, implementation, error.text);
    CHECK(run_both(p, &pool, &pooled, &error), "%s by %s on a pool: %s", text, implementation, error.text);
    CHECK(atomic_load(&calls) > 0, "%s by %s never used the caller's pool", text, implementation);
    CHECK(same_bits(&one, &pooled), "%s by %s: a pool of threads gives other bits than one thread", text, implementation);
    arrays_free(&one), arrays_free(&pooled);
}

typedef struct { const heed_plan *plan; arrays memory; heed_status status; heed_error error; } concurrent_run;

static void *run_concurrently(void *argument) {
    concurrent_run *run = argument;
    run->status = run_plan(run->plan, &run->memory, &run->error);
    return NULL;
}

// A plan is immutable: any number of threads run it at once, each on its own memory.
static void test_one_plan_many_runs(const char *text, const char *implementation) {
    heed_problem p;
    heed_error error = {0};
    atomic_int calls = 0;
    heed_choice pool = {.implementation = implementation, .threads = 2, .parallel = pool_run, .pool = &calls};
    heed_plan *plan = NULL;
    heed_status status = heed_problem_parse(&p, text, &error);
    if (status == HEED_OK) status = heed_plan_create(&plan, &p, &pool, &error);
    CHECK(status == HEED_OK, "%s: %s", text, error.text);
    if (plan == NULL) return;
    enum { RUNS = 3 };
    concurrent_run run[RUNS];
    pthread_t thread[RUNS];
    for (int i = 0; i < RUNS; i++) {
        run[i] = (concurrent_run){.plan = plan, .memory = arrays_of(&p)};
        if (pthread_create(&thread[i], NULL, run_concurrently, &run[i]) != 0) abort();
    }
    for (int i = 0; i < RUNS; i++) pthread_join(thread[i], NULL);
    for (int i = 0; i < RUNS; i++) {
        CHECK(run[i].status == HEED_OK, "run %d of %s: %s", i, text, run[i].error.text);
        CHECK(same_bits(&run[0].memory, &run[i].memory), "runs 0 and %d of one plan differ: %s by %s", i, text, implementation);
    }
    for (int i = 0; i < RUNS; i++) arrays_free(&run[i].memory);
    heed_plan_destroy(plan);
}

int main(void) {
    static const char *const text[] = {"b2 h4/2 q150 k150 d32 causal", "b1 h1 q300 k300 d16",
                                       "b3 h2 q40 k90 d24/40 causal window:33"};
    for (const heed_impl *const *impl = heed_impls; *impl != NULL; impl++) {
        if ((*impl)->pass != HEED_FORWARD || strncmp((*impl)->name, "cpu.", 4) != 0) continue;
        for (size_t t = 0; t < sizeof text / sizeof *text; t++) test_same_bits(text[t], (*impl)->name);
        test_one_plan_many_runs("b2 h4/2 q100 k100 d32 causal", (*impl)->name);
    }
    return test_end();
}
