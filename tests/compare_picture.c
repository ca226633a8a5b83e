// SPDX-License-Identifier: Apache-2.0
// The pictures of a comparison: of random problems, whatever their masks, they are bounded, count every number once, do not depend
// on threads, and a row's weights of the claim add up to one where nothing takes part of them.
//   test_compare_picture [CASES] [SEED]        test_compare_picture "PROBLEM"
#include "compare/call_run.h"
#include "compare/picture.h"
#include "test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE = 40 };

typedef struct { call c; call_results a, b; verdict v; } compared;

static bool compare(compared *k, const char *text) {
    static const char *const presets[] = {"hf_eager", "torch", "torch_pre25"};
    problem_line line;
    drawn data;
    heed_error error;
    *k = (compared){.v = {.side = -1}};
    heed_status status = problem_line_parse(&line, text, &error);
    CHECK(status == HEED_OK, "%s: %s", text, status == HEED_OK ? "" : error.text);
    if (status != HEED_OK) return false;
    status = drawn_make(&data, &line, &error);
    if (status == HEED_OK) status = call_of_drawn(&k->c, &data, &error);
    drawn_free(&data);
    if (status == HEED_OK) status = call_run(&k->a, &k->c, &(heed_choice){.implementation = "ref"}, NULL, &error);
    const char *preset = presets[strlen(text) % 3];    // one refuses what its system cannot: then the claim itself
    if (status == HEED_OK && call_run(&k->b, &k->c, &(heed_choice){.implementation = "ref"}, preset, &error) != HEED_OK)
        status = call_run(&k->b, &k->c, &(heed_choice){.implementation = "ref"}, NULL, &error);
    const observed a = call_results_observed(&k->a), b = call_results_observed(&k->b);
    if (status == HEED_OK) status = verdict_reach(&k->v, &k->c, &a, &b, NULL, 1, &error);
    CHECK(status == HEED_OK, "%s: %s", text, status == HEED_OK ? "" : error.text);
    return status == HEED_OK;
}

static void compared_free(compared *k) {
    call_results_free(&k->a);
    call_results_free(&k->b);
    call_free(&k->c);
}

static int64_t sum(const int64_t *of, int n) {
    int64_t total = 0;
    for (int i = 0; i < n; i++) total += of[i];
    return total;
}

static bool same_map(const picture_map *a, const picture_map *b) {
    if (a->cell == NULL || b->cell == NULL) return a->cell == b->cell;
    return a->rows == b->rows && a->columns == b->columns && memcmp(a->cell, b->cell, (size_t)(a->rows * a->columns)) == 0;
}

static void check_counts(const char *text, const compared *k, const picture *p) {
    const int64_t rows = k->c.batch * k->c.heads * k->c.queries, elements = rows * k->c.value_channels;
    for (int view = 0; view < PICTURE_VIEWS; view++) {
        const picture_map *m = &p->errors[view];
        if (m->cell == NULL) continue;
        const int64_t counted = sum(p->z[view], PICTURE_BINS) + p->apart[view];
        CHECK(counted == elements + rows, "%s: view %d counts %lld", text, view, (long long)counted);
        CHECK(sum(p->ulps[view], ULP_BINS) == elements, "%s: view %d counts ulps", text, view);
        CHECK(m->rows <= PICTURE_SIDE && m->columns <= PICTURE_SIDE && m->n_columns == k->c.queries, "%s: a map's size", text);
        int64_t apart = 0;
        for (int64_t i = 0; i < m->rows * m->columns; i++) apart += m->cell[i] == 255;
        CHECK((apart > 0) == (p->apart[view] > 0), "%s: view %d, %lld cells finite on one side", text, view, (long long)apart);
    }
    CHECK((p->errors[PICTURE_EXPLAINED].cell != NULL) == (k->v.side >= 0 && k->v.of[k->v.side].n_explained > 0),
          "%s: an explanation is drawn where there is one", text);
}

// Sums of rows, from bytes whose steps are a twelfth of a doubling: one within a step or two.
static void check_weights(const char *text, const compared *k, const picture *p) {
    const heed_problem *problem = &k->c.problem;
    const bool whole = !(problem->with & HEED_SINKS) && problem->dropout == 0;
    for (int i = 0; i < p->n_weights; i++) {
        const picture_map *m = &p->weights[i].claim;
        CHECK(m->n_rows == k->c.queries && m->n_columns == k->c.keys, "%s: weights are row by key", text);
        for (int64_t row = 0; row < m->rows && whole; row++) {
            double total = 0;
            bool nan = false;
            for (int64_t j = 0; j < m->columns; j++) {
                const uint8_t byte = m->cell[row * m->columns + j];
                nan |= byte == 255;
                if (byte > 0) total += picture_weights.least * exp2((byte - 1) / (double)picture_weights.steps);
            }
            CHECK(nan || total == 0 || fabs(total - 1) < 0.06, "%s: head %lld, row %lld sums to %g", text,
                  (long long)p->weights[i].head, (long long)row, total);
        }
    }
}

static void check_problem(const char *text) {
    compared k;
    picture one, three;
    heed_error error;
    if (!compare(&k, text)) {
        compared_free(&k);
        return;
    }
    const observed a = call_results_observed(&k.a), b = call_results_observed(&k.b);
    const heed_status status = picture_make(&one, &k.c, &a, &b, &k.v, 1, &error);
    CHECK(status == HEED_OK, "%s: %s", text, status == HEED_OK ? "" : error.text);
    CHECK(picture_make(&three, &k.c, &a, &b, &k.v, 3, &error) == HEED_OK, "%s: three threads", text);
    check_counts(text, &k, &one);
    check_weights(text, &k, &one);
    CHECK(one.n_weights == three.n_weights, "%s: heads", text);
    for (int i = 0; i < one.n_weights; i++) {
        const picture_weight_maps *x = &one.weights[i], *y = &three.weights[i];
        CHECK(same_map(&x->claim, &y->claim) && same_map(&x->explained, &y->explained) && same_map(&x->change, &y->change),
              "%s: threads change weights", text);
    }
    for (int view = 0; view < PICTURE_VIEWS; view++)
        CHECK(same_map(&one.errors[view], &three.errors[view]), "%s: threads change errors", text);
    picture_free(&one);
    picture_free(&three);
    compared_free(&k);
}

int main(int n, char **words) {
    char text[512];
    if (n > 1 && strchr(words[1], ' ') != NULL) return check_problem(words[1]), test_end();
    random_stream stream = random_of(n > 2 ? strtoull(words[2], NULL, 10) : 20, 0);
    const int cases = n > 1 ? atoi(words[1]) : 24;
    for (int i = 0; i < cases; i++) {
        drawn_random_text(&stream, SIZE, text, sizeof text);
        check_problem(text);
    }
    return test_end();
}
