// SPDX-License-Identifier: Apache-2.0
// The search over formulas: random problems, each hypothesis planted (computed as correct code would, in f32, rounded to
// storage), must be named or listed as undecidable; results of heed's own implementations must be explained by rounding.
//   test_compare_search [PLANTED] [CLEAN] [SEED] [PAIRS]        test_compare_search "PROBLEM" HYPOTHESIS [WAY]
#include "base/memory.h"
#include "compare/check.h"
#include "compare/search.h"
#include "core/problem.h"
#include "test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE = 96 };

typedef struct { double *out, *lse; } result;

static result result_for(const call *c) {
    const size_t rows = (size_t)(c->batch * c->heads * c->queries);
    return (result){calloc(rows * (size_t)c->value_channels + 1, 8), calloc(rows + 1, 8)};
}

static void result_free(result *r) { free(r->out), free(r->lse); }

enum { EXACT = -1 };

// The variant, rounded as one of the ways of floor_simulate does, or not at all.
static bool plant(const call *c, const variant *v, int way, result *to) {
    formula f;
    heed_error error;
    if (formula_begin(&f, c, v, NULL, &error) != HEED_OK) return false;
    char *memory = memory_take(formula_row_bytes(c) + floor_scratch_floats(c) * 4 + 64);
    formula_row r = formula_row_at(c, memory);
    const int64_t Dv = c->value_channels;
    for (int64_t i = 0; i < c->batch * c->heads * c->queries; i++) {
        int64_t b = i / c->queries / c->heads, h = i / c->queries % c->heads, row = i % c->queries;
        if (v->layout == LAYOUT_OUT_SEQ_HEAD) row = (i % (c->heads * c->queries)) / c->heads, h = i % c->heads;
        if (v->layout == LAYOUT_OUT_BATCH_HEAD) b = (i / c->queries) % c->batch, h = i / c->queries / c->batch;
        formula_row_compute(&f, b, h, row, &r);
        memcpy(to->out + i * Dv, r.out, (size_t)Dv * 8);
        to->lse[i] = r.lse;
        const bool plain = v->rounding == ROUND_CLAIMED && v->tile == TILE_CLAIMED && v->dropout == DROPOUT_CLAIMED &&
                           c->keep == NULL && v->sink == SINK_CLAIMED && v->lse == LSE_CLAIMED;
        if (way == EXACT) continue;
        if (plain && !r.empty) floor_simulate(&f, &r, way, (float *)(memory + formula_row_bytes(c)), to->out + i * Dv, &to->lse[i]);
        if (v->layout == LAYOUT_OUT_SEQ_HEAD || v->layout == LAYOUT_OUT_BATCH_HEAD) {    // lse is not misread
            formula_row_compute(&f, i / c->queries / c->heads, i / c->queries % c->heads, i % c->queries, &r);
            to->lse[i] = r.lse;
        }
        for (int64_t t = 0; t < Dv; t++) to->out[i * Dv + t] = formula_round(c->problem.dtype, to->out[i * Dv + t]);
        to->lse[i] = (double)(float)to->lse[i];
    }
    memory_free(memory);
    formula_end(&f);
    return true;
}

static bool names(const findings *f, const hypothesis *h) {
    for (int i = 0; i < f->n_explained; i++)
        if (f->explained[i].of[0] == h || f->explained[i].of[1] == h) return true;
    return false;
}

static bool undecidable(const findings *f, const hypothesis *h) {
    for (int i = 0; i < f->n_undecidable; i++)
        if (f->undecidable[i] == h) return true;
    return false;
}

static void print_findings(const findings *f) {
    const residual *is = &f->claim, *own = &f->correct;
    fprintf(stderr, "  rms %.3f (%.3f), peak %.2f (%.2f), lse %.3f (%.3f) and %.2f (%.2f), %lld rows apart%s\n", is->rms, own->rms,
            is->peak, own->peak, is->rms_lse, own->rms_lse, is->peak_lse, own->peak_lse, (long long)is->apart,
            f->inside ? ", inside" : "");
    for (int i = 0; i < f->n_explained + f->n_nearest; i++) {
        const bool near = i >= f->n_explained;
        const explanation *e = near ? &f->nearest[i - f->n_explained] : &f->explained[i];
        fprintf(stderr, "  %s %s %s residual %.3f\n", near ? "near" : "explained by", e->of[0]->id,
                e->of[1] == NULL ? "" : e->of[1]->id, e->residual);
    }
}

static long named, blind, clean_ok, pairs_named, pairs_missed;

static bool same(const call *c, const result *a, const result *b) {
    const size_t rows = (size_t)(c->batch * c->heads * c->queries);
    return memcmp(a->out, b->out, rows * (size_t)c->value_channels * 8) == 0 && memcmp(a->lse, b->lse, rows * 8) == 0;
}

