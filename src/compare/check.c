// SPDX-License-Identifier: Apache-2.0
#include "compare/check.h"

#include "base/dtype.h"
#include "base/error.h"
#include "base/memory.h"
#include "core/problem.h"

#include <math.h>
#include <stdlib.h>

enum { OUT, LSE, DQ, DK, DV, DBIAS, DSINKS, DSLOPES };
static const char *const names[CHECK_OUTPUTS] = {"out", "lse", "dq", "dk", "dv", "dbias", "dsinks", "dslopes"};

static double **slot(ref_results *r, int which) {
    double **const slots[CHECK_OUTPUTS] = {&r->out, &r->lse, &r->dq, &r->dk, &r->dv, &r->dbias, &r->dsinks, &r->dslopes};
    return slots[which];
}

static int64_t size_of(const heed_problem *p, int which) {
    const int64_t queries = p->batch * p->heads * p->queries, keys = p->batch * p->kv_heads * p->keys;
    switch (which) {
    case OUT: return queries * p->value_channels;
    case LSE: return queries;
    case DQ: return queries * p->channels;
    case DK: return keys * p->channels;
    case DV: return keys * p->value_channels;
    case DBIAS: return p->with & HEED_BIAS ? problem_grid_size(p, p->bias_axes) : 0;
    case DSINKS: return p->with & HEED_SINKS ? p->heads : 0;
    default: return p->with & HEED_SLOPES ? p->heads : 0;
    }
}

static int first_output(const heed_problem *p) { return p->pass == HEED_FORWARD ? OUT : DQ; }
static int end_output(const heed_problem *p) { return p->pass == HEED_FORWARD ? DQ : CHECK_OUTPUTS; }

static heed_dtype type_of(const heed_problem *p, int which) {
    switch (which) {
    case OUT: case DQ: return p->dtype;
    case DK: case DV: return p->kv_dtype;
    case DBIAS: return p->bias_dtype;
    default: return HEED_F32;
    }
}

// What the stored result holds at dense index `at`.
static double stored(const drawn *d, int which, int64_t at) {
    const heed_args *a = &d->args;
    static const int array_of[] = {[OUT] = PROBLEM_OUT, [DQ] = PROBLEM_DQ, [DK] = PROBLEM_DK, [DV] = PROBLEM_DV};
    const void *const memory[CHECK_OUTPUTS] = {a->out, a->lse, a->dq, a->dk, a->dv, a->dbias, a->dsinks, a->dslopes};
    if (which == LSE || which >= DBIAS) return (double)dtype_load(type_of(&d->problem, which), memory[which], at);
    const problem_array x = problem_array_of(&d->problem, array_of[which]);
    const int64_t channel = at % x.channels, token = at / x.channels % x.tokens, head = at / x.channels / x.tokens % x.heads;
    const int64_t batch = at / x.channels / x.tokens / x.heads;
    return (double)dtype_load(x.dtype, row_at(x.dtype, memory[which], x.stride, batch, head, token), channel);
}

// Backward reads out and lse: the reference's, rounded once.
static void give_forward(check_case *c) {
    drawn *d = &c->data;
    const problem_array x = problem_array_of(&d->problem, PROBLEM_OUT);
    for (int64_t at = 0, n = size_of(&d->problem, OUT); at < n; at++) {
        const int64_t row = at / x.channels;
        void *to = row_at_mut(x.dtype, d->args.out, x.stride, row / x.tokens / x.heads, row / x.tokens % x.heads, row % x.tokens);
        dtype_store(x.dtype, to, at % x.channels, (float)c->reference.out[at]);
    }
    for (int64_t at = 0, n = size_of(&d->problem, LSE); at < n; at++) d->args.lse[at] = (float)c->reference.lse[at];
}

static int64_t wanted_size(const heed_problem *p, int which) {
    return p->pass == HEED_FORWARD && which >= DQ ? 0 : size_of(p, which);
}

static void take_results(const heed_problem *p, char **at, ref_results *r) {
    for (int which = 0; which < CHECK_OUTPUTS; which++) {
        const int64_t n = wanted_size(p, which);
        if (n == 0) continue;
        *slot(r, which) = (double *)*at;
        *at += size_align((size_t)n * sizeof(double));
    }
}

static size_t results_bytes(const heed_problem *p) {
    size_t bytes = 0;
    for (int which = 0; which < CHECK_OUTPUTS; which++)
        bytes = size_add(bytes, size_align(size_mul((size_t)wanted_size(p, which), sizeof(double))));
    return bytes;
}

