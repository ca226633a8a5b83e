// SPDX-License-Identifier: Apache-2.0
#include "cli/size.h"

#include <unistd.h>

#include "base/dtype.h"
#include "base/memory.h"
#include "core/problem.h"

// A dense count of elements in bytes of the type; double, since nothing must overflow before it is judged.
static double array_bytes(const heed_problem *p, int which) {
    const problem_array a = problem_array_of(p, which);
    const double rows = (double)p->batch * (double)a.heads * (double)a.tokens;
    return rows * (double)a.channels * (double)dtype_bytes(a.dtype);
}

size_t size_arrays(const heed_problem *p) {
    double bytes = 4.0 * (double)p->batch * (double)p->heads * (double)p->queries;    // lse
    const int arrays = p->pass == HEED_FORWARD ? PROBLEM_DOUT : PROBLEM_ARRAYS;
    for (int i = 0; i < arrays; i++) bytes += array_bytes(p, i);
    if (p->with & HEED_BIAS) bytes += (p->pass == HEED_FORWARD ? 1 : 2) * 4.0 * (double)problem_grid_size(p, p->bias_axes);
    if (p->with & HEED_MASK) bytes += (double)problem_grid_size(p, p->mask_axes);
    return bytes < 1e18 ? (size_t)bytes : SIZE_MAX;
}

static double memory_bytes(void) { return (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGE_SIZE); }

static heed_status allow(const heed_problem *p, double factor, heed_error *error) {
    const double wanted = factor * (double)size_arrays(p), most = memory_bytes() / 2;
    if (wanted <= most) return HEED_OK;
    return error_set(error, HEED_REFUSED,
                     "the problem needs about %.3g GB for its arrays; allowed is half of this machine's memory, %.3g GB",
                     wanted * 1e-9, most * 1e-9);
}

heed_status size_allow(const heed_problem *problem, heed_error *error) {
    heed_problem p;
    const heed_status status = problem_complete(problem, &p, error);
    return status == HEED_OK ? allow(&p, 1, error) : status;
}

enum { REFERENCE_GFLOP = 100 };    // in double, value by value, three times over: some minutes

heed_status size_allow_reference(const heed_problem *problem, heed_error *error) {
    heed_problem p;
    heed_status status = problem_complete(problem, &p, error);
    if (status == HEED_OK) status = allow(&p, 8, error);    // ref, plain and floor hold doubles of every output
    if (status != HEED_OK) return status;
    const double passes = p.pass == HEED_FORWARD ? 2 : 5;
    const double gflop = passes * (double)(p.channels + p.value_channels) * problem_visible(&p) * 1e-9;
    if (gflop <= REFERENCE_GFLOP) return HEED_OK;
    return error_set(error, HEED_REFUSED, "the problem has %.3g Gflop; ref, which computes in double, is given at most %d", gflop,
                     REFERENCE_GFLOP);
}