static void plant_one(const char *text, const hypothesis *h, int way) {
    problem_line line;
    drawn d;
    call c;
    heed_error error;
    if (problem_line_parse(&line, text, &error) != HEED_OK || drawn_make(&d, &line, &error) != HEED_OK) return;
    if (call_of_drawn(&c, &d, &error) == HEED_OK && h->applies(&c) && d.problem.dropout == 0) {
        variant v = variant_of(&c);
        int n = 0;
        while (n < HYPOTHESIS_PARAMETERS && h->parameters[n] != 0) n++;
        h->edit(&c, &v, n > 0 ? h->parameters[line.seed % (uint64_t)n] : 0);
        result r = result_for(&c), right = result_for(&c);
        const variant claim = variant_of(&c);
        findings f;
        if (plant(&c, &v, EXACT, &r) && plant(&c, &claim, EXACT, &right) && !same(&c, &r, &right) && plant(&c, &v, way, &r)) {
            const heed_status status = search_formulas(&f, &c, &(observed){.out = r.out, .lse = r.lse}, true, 2, &error);
            CHECK(status == HEED_OK, "%s: %s", text, error.text);
            // A precision that stays inside of the floor is rounding, and rightly called so.
            const bool rounding = strncmp(h->id, "precision.", 10) == 0 && f.inside && f.n_explained == 0;
            const bool told = names(&f, h), unseen = undecidable(&f, h) || rounding;
            named += told, blind += !told && unseen;
            CHECK(told || unseen, "%s: %s was planted and not named (way %d)", text, h->id, way);
            if (!told && !unseen) print_findings(&f);
        }
        result_free(&r);
        result_free(&right);
    }
    call_free(&c);
    drawn_free(&d);
}

// What a variant computes, in double.
static bool exact(const call *c, const variant *v, result *to) { return plant(c, v, EXACT, to); }

static bool parts_in_expected_errors(const call *c, const variant *v, const result *a, const result *b) {
    predictor by;
    row_list all;
    prediction p;
    heed_error error;
    if (predictor_begin(&by, c, 1, &error) != HEED_OK || row_list_all(&all, c, &error) != HEED_OK) return false;
    double signal = 0;
    if (prediction_make(&p, &by, v, &all, &error) == HEED_OK) {
        for (int64_t i = 0; i < all.n * c->value_channels; i++)
            if (isfinite(a->out[i]) && isfinite(b->out[i]) && p.var[i] > 0) signal += pow(a->out[i] - b->out[i], 2) / p.var[i];
        for (int64_t i = 0; i < all.n; i++)
            if (isfinite(a->lse[i]) && isfinite(b->lse[i]) && p.var_lse[i] > 0)
                signal += pow(a->lse[i] - b->lse[i], 2) / p.var_lse[i];
        prediction_free(&p);
    }
    free(all.at);
    predictor_end(&by);
    return signal >= 400;
}

static bool names_both(const findings *f, const hypothesis *h, const hypothesis *other) {
    for (int i = 0; i < f->n_explained; i++) {
        const explanation *e = &f->explained[i];
        if ((e->of[0] == h && e->of[1] == other) || (e->of[0] == other && e->of[1] == h)) return true;
    }
    return false;
}

// Two at once. Decidable, apart from the search: both change the result, each beside the other, by twenty expected errors.
static void plant_pair(const char *text, const hypothesis *h, const hypothesis *other, int way) {
    problem_line line;
    drawn d;
    call c;
    heed_error error;
    if (problem_line_parse(&line, text, &error) != HEED_OK || drawn_make(&d, &line, &error) != HEED_OK) return;
    if (call_of_drawn(&c, &d, &error) == HEED_OK && h->applies(&c) && other->applies(&c) && d.problem.dropout == 0) {
        const variant claim = variant_of(&c);
        variant one = claim, two = claim, both, turned;
        h->edit(&c, &one, h->parameters[0]);
        other->edit(&c, &two, other->parameters[0]);
        both = one, turned = two;
        other->edit(&c, &both, other->parameters[0]);
        h->edit(&c, &turned, h->parameters[0]);
        result of[4];
        const variant *const list[] = {&claim, &one, &two, &both};
        for (int i = 0; i < 4; i++) of[i] = result_for(&c), exact(&c, list[i], &of[i]);
        bool decidable = memcmp(&both, &turned, sizeof both) == 0;
        for (int i = 0; i < 3; i++) decidable &= parts_in_expected_errors(&c, &both, &of[i], &of[3]);
        findings *f = calloc(1, sizeof *f);
        if (decidable && plant(&c, &both, way, &of[3])) {
            const observed seen = {.out = of[3].out, .lse = of[3].lse};
            CHECK(search_formulas(f, &c, &seen, true, 2, &error) == HEED_OK, "%s: %s", text, error.text);
            const bool told = names(f, h) || names(f, other), both_named = names_both(f, h, other);
            pairs_named += both_named, pairs_missed += !both_named;
            if (!both_named)
                fprintf(stderr, "%s: %s and %s, way %d%s\n", text, h->id, other->id, way, told ? ": one of them" : "");
            if (!both_named) print_findings(f);
        }
        free(f);
        for (int i = 0; i < 4; i++) result_free(&of[i]);
    }
    call_free(&c);
    drawn_free(&d);
}