heed_status check_begin(check_case *c, const problem_line *line, bool poison, heed_error *error) {
    *c = (check_case){.memory = NULL};
    heed_status status = drawn_make(&c->data, line, error);
    if (status != HEED_OK) return status;
    const heed_problem *p = &c->data.problem;
    heed_args args = c->data.args;    // without workspace: ref has its own
    args.workspace = NULL;
    if ((status = problem_check_args(p, &args, 0, error)) != HEED_OK) return status;
    if (poison) drawn_poison(&c->data);
    const size_t scratch = size_align(floor_scratch_bytes(p));
    c->memory = memory_take(size_add(scratch, size_mul(3, results_bytes(p))));
    if (c->memory == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for the reference of this problem");
    char *at = (char *)c->memory + scratch;
    take_results(p, &at, &c->reference);
    take_results(p, &at, &c->plain);
    take_results(p, &at, &c->floor);
    ref_compute(p, &c->data.args, &c->reference, c->memory);
    plain_compute(p, &c->data.args, &c->plain, c->memory);
    floor_compute(p, &c->data.args, &c->floor, c->memory);
    if (p->pass == HEED_BACKWARD) give_forward(c);
    return HEED_OK;
}

void check_end(check_case *c) {
    drawn_free(&c->data);
    memory_free(c->memory);
    c->memory = NULL;
}

// One unit in the last place of the type, at magnitude x. f16's subnormals begin where results still lie: 2^-24 apart.
static double ulp_at(heed_dtype type, double x) {
    const int digits = type == HEED_BF16 ? 7 : type == HEED_F16 ? 10 : 23;
    if (x == 0) return 0;
    return type == HEED_F16 ? fmax(0x1p-24, ldexp(1, ilogb(x) - digits)) : ldexp(1, ilogb(x) - digits);
}

// Beyond the type's largest number infinity is right: what is stored is rounded as IEEE says.
static double difference(heed_dtype type, double result, double right) {
    if (isfinite(result) && isfinite(right)) return fabs(result - right);
    if (isinf(result) && fabs(right) > dtype_most(type)) return signbit(result) == signbit(right) ? 0 : INFINITY;
    if (isnan(result) && isnan(right)) return 0;
    return result == right ? 0 : INFINITY;
}

static check_output judge(const check_case *c, int which) {
    const heed_problem *p = &c->data.problem;
    check_case *mutable_case = (check_case *)(uintptr_t)c;
    const double *right = *slot(&mutable_case->reference, which), *plain = *slot(&mutable_case->plain, which);
    const double *floor = *slot(&mutable_case->floor, which);
    check_output o = {.name = names[which]};
    double e = 0, r = 0;
    for (int64_t i = 0, n = size_of(p, which); i < n; i++) {
        const double d = difference(type_of(p, which), stored(&c->data, which, i), right[i]);
        if (d > o.error) o.error = d, o.worst = i;
        if (!isfinite(right[i])) continue;
        o.most = fmax(o.most, fabs(right[i]));
        if (isfinite(plain[i])) e = fmax(e, fabs(plain[i] - right[i]));
        if (isfinite(floor[i])) r = fmax(r, floor[i]);
    }
    o.bound = (which < DQ ? 2 : 3) * e + r + ulp_at(type_of(p, which), o.most);
    o.pass = o.error <= o.bound;
    return o;
}

heed_status check_run(check_case *c, const heed_choice *choice, check_report *report, heed_error *error) {
    heed_plan *plan;
    heed_status status = heed_plan_create(&plan, &c->data.line.problem, choice, error);
    if (status != HEED_OK) return status;
    heed_args args = c->data.args;
    args.workspace_bytes = heed_workspace_bytes(plan);
    args.workspace = memory_take(args.workspace_bytes);
    if (args.workspace == NULL)
        status = error_set(error, HEED_NO_MEMORY, "no memory for a workspace of %zu bytes", args.workspace_bytes);
    drawn_reset_outputs(&c->data);
    if (status == HEED_OK) status = heed_run(plan, &args, error);
    *report = (check_report){.implementation = heed_plan_implementation(plan), .cpu = heed_plan_cpu(plan), .pass = true};
    memory_free(args.workspace);
    heed_plan_destroy(plan);
    if (status != HEED_OK) return status;
    const heed_problem *p = &c->data.problem;
    for (int which = first_output(p); which < end_output(p); which++) {
        if (size_of(p, which) == 0) continue;
        const check_output o = judge(c, which);
        report->output[report->outputs++] = o;
        report->pass &= o.pass;
    }
    report->guards_whole = drawn_guards_whole(&c->data);
    report->pass &= report->guards_whole;
    return HEED_OK;
}
