// SPDX-License-Identifier: Apache-2.0
#include "core/impl.h"
#include "core/problem.h"
#include "core/unprotected.h"

#include <stdlib.h>
#include <string.h>

#define STRING(x) #x
#define VERSION(major, minor, patch) STRING(major) "." STRING(minor) "." STRING(patch)

const char *heed_version(void) { return VERSION(HEED_VERSION_MAJOR, HEED_VERSION_MINOR, HEED_VERSION_PATCH); }

enum { WORKERS_MAX = 1024 };    // beyond any machine: a bound for workspace, not a promise of speed

static heed_status team_of(const heed_choice *choice, threads *team, heed_error *error) {
    *team = (threads){.workers = threads_available()};
    if (choice != NULL) {
        if (choice->threads < 0 || choice->threads > WORKERS_MAX)
            return error_set(error, HEED_INVALID, "threads is %d; it must be 0 (all) to %d", choice->threads, WORKERS_MAX);
        if (choice->threads > 0) team->workers = choice->threads;
        team->parallel = choice->parallel;
        team->pool = choice->pool;
    }
    if (team->workers > WORKERS_MAX) team->workers = WORKERS_MAX;
    return HEED_OK;
}

static heed_status plan_fill(heed_plan *plan, const heed_problem *problem, const heed_choice *choice, heed_error *error) {
    heed_status status;
    if ((status = problem_complete(problem, &plan->problem, error)) != HEED_OK) return status;
    if ((status = machine_describe(choice, &plan->machine, error)) != HEED_OK) return status;
    if ((status = team_of(choice, &plan->team, error)) != HEED_OK) return status;
    if ((status = dispatch_choose(&plan->problem, &plan->machine, choice, &plan->impl, error)) != HEED_OK) return status;
    if ((status = plan->impl->plan(plan, error)) != HEED_OK) return status;
    if (heed_workspace_bytes(plan) > SIZE_MAX / 4)
        return error_set(error, HEED_NO_MEMORY, "%s: the workspace of this problem overflows the address space", plan->impl->name);
    return HEED_OK;
}

heed_status heed_plan_create(heed_plan **plan, const heed_problem *problem, const heed_choice *choice, heed_error *error) {
    if (plan == NULL) return error_set(error, HEED_INVALID, "plan is NULL");
    *plan = NULL;
    heed_plan *made = calloc(1, sizeof *made);
    if (made == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for a plan of %zu bytes", sizeof *made);
    const heed_status status = plan_fill(made, problem, choice, error);
    if (status == HEED_OK) *plan = made;
    else free(made);
    return status;
}

void heed_plan_destroy(heed_plan *plan) { free(plan); }

size_t heed_workspace_bytes(const heed_plan *plan) {
    return size_add(size_align(plan->shared_bytes), size_mul((size_t)plan->team.workers, size_align(plan->worker_bytes)));
}

const char *heed_plan_implementation(const heed_plan *plan) { return plan->impl->name; }
const char *heed_plan_cpu(const heed_plan *plan) { return plan->machine.cpu_name; }

static void zero_rows(const heed_problem *p, int which, void *array) {
    const problem_array a = problem_array_of(p, which);
    for (int64_t b = 0; b < p->batch; b++)
        for (int64_t h = 0; h < a.heads; h++)
            for (int64_t t = 0; t < a.tokens; t++)
                memset(row_at_mut(a.dtype, array, a.stride, b, h, t), 0, (size_t)a.channels * dtype_bytes(a.dtype));
}

// The gradients of no rows at all: sums over nothing.
static void write_zero_gradients(const heed_problem *p, const heed_args *a) {
    zero_rows(p, PROBLEM_DK, a->dk);
    zero_rows(p, PROBLEM_DV, a->dv);
    if (a->dsinks != NULL) memset(a->dsinks, 0, (size_t)p->heads * sizeof(float));
    if (a->dslopes != NULL) memset(a->dslopes, 0, (size_t)p->heads * sizeof(float));
    if (a->dbias != NULL) memset(a->dbias, 0, (size_t)problem_grid_size(p, p->bias_axes) * dtype_bytes(p->bias_dtype));
}

heed_status heed_run(const heed_plan *plan, const heed_args *args, heed_error *error) {
    if (plan == NULL) return error_set(error, HEED_INVALID, "plan is NULL");
    if (threads_inside()) return error_set(error, HEED_INVALID, "heed_run was called from inside a mask or score function");
    const heed_problem *p = &plan->problem;
    const heed_status status = problem_check_args(p, args, heed_workspace_bytes(plan), error);
    if (status != HEED_OK) return status;
    const bool rows = p->batch > 0 && p->queries > 0;
    if (rows) plan->impl->run(plan, args);
    if (rows && p->pass == HEED_FORWARD && p->empty_row == HEED_EMPTY_NAN) unprotected_spread(p, args);
    if (!rows && p->pass == HEED_BACKWARD && p->batch > 0) write_zero_gradients(p, args);
    return HEED_OK;
}