static void clean_one(const char *text, const char *implementation) {
    problem_line line;
    heed_error error;
    check_case k;
    check_report report;
    call c = {0};
    if (problem_line_parse(&line, text, &error) != HEED_OK || line.problem.pass == HEED_BACKWARD) return;
    const heed_choice choice = {.implementation = implementation};
    if (check_begin(&k, &line, false, &error) == HEED_OK && check_run(&k, &choice, &report, &error) == HEED_OK &&
        call_of_drawn(&c, &k.data, &error) == HEED_OK) {
        result r = result_for(&c);
        const problem_array a = problem_array_of(&k.data.problem, PROBLEM_OUT);
        for (int64_t i = 0; i < c.batch * c.heads * c.queries; i++) {
            const int64_t b = i / c.queries / c.heads, h = i / c.queries % c.heads;
            const void *row = row_at(a.dtype, k.data.args.out, a.stride, b, h, i % c.queries);
            double *to = r.out + i * c.value_channels;
            for (int64_t t = 0; t < c.value_channels; t++) to[t] = (double)dtype_load(a.dtype, row, t);
            r.lse[i] = (double)k.data.args.lse[i];
        }
        findings f;
        const observed seen = {.out = r.out, .lse = r.lse};
        CHECK(search_formulas(&f, &c, &seen, true, 2, &error) == HEED_OK, "%s: %s", text, error.text);
        const bool right = f.inside && f.n_explained == 0;
        clean_ok += right;
        CHECK(right, "%s: %s is right, but the search says otherwise", text, implementation);
        if (!right) print_findings(&f);
        result_free(&r);
    }
    call_free(&c);
    check_end(&k);
}

int main(int argc, char **argv) {
    if (argc > 2 && strchr(argv[1], ' ') != NULL) {    // "TEXT" id
        plant_one(argv[1], hypothesis_find(argv[2]), argc > 3 ? atoi(argv[3]) : 0);
        return test_end();
    }
    const int planted = argc > 1 ? atoi(argv[1]) : 90, clean = argc > 2 ? atoi(argv[2]) : 20;
    random_stream r = random_of(argc > 3 ? (uint64_t)atoi(argv[3]) : 1, 0);
    char text[256];
    for (int i = 0; i < planted; i++)
        for (int tries = 0; tries < 40; tries++) {
            drawn_random_text(&r, SIZE, text, sizeof text);
            char *grad = strstr(text, " grad");
            if (grad != NULL) continue;
            const long before = named + blind + test_failed;
            plant_one(text, &hypotheses[i % hypotheses_count()], i % FLOOR_WAYS);
            if (named + blind + test_failed > before) break;
        }
    for (int i = 0; i < clean; i++) {
        drawn_random_text(&r, SIZE, text, sizeof text);
        clean_one(text, i % 2 ? "cpu.flash" : "cpu.eager");
    }
    const int pairs = argc > 4 ? atoi(argv[4]) : 8;
    for (int i = 0; i < pairs * 60 && pairs_named + pairs_missed < pairs; i++) {
        drawn_random_text(&r, 40, text, sizeof text);
        if (strstr(text, " grad") != NULL) continue;
        const hypothesis *h = &hypotheses[random_below(&r, (uint64_t)hypotheses_count())];
        const hypothesis *other = &hypotheses[random_below(&r, (uint64_t)hypotheses_count())];
        if (strncmp(h->id, "precision.", 10) == 0 || strncmp(other->id, "precision.", 10) == 0 || h == other) continue;
        plant_pair(text, h, other, i % FLOOR_WAYS);
    }
    const long all_pairs = pairs_named + pairs_missed, most_missed = all_pairs / 10 > 0 ? all_pairs / 10 : 1;
    CHECK(pairs_missed <= most_missed, "of %ld pairs only %ld are named", all_pairs, pairs_named);
    printf("pairs: %ld of %ld named\n", pairs_named, pairs_named + pairs_missed);
    printf("planted: %ld named, %ld undecidable; clean: %ld right\n", named, blind, clean_ok);
    return test_end();
}
