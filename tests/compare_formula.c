// SPDX-License-Identifier: Apache-2.0
// The diagnosis computes formulas of its own (src/compare/formula_*.c), so that it can vary them. Where nothing varies they
// must be the definition: random problems against ref, forward and backward, to the rounding of doubles.
#include "base/memory.h"
#include "compare/formula.h"
#include "core/problem.h"
#include "test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PROBLEMS = 400, SIZE = 24 };

static double *take(int64_t n) { return calloc((size_t)(n > 0 ? n : 1), sizeof(double)); }

static ref_results results_for(const heed_problem *p) {
    const int64_t rows = p->batch * p->heads * p->queries, keys = p->batch * p->kv_heads * p->keys;
    ref_results r = {.out = take(rows * p->value_channels), .lse = take(rows)};
    if (p->pass == HEED_FORWARD) return r;
    r.dq = take(rows * p->channels);
    r.dk = take(keys * p->channels);
    r.dv = take(keys * p->value_channels);
    if (p->with & HEED_BIAS) r.dbias = take(problem_grid_size(p, p->bias_axes));
    if (p->with & HEED_SINKS) r.dsinks = take(p->heads);
    if (p->with & HEED_SLOPES) r.dslopes = take(p->heads);
    return r;
}

static void results_free(ref_results *r) {
    double *const all[] = {r->out, r->lse, r->dq, r->dk, r->dv, r->dbias, r->dsinks, r->dslopes};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

// Largest difference relative to the largest right value, or to 1e-3 where all cancel; infinite where one is not finite.
static double apart(const double *a, const double *b, int64_t n) {
    double most = 1e-300, error = 0;
    for (int64_t i = 0; a != NULL && i < n; i++) {
        if (isfinite(b[i])) most = fmax(most, fabs(b[i]));
        if (isnan(a[i]) != isnan(b[i]) || isinf(a[i]) != isinf(b[i]) || (isinf(a[i]) && a[i] != b[i])) return INFINITY;
        if (isfinite(a[i])) error = fmax(error, fabs(a[i] - b[i]));
    }
    return error / fmax(most, 1e-3);
}

static void compare(const char *text, const heed_problem *p, const ref_results *mine, const ref_results *right) {
    const int64_t rows = p->batch * p->heads * p->queries, keys = p->batch * p->kv_heads * p->keys;
    const struct { const char *name; const double *a, *b; int64_t n; } all[] = {
        {"out", mine->out, right->out, rows * p->value_channels}, {"lse", mine->lse, right->lse, rows},
        {"dq", mine->dq, right->dq, rows * p->channels}, {"dk", mine->dk, right->dk, keys * p->channels},
        {"dv", mine->dv, right->dv, keys * p->value_channels},
        {"dbias", mine->dbias, right->dbias, p->with & HEED_BIAS ? problem_grid_size(p, p->bias_axes) : 0},
        {"dsinks", mine->dsinks, right->dsinks, p->heads}, {"dslopes", mine->dslopes, right->dslopes, p->heads},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const double error = apart(all[i].a, all[i].b, all[i].n);
        CHECK(error < 1e-9, "%s: %s of the unvaried formula is %g away from ref", text, all[i].name, error);
    }
}

static void one(const char *text) {
    problem_line line;
    drawn d;
    call c;
    formula f = {0};
    heed_error error;
    if (problem_line_parse(&line, text, &error) != HEED_OK || drawn_make(&d, &line, &error) != HEED_OK) {
        CHECK(false, "%s: %s", text, error.text);
        return;
    }
    const heed_problem *p = &d.problem;
    ref_results mine = results_for(p), right = results_for(p);
    void *scratch = memory_take(floor_scratch_bytes(p));
    ref_compute(p, &d.args, &right, scratch);
    CHECK(call_of_drawn(&c, &d, &error) == HEED_OK, "%s: %s", text, error.text);
    const variant v = variant_of(&c);
    CHECK(formula_begin(&f, &c, &v, NULL, &error) == HEED_OK, "%s: %s", text, error.text);
    void *memory = memory_take(formula_row_bytes(&c));
    formula_row r = formula_row_at(&c, memory);
    double *out = mine.out, *lse = mine.lse;
    for (int64_t row = 0; row < p->batch * p->heads * p->queries; row++, lse++, out += p->value_channels) {
        formula_row_compute(&f, row / p->queries / p->heads, row / p->queries % p->heads, row % p->queries, &r);
        memcpy(out, r.out, (size_t)p->value_channels * sizeof *out);
        *lse = r.lse;
    }
    const threads team = {.workers = 2};
    if (p->pass == HEED_BACKWARD)
        CHECK(formula_gradients(&f, NULL, &mine, NULL, GRADIENTS_EXACT, &team, &error) == HEED_OK, "%s: %s", text, error.text);
    if (p->empty_row != HEED_EMPTY_NAN) compare(text, p, &mine, &right);
    memory_free(memory);
    memory_free(scratch);
    formula_end(&f);
    call_free(&c);
    results_free(&mine);
    results_free(&right);
    drawn_free(&d);
}

int main(int argc, char **argv) {
    random_stream r = random_of(5, 0);
    char text[256];
    if (argc > 1) {
        one(argv[1]);
    } else {
        for (int i = 0; i < PROBLEMS; i++) {
            drawn_random_text(&r, SIZE, text, sizeof text);
            one(text);
        }
    }
    return test_end();
}
