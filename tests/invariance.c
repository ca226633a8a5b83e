// SPDX-License-Identifier: Apache-2.0
// The same bits for any number of threads, any batch neighbours, and a caller's own pool; forward and backward.
#include "base/memory.h"
#include "compare/drawn.h"
#include "core/impl.h"
#include "core/problem.h"
#include "test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

// ---- A pool of pthreads -------------------------------------------------------------------------------------------

enum { POOL = 3 };
typedef struct { void (*body)(void *, int64_t); void *context; int64_t n; _Atomic int64_t next; } job;

static void *pool_worker(void *argument) {
    job *j = argument;
    for (int64_t i; (i = atomic_fetch_add(&j->next, 1)) < j->n;) j->body(j->context, i);
    return NULL;
}

static void pool_run(void *pool, int64_t n, void (*body)(void *, int64_t), void *context) {
    job j = {.body = body, .context = context, .n = n};
    pthread_t thread[POOL];
    for (int i = 0; i < POOL; i++) pthread_create(&thread[i], NULL, pool_worker, &j);
    for (int i = 0; i < POOL; i++) pthread_join(thread[i], NULL);
    (*(int *)pool)++;
}

// ---- Runs ---------------------------------------------------------------------------------------------------------

// The bytes of all outputs of the pass, one after another.
typedef struct { unsigned char *bytes; size_t n; } results;

static void append(results *r, const void *bytes, size_t n) {
    if (bytes == NULL) return;
    r->bytes = realloc(r->bytes, r->n + n + 1);
    memcpy(r->bytes + r->n, bytes, n);
    r->n += n;
}

// Sequence b alone, from dense arrays.
static const void *sequence(const heed_problem *p, int which, const void *array, int64_t b, size_t *bytes) {
    const problem_array a = problem_array_of(p, which);
    *bytes = (size_t)a.stride.batch * dtype_bytes(a.dtype);
    return (const char *)array + (size_t)b * *bytes;
}

static results results_of(const heed_problem *p, const heed_args *a, int64_t b0, int64_t b1) {
    results r = {NULL, 0};
    const struct {
        int which;
        const void *array;
    } forward[] = {{PROBLEM_OUT, a->out}}, backward[] = {{PROBLEM_DQ, a->dq}, {PROBLEM_DK, a->dk}, {PROBLEM_DV, a->dv}};
    const bool is_forward = p->pass == HEED_FORWARD;
    for (int64_t b = b0; b < b1; b++) {
        for (int i = 0; i < (is_forward ? 1 : 3); i++) {
            size_t n;
            const void *at = sequence(p, is_forward ? forward[i].which : backward[i].which,
                                      is_forward ? forward[i].array : backward[i].array, b, &n);
            append(&r, at, n);
        }
        const size_t rows = (size_t)(p->heads * p->queries);
        if (is_forward) append(&r, a->lse + (size_t)b * rows, rows * 4);
    }
    if (!is_forward && b1 - b0 == p->batch) {    // sums over the whole batch
        append(&r, a->dsinks, (size_t)p->heads * 4);
        append(&r, a->dslopes, (size_t)p->heads * 4);
        append(&r, a->dbias, a->dbias == NULL ? 0 : (size_t)problem_grid_size(p, p->bias_axes) * dtype_bytes(p->bias_dtype));
    }
    return r;
}

static bool run(const heed_problem *p, const heed_args *args, const heed_choice *choice, const char *text) {
    heed_plan *plan;
    heed_error error;
    heed_status status = heed_plan_create(&plan, p, choice, &error);
    if (status == HEED_REFUSED) return false;
    heed_args a = *args;
    if (status == HEED_OK) {
        a.workspace_bytes = heed_workspace_bytes(plan);
        a.workspace = memory_take(a.workspace_bytes);
        memset(a.workspace, 0x7f, a.workspace_bytes);    // nothing may depend on what was there
        status = heed_run(plan, &a, &error);
        memory_free(a.workspace);
    }
    CHECK(status == HEED_OK, "%s: %s: %s", text, choice->implementation, error.text);
    heed_plan_destroy(plan);
    return status == HEED_OK;
}

static void forward_for(drawn *d, const char *text) {
    if (d->problem.pass == HEED_FORWARD) return;
    heed_problem p = d->line.problem;
    p.pass = HEED_FORWARD;
    heed_args a = d->args;
    a.dout = a.dq = a.dk = a.dv = a.dbias = NULL;
    a.dsinks = a.dslopes = NULL;
    run(&p, &a, &(heed_choice){.implementation = "ref", .threads = 1}, text);
}

