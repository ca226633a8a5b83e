// SPDX-License-Identifier: Apache-2.0
// Gradients in the diagnosis: correct backward passes (heed's implementations, simulated roundings) are rounding; each grad.*
// row planted, alone and with a forward row, is named or listed as undecidable; a mask missing in the backward pass only is
// named so; gradients that cancel raise no alarm.
//   test_compare_gradients [CLEAN] [PLANTED] [SEED]        test_compare_gradients "PROBLEM" [ID|clean] [WAY]
#include "compare/call_run.h"
#include "compare/gradient.h"
#include "compare/search.h"
#include "core/problem.h"
#include "test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE = 40 };
static long clean_right, named, blind;

// ---- What is observed ---------------------------------------------------------------------------------------------

typedef struct { call c; call_results right; } example;

static bool example_begin(example *e, const char *text) {
    problem_line line;
    drawn d;
    heed_error error;
    *e = (example){.right = {.memory = NULL}};
    if (problem_line_parse(&line, text, &error) != HEED_OK || drawn_make(&d, &line, &error) != HEED_OK) {
        CHECK(false, "%s: %s", text, error.text);
        return false;
    }
    const heed_status status = call_of_drawn(&e->c, &d, &error);
    CHECK(status == HEED_OK, "%s: %s", text, error.text);
    drawn_free(&d);
    return status == HEED_OK;
}

static void example_end(example *e) {
    call_results_free(&e->right);
    call_free(&e->c);
}

static bool run(example *e, const char *text, const char *implementation) {
    heed_error error;
    const heed_choice choice = {.implementation = implementation, .threads = 1};
    const heed_status status = call_run(&e->right, &e->c, &choice, NULL, &error);
    CHECK(status == HEED_OK || status == HEED_REFUSED, "%s: %s: %s", text, implementation, error.text);
    return status == HEED_OK;
}

// The variant's gradients in a simulated way over those that are there, rounded as they are stored.
static bool simulate(example *e, const variant *v, gradient_way way, bool backward_only) {
    heed_error error;
    predictor by;
    gradients g;
    observed seen = call_results_observed(&e->right);
    const gradient_variant planted = {*v, backward_only};
    if (predictor_begin(&by, &e->c, 1, &error) != HEED_OK) return false;
    const bool ok = gradients_make(&g, &by, &planted, &seen, way, &error) == HEED_OK;
    for (int i = 0; ok && i < GRADIENTS; i++)
        if (observed_gradient(&seen, i) != NULL)
            memcpy((double *)(uintptr_t)observed_gradient(&seen, i), g.of[i].predicted, (size_t)gradient_size(&e->c, i) * 8);
    gradients_free(&g);
    predictor_end(&by);
    return ok;
}

// A weight beyond the range of f32 leaves nothing to compare.
static bool all_finite(const example *e) {
    const observed seen = call_results_observed(&e->right);
    for (int i = 0; i < GRADIENTS; i++)
        for (int64_t at = 0; observed_gradient(&seen, i) != NULL && at < gradient_size(&e->c, i); at++)
            if (!isfinite(observed_gradient(&seen, i)[at])) return false;
    return true;
}

// out and lse of a variant, in double, rounded once.
static bool forward_of(example *e, const variant *v) {
    heed_error error;
    predictor by;
    row_list all;
    prediction p;
    if (predictor_begin(&by, &e->c, 1, &error) != HEED_OK || row_list_all(&all, &e->c, &error) != HEED_OK) return false;
    const bool ok = prediction_make(&p, &by, v, &all, &error) == HEED_OK;
    for (int64_t i = 0; ok && i < all.n; i++) {
        for (int64_t t = i * e->c.value_channels; t < (i + 1) * e->c.value_channels; t++)
            e->right.of.out[t] = formula_round(e->c.problem.dtype, p.out[t]);
        e->right.of.lse[i] = (double)(float)p.lse[i];
    }
    if (ok) prediction_free(&p);
    free(all.at);
    predictor_end(&by);
    return ok;
}

// ---- Judging ------------------------------------------------------------------------------------------------------

