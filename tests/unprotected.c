// SPDX-License-Identifier: Apache-2.0
// empty:nan is an unprotected softmax to the end: a NaN behind a mask reaches every row of its sequence, and no other sequence;
// the same data under empty:zero stays finite. Every implementation agrees with ref, element by element.
#include "test.h"

#include "compare/check.h"
#include "core/problem.h"
#include "cpu/kernels.h"

#include <math.h>
#include <string.h>

// Two sequences of 6 rows; the first has two left pads, whose keys or values hold what a first layer left there.
static void poison(check_case *c, bool key, float x, int64_t channel) {
    const heed_problem *p = &c->data.problem;
    int32_t *range = (int32_t *)(uintptr_t)c->data.args.key_range;
    memcpy(range, (const int32_t[]){2, 6, 0, 6}, 4 * sizeof *range);
    const problem_array a = problem_array_of(p, key ? PROBLEM_K : PROBLEM_V);
    const void *array = key ? c->data.args.k : c->data.args.v;
    for (int64_t g = 0; g < a.heads; g++)
        ((float *)row_at_mut(a.dtype, (void *)(uintptr_t)array, a.stride, 0, g, 1))[channel] = x;
    ref_compute(p, &c->data.args, &c->reference, c->memory);
    plain_compute(p, &c->data.args, &c->plain, c->memory);
}

// How many of the rows' elements of a sequence are NaN.
static int64_t count_nan(const heed_problem *p, const float *out, int64_t batch) {
    int64_t n = 0;
    const int64_t size = p->heads * p->queries * p->value_channels;
    for (int64_t i = 0; i < size; i++) n += isnan(out[batch * size + i]);
    return n;
}

static void test_case(const char *text, bool key, float x, const char *impl, const char *cpu) {
    problem_line line;
    check_case c;
    check_report report;
    heed_error error = {.text = ""};
    CHECK(problem_line_parse(&line, text, &error) == HEED_OK, "%s: %s", text, error.text);
    CHECK(check_begin(&c, &line, false, &error) == HEED_OK, "%s: %s", text, error.text);
    poison(&c, key, x, 3);
    const heed_problem *p = &c.data.problem;
    const heed_choice choice = {.implementation = impl, .cpu = cpu, .threads = 2};
    CHECK(check_run(&c, &choice, &report, &error) == HEED_OK, "%s: %s: %s", impl, text, error.text);
    CHECK(report.pass, "%s on %s differs from ref: %s", impl, cpu, text);
    // The pads' own rows are empty. Under causal every other row hides key 1 too, being a pad.
    const int64_t rows = p->heads * p->queries, whole = rows * p->value_channels;
    const int64_t pads = p->heads * 2 * p->value_channels, others = p->heads * 4;
    const bool nan = p->empty_row == HEED_EMPTY_NAN;
    const int64_t expected = !nan ? 0 : key ? whole : pads + others;    // a value spoils its channel only
    CHECK(count_nan(p, c.data.args.out, 0) == expected, "%s, %s: %lld of %lld elements are NaN, expected %lld", impl, text,
          (long long)count_nan(p, c.data.args.out, 0), (long long)whole, (long long)expected);
    CHECK(count_nan(p, c.data.args.out, 1) == 0, "%s, %s: the sequence without padding holds NaN", impl, text);
    check_end(&c);
}

int main(void) {
    const cpu_kernels *kernels;
    const char *cpu;
    for (int row = 0; (cpu = cpu_kernels_row(row, &kernels)) != NULL; row++) {
        if (kernels == NULL) continue;
        for (const heed_impl *const *impl = heed_impls; *impl != NULL; impl++) {
            if ((*impl)->pass != HEED_FORWARD) continue;
            for (int key = 0; key < 2; key++) {
                test_case("b2 h4/2 q6 d8 causal pad:left empty:nan", key, NAN, (*impl)->name, cpu);
                test_case("b2 h4/2 q6 d8 causal pad:left empty:nan", key, INFINITY, (*impl)->name, cpu);
                test_case("b2 h4/2 q6 d8 causal pad:left", key, NAN, (*impl)->name, cpu);
            }
        }
    }
    return test_end();
}