static void expect_equal(const results *a, results *b, const char *text, const char *implementation, const char *what) {
    CHECK(a->n == b->n && memcmp(a->bytes, b->bytes, a->n) == 0, "%s: %s: bits change with %s", text, implementation, what);
    free(b->bytes);
}

// Sequence b as a problem of its own: the same bits as among its neighbours. Dropout is a function of b: only the first is.
static void check_alone(const drawn *d, const heed_choice *choice, const char *text) {
    const heed_problem *p = &d->problem;
    for (int64_t b = 0; b < (p->dropout > 0 ? 1 : p->batch); b++) {
        results among = results_of(p, &d->args, b, b + 1);
        heed_problem one = d->line.problem;
        one.batch = 1;
        heed_args a = d->args;
        size_t n;
        const void **const inputs[] = {
            &a.q, &a.k, &a.v, (const void **)&a.out, &a.dout, (const void **)&a.dq, (const void **)&a.dk, (const void **)&a.dv};
        for (int which = 0; which < PROBLEM_ARRAYS; which++)
            if (*inputs[which] != NULL) *inputs[which] = sequence(p, which, *inputs[which], b, &n);
        a.lse += b * p->heads * p->queries;
        if (a.key_range != NULL) a.key_range += 2 * b;
        if (a.key_count != NULL) a.key_count += b;
        if (a.documents != NULL) a.documents += b * p->keys;
        if (a.mask != NULL) a.mask += b * p->bool_mask.batch;
        if (a.bias != NULL) a.bias = (const char *)a.bias + b * p->bias.batch * (int64_t)dtype_bytes(p->bias_dtype);
        a.dbias = NULL;
        a.dsinks = a.dslopes = NULL;
        run(&one, &a, &(heed_choice){.implementation = choice->implementation}, text);
        results alone = results_of(p, &d->args, b, b + 1);
        expect_equal(&among, &alone, text, choice->implementation, "batch neighbours");
        free(among.bytes);
    }
}

static void check(const char *text) {
    problem_line line;
    heed_error error;
    drawn d;
    CHECK(problem_line_parse(&line, text, &error) == HEED_OK && drawn_make(&d, &line, &error) == HEED_OK, "%s: %s", text,
          error.text);
    forward_for(&d, text);
    for (const heed_impl *const *impl = heed_impls; *impl != NULL; impl++) {
        if ((*impl)->pass != d.problem.pass || (*impl)->only_when_named) continue;
        heed_choice choice = {.implementation = (*impl)->name, .threads = 1};
        drawn_reset_outputs(&d);
        if (!run(&line.problem, &d.args, &choice, text)) continue;
        results one = results_of(&d.problem, &d.args, 0, d.problem.batch);
        for (int workers = 2; workers <= 5; workers++) {
            choice.threads = workers;
            drawn_reset_outputs(&d);
            run(&line.problem, &d.args, &choice, text);
            results many = results_of(&d.problem, &d.args, 0, d.problem.batch);
            expect_equal(&one, &many, text, choice.implementation, "threads");
        }
        int pooled = 0;
        choice = (heed_choice){.implementation = (*impl)->name, .threads = 4, .parallel = pool_run, .pool = &pooled};
        drawn_reset_outputs(&d);
        run(&line.problem, &d.args, &choice, text);
        results in_pool = results_of(&d.problem, &d.args, 0, d.problem.batch);
        expect_equal(&one, &in_pool, text, choice.implementation, "a caller's pool");
        free(one.bytes);
        check_alone(&d, &choice, text);
    }
    drawn_free(&d);
}

int main(void) {
    static const char *const texts[] = {
        "b3 h2 q65 d16",
        "b2 h4/2 q130 d64 causal",
        "b2 h4/2 q130 d64 causal grad",
        "b2 h1 q600 d32 causal grad",
        "b1 h1 q300 k700 d64 grad",
        "b3 h2 q70 d16 pad:left causal grad",
        "b2 h2 q40 d8 bias:h,q,k sink alibi grad",
        "b2 h2 q100 d64 bf16 window:30 grad",
        "b2 h2 q90 d16 docs grad",
        "b2 h3 q50 k90 d24/40 mask softcap:4 grad",
        "b2 h2 q40 d8 bias:k grad",
        "b3 h2 q33 k80 d8 count:rand sink",
        "b2 h4/2 q130 d64 causal dropout:0.2",
        "b2 h4/2 q130 d64 f16 causal dropout:0.2 grad",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) check(texts[i]);
    return test_end();
}