static void print_findings(const findings *f) {
    const residual *is = &f->claim, *own = &f->correct;
    fprintf(stderr, "  out rms %.3f (%.3f) peak %.2f (%.2f), lse %.3f (%.3f) %.2f (%.2f), %lld apart%s\n", is->rms, own->rms,
            is->peak, own->peak, is->rms_lse, own->rms_lse, is->peak_lse, own->peak_lse, (long long)is->apart,
            f->inside ? ", inside" : "");
    for (int i = 0; i < GRADIENTS; i++)
        if (is->grad[i].rows > 0)
            fprintf(stderr, "  %s rms %.3f (%.3f) peak %.2f (%.2f)\n", gradient_names[i], is->grad[i].rms, own->grad[i].rms,
                    is->grad[i].peak, own->grad[i].peak);
    for (int i = 0; i < f->n_explained + f->n_nearest; i++) {
        const explanation *e = i < f->n_explained ? &f->explained[i] : &f->nearest[i - f->n_explained];
        fprintf(stderr, "  %s %s %s%s residual %.3f floor %.3f\n", i < f->n_explained ? "explained by" : "near", e->of[0]->id,
                e->of[1] == NULL ? "" : e->of[1]->id, e->backward_only ? " (backward only)" : "", e->residual, e->floor);
    }
}

static bool judge(const example *e, const char *text, findings *f) {
    heed_error error;
    const observed seen = call_results_observed(&e->right);
    const heed_status status = search_formulas(f, &e->c, &seen, true, 1, &error);
    CHECK(status == HEED_OK, "%s: %s", text, error.text);
    return status == HEED_OK;
}

static void expect_rounding(const example *e, const char *text, const char *what) {
    findings f;
    if (!judge(e, text, &f)) return;
    const bool right = f.inside && f.n_explained == 0;
    clean_right += right;
    CHECK(right, "%s: %s is right, but the search says otherwise", text, what);
    if (!right) print_findings(&f);
}

static bool names(const findings *f, const hypothesis *h, const hypothesis *other, bool backward_only) {
    for (int i = 0; i < f->n_explained; i++) {
        const explanation *e = &f->explained[i];
        const bool first = e->of[0] == h || e->of[1] == h, second = other == NULL || e->of[0] == other || e->of[1] == other;
        if (first && second && (e->backward_only == backward_only || other != NULL)) return true;
    }
    return false;
}

static bool listed(const findings *f, const hypothesis *h) {
    for (int i = 0; i < f->n_undecidable; i++)
        if (f->undecidable[i] == h) return true;
    return false;
}

// Does the second of a pair show beside the first? Apart from the search: by what both predict.
static bool shows_beside(const example *e, const variant *one, const variant *both) {
    heed_error error;
    predictor by;
    gradients g[2] = {{.memory = NULL}, {.memory = NULL}};
    const observed seen = call_results_observed(&e->right);
    const gradient_variant a = {*one, false}, b = {*both, false};
    double signal = 0;
    if (predictor_begin(&by, &e->c, 1, &error) != HEED_OK) return true;
    if (gradients_make(&g[0], &by, &a, &seen, GRADIENTS_EXACT, &error) == HEED_OK &&
        gradients_make(&g[1], &by, &b, &seen, GRADIENTS_EXACT, &error) == HEED_OK)
        signal = gradients_match(&g[0], &g[1], &seen).signal;
    for (int i = 0; i < 2; i++) gradients_free(&g[i]);
    predictor_end(&by);
    return signal >= 8;
}

// ---- Cases --------------------------------------------------------------------------------------------------------

static const char *const sources[] = {"cpu.flash", "cpu.eager", "ref", "stages", "tiles"};
enum { SOURCES = 5 };

static void clean_one(const char *text, int source) {
    example e;
    if (!example_begin(&e, text)) return;
    const variant claim = variant_of(&e.c);
    const bool simulated = source >= 3;
    if (run(&e, text, simulated ? "ref" : sources[source]) &&
        (!simulated || simulate(&e, &claim, source == 3 ? GRADIENTS_STAGES : GRADIENTS_TILES, false)))
        expect_rounding(&e, text, sources[source]);
    example_end(&e);
}

static const hypothesis *first_with(const call *c, const char *prefix, uint64_t skip) {
    const hypothesis *found = NULL;
    for (const hypothesis *h = hypotheses; h->id != NULL; h++)
        if (strncmp(h->id, prefix, strlen(prefix)) == 0 && h->applies(c)) {
            found = h;
            if (skip-- == 0) break;
        }
    return found;
}

