// SPDX-License-Identifier: Apache-2.0
// Two correct computations of one call are SAME or ROUNDING, never another formula: heed's implementations on each instruction
// set this processor has, and correct roundings simulated (floor_simulate forward, gradient_way backward), two of them drawn for
// each drawn problem. Every 16th problem is up to 600 long.
//   test_compare_clean [PAIRS] [SEED]        test_compare_clean "PROBLEM" WAY WAY
#include "base/memory.h"
#include "compare/call_run.h"
#include "compare/gradient.h"
#include "compare/verdict.h"
#include "core/problem.h"
#include "test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE = 28, LONG = 600, EVERY = 16 };

// A way to compute: an implementation and instruction set, or a simulation of rows and one of gradients over what ref gives.
typedef struct { const char *implementation, *cpu; int rows; gradient_way gradients; } way;
static const way ways[] = {
    {"cpu.flash", "avx512", -1, 0}, {"cpu.flash", "avx2", -1, 0}, {"cpu.flash", "scalar", -1, 0},
    {"cpu.eager", "avx512", -1, 0}, {"cpu.eager", "avx2", -1, 0}, {"ref", NULL, -1, 0},
    {"ref", NULL, 0, GRADIENTS_TILES}, {"ref", NULL, 1, GRADIENTS_TILES}, {"ref", NULL, 2, GRADIENTS_STAGES},
};
enum { WAYS = sizeof ways / sizeof *ways };
static long kinds[5], skipped;

static void simulate_rows(const call *c, int simulation, ref_results *to) {
    formula f;
    heed_error error;
    const variant v = variant_of(c);
    if (formula_begin(&f, c, &v, NULL, &error) != HEED_OK) return;
    char *memory = memory_take(formula_row_bytes(c) + floor_scratch_floats(c) * 4 + 64);
    formula_row r = formula_row_at(c, memory);
    const int64_t Dv = c->value_channels;
    for (int64_t i = 0; i < c->batch * c->heads * c->queries; i++) {
        formula_row_compute(&f, i / c->queries / c->heads, i / c->queries % c->heads, i % c->queries, &r);
        if (!r.empty)
            floor_simulate(&f, &r, simulation, (float *)(memory + formula_row_bytes(c)), to->out + i * Dv, &to->lse[i]);
    }
    memory_free(memory);
    formula_end(&f);
}

static void simulate_gradients(const call *c, gradient_way rounding, call_results *r) {
    heed_error error;
    predictor by;
    gradients g;
    const observed seen = call_results_observed(r);
    const gradient_variant claim = {variant_of(c), false};
    if (!gradients_observed(&seen) || predictor_begin(&by, c, 1, &error) != HEED_OK) return;
    if (gradients_make(&g, &by, &claim, &seen, rounding, &error) == HEED_OK) {
        double *const to[GRADIENTS] = {r->of.dq, r->of.dk, r->of.dv, r->of.dsinks, r->of.dslopes, r->of.dbias};
        for (int i = 0; i < GRADIENTS; i++)
            if (to[i] != NULL) memcpy(to[i], g.of[i].predicted, (size_t)gradient_size(c, i) * sizeof(double));
        gradients_free(&g);
    }
    predictor_end(&by);
}

static bool compute(const call *c, const way *w, call_results *r, const char *text) {
    heed_error error;
    const heed_choice choice = {.implementation = w->implementation, .cpu = w->cpu, .threads = 1};
    const heed_status status = call_run(r, c, &choice, NULL, &error);
    CHECK(status == HEED_OK || status == HEED_REFUSED || w->cpu != NULL, "%s: %s: %s", text, w->implementation, error.text);
    if (status != HEED_OK) return false;
    if (w->rows >= 0) simulate_rows(c, w->rows, &r->of);
    if (w->rows >= 0) simulate_gradients(c, w->gradients, r);
    return true;
}

static void tell(const verdict *v, const char *text, int a, int b) {
    const int side = v->side < 0 ? 1 : v->side;
    const findings *f = &v->of[side];
    const residual *is = &f->claim, *own = &f->correct;
    fprintf(stderr, "  test_compare_clean \"%s\" %d %d; way %d:\n", text, a, b, side == 0 ? a : b);
    fprintf(stderr, "  out rms %.3f (%.3f) peak %.2f (%.2f), lse %.3f (%.3f) %.2f (%.2f), %lld apart\n", is->rms, own->rms,
            is->peak, own->peak, is->rms_lse, own->rms_lse, is->peak_lse, own->peak_lse, (long long)is->apart);
    for (int i = 0; i < GRADIENTS; i++)
        if (is->grad[i].rows > 0)
            fprintf(stderr, "  %s rms %.3f (%.3f) peak %.2f (%.2f)\n", gradient_names[i], is->grad[i].rms, own->grad[i].rms,
                    is->grad[i].peak, own->grad[i].peak);
    for (int i = 0; i < f->n_explained; i++) fprintf(stderr, "  explained by %s\n", f->explained[i].of[0]->id);
}

static void pair(const char *text, int a, int b) {
    problem_line line;
    drawn d;
    call c;
    heed_error error;
    call_results results[2] = {{.memory = NULL}, {.memory = NULL}};
    if (problem_line_parse(&line, text, &error) != HEED_OK || drawn_make(&d, &line, &error) != HEED_OK) {
        CHECK(false, "%s: %s", text, error.text);
        return;
    }
    const heed_status status = call_of_drawn(&c, &d, &error);
    drawn_free(&d);
    CHECK(status == HEED_OK, "%s: %s", text, error.text);
    if (status == HEED_OK && compute(&c, &ways[a], &results[0], text) && compute(&c, &ways[b], &results[1], text)) {
        verdict *v = calloc(1, sizeof *v);
        const observed x = call_results_observed(&results[0]), y = call_results_observed(&results[1]);
        const bool reached = v != NULL && verdict_reach(v, &c, &x, &y, NULL, 1, &error) == HEED_OK;
        CHECK(reached, "%s: %s", text, error.text);
        if (reached) {
            kinds[v->kind]++;
            CHECK(v->kind <= VERDICT_ROUNDING, "two correct computations are called %s", verdict_names[v->kind]);
            if (v->kind > VERDICT_ROUNDING) tell(v, text, a, b);
        }
        free(v);
    } else {
        skipped++;
    }
    for (int i = 0; i < 2; i++) call_results_free(&results[i]);
    call_free(&c);
}

int main(int argc, char **argv) {
    char text[256];
    if (argc > 3) {
        pair(argv[1], atoi(argv[2]), atoi(argv[3]));
        return test_end();
    }
    const int pairs = argc > 1 ? atoi(argv[1]) : 200;
    random_stream r = random_of(argc > 2 ? (uint64_t)atoi(argv[2]) : 1, 3);
    for (int i = 0; i < pairs; i++) {
        drawn_random_text(&r, argc > 1 && i % EVERY == EVERY - 1 ? LONG : SIZE, text, sizeof text);
        const int a = (int)random_below(&r, WAYS), b = (int)random_below(&r, WAYS);
        pair(text, a, b);
        if ((i + 1) % 100 == 0 && argc > 1)
            fprintf(stderr, "%d: %ld same, %ld rounding, %ld other\n", i + 1, kinds[0], kinds[1], test_failed);
    }
    printf("%ld same, %ld rounding, %ld semantic, %ld not finite, %ld refused\n", kinds[0], kinds[1], kinds[2], kinds[3], skipped);
    return test_end();
}