// h planted into the gradients, and into out too; with a second row, both.
static void plant(const char *text, const hypothesis *h, const hypothesis *with, int way, bool backward_only) {
    example e;
    findings f;
    if (!example_begin(&e, text)) return;
    variant v = variant_of(&e.c);
    const variant claim = v;
    if (h->applies(&e.c) && (with == NULL || with->applies(&e.c))) {
        h->edit(&e.c, &v, h->parameters[0]);
        if (with != NULL) with->edit(&e.c, &v, with->parameters[0]);
        variant without = claim;
        if (with != NULL) with->edit(&e.c, &without, with->parameters[0]);
        const gradient_way rounding = way % 2 ? GRADIENTS_STAGES : GRADIENTS_TILES;
        const bool idle = v.scale == 1 && strncmp(h->id, "grad.scale", 10) == 0;    // a scale of 1 is missed by nobody
        if (!idle && memcmp(&v, &claim, sizeof v) != 0 && run(&e, text, "ref") && (backward_only || forward_of(&e, &v)) &&
            simulate(&e, &v, rounding, backward_only) && all_finite(&e) &&
            judge(&e, text, &f)) {
            // Where the mask is all there is, leaving it out of the backward pass is grad.mask_missing.
            const bool all_of_it = backward_only && names(&f, hypothesis_find("grad.mask_missing"), NULL, false);
            const bool told = names(&f, h, with, backward_only) || all_of_it;
            const bool hidden = with != NULL && (listed(&f, with) || !shows_beside(&e, &without, &v));
            const bool unseen = listed(&f, h) || hidden;
            named += told, blind += !told && unseen;
            CHECK(told || unseen, "%s: %s%s%s was planted%s and not named (way %d)", text, h->id, with != NULL ? " and " : "",
                  with != NULL ? with->id : "", backward_only ? " in the backward pass" : "", way);
            if (!told && !unseen) print_findings(&f);
        }
    }
    example_end(&e);
}

// Equal values, one key: ds is 0, and what is left is rounding.
static void cancelling(const char *text, int source) {
    example e;
    if (!example_begin(&e, text)) return;
    const int64_t Dv = e.c.value_channels, n = e.c.batch * e.c.kv_heads * e.c.keys * Dv;
    for (int64_t i = 0; i < n; i++) e.c.v[i] = e.c.v[i % Dv];
    const variant claim = variant_of(&e.c);
    const bool ran = run(&e, text, source >= 3 ? "ref" : sources[source]);
    if (ran && (source < 3 || simulate(&e, &claim, (gradient_way)(source - 2), false)))
        expect_rounding(&e, text, "a gradient that cancels");
    example_end(&e);
}

static void next_text(random_stream *r, char *text, size_t bytes) {
    do drawn_random_text(r, SIZE, text, bytes);
    while (strstr(text, " grad") == NULL);
}

static void plant_drawn(random_stream *r, int i) {
    char text[256];
    for (int tries = 0; tries < 40; tries++) {
        next_text(r, text, sizeof text);
        example e;
        if (strstr(text, "dropout") != NULL || !example_begin(&e, text)) continue;
        const hypothesis *h = first_with(&e.c, "grad.", (uint64_t)(i % 8));
        const hypothesis *with = i % 3 == 1 ? first_with(&e.c, "scale.", (uint64_t)i % 4) : NULL;
        const hypothesis *alone = first_with(&e.c, i % 2 ? "causal." : "window.", (uint64_t)(i / 3) % 5);
        example_end(&e);
        if (i % 3 == 2 && alone == NULL) continue;
        const long before = named + blind + test_failed;
        if (i % 3 == 2) plant(text, alone, NULL, i, i % 6 == 5);
        else plant(text, h, with, i, false);
        if (named + blind + test_failed > before) return;
    }
}

int main(int argc, char **argv) {
    char text[256];
    if (argc > 1 && strchr(argv[1], ' ') != NULL) {
        const hypothesis *h = argc > 2 ? hypothesis_find(argv[2]) : NULL;
        const int way = argc > 3 ? atoi(argv[3]) : 0;
        if (h != NULL) plant(argv[1], h, NULL, way, argc > 4);
        for (int i = 0; h == NULL && i < SOURCES; i++) clean_one(argv[1], i);
        return test_end();
    }
    const int clean = argc > 1 ? atoi(argv[1]) : 30, planted = argc > 2 ? atoi(argv[2]) : 36;
    random_stream r = random_of(argc > 3 ? (uint64_t)atoi(argv[3]) : 1, 7);
    for (int i = 0; i < clean; i++) {
        next_text(&r, text, sizeof text);
        clean_one(text, i % SOURCES);
    }
    const char *const cancel[] = {"b1 h2 q16 d8 grad", "b1 h2/1 q20 d16 bf16 causal grad", "b1 h2 q1 d16 f16 grad",
                                  "b2 h1 q9 k1 d8 bf16 grad", "b1 h2 q16 d8 sink bf16 grad"};
    for (int i = 0; i < 5 * SOURCES; i++) cancelling(cancel[i / SOURCES], i % SOURCES);
    for (int i = 0; i < planted; i++) plant_drawn(&r, i);
    printf("clean: %ld right; planted: %ld named, %ld undecidable\n", clean_right, named, blind);
    return test_end();
}
