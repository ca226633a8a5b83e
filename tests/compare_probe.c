// SPDX-License-Identifier: Apache-2.0
// Inputs that decide: what a probe says would show is planted on it, and the search must name it; what it says it is blind to has a
// reason other than bad luck.
//   test_compare_probe ["PROBLEM"]
#include "compare/probe.h"
#include "base/error.h"
#include "test.h"

#include <math.h>
#include <string.h>

static bool is_blind(const probe *p, const hypothesis *h) {
    for (int i = 0; i < p->n_blind; i++)
        if (p->blind[i] == h) return true;
    return false;
}

static bool names(const findings *f, const hypothesis *h) {
    for (int i = 0; i < f->n_explained; i++)
        if (f->explained[i].of[0] == h || f->explained[i].of[1] == h) return true;
    return false;
}

// The hypothesis' result, rounded to storage. Any of its parameters may be the one that shows.
// What to plant for a row: the j-th of its parameters; a number of no other row where it is only ever fitted.
static double parameter_of(const call *c, const hypothesis *h, int j) {
    double low, high;
    return h->parameters[0] == 0 && hypothesis_fits(h, c, &low, &high) ? 1.37 * c->problem.scale : h->parameters[j];
}

static bool is_named(const probe *p, const predictor *by, const row_list *all, const hypothesis *h) {
    const call *c = &p->c;
    heed_error e;
    static findings f;
    bool named = false;
    for (int j = 0; !named && (j == 0 || (j < HYPOTHESIS_PARAMETERS && h->parameters[j] != 0)); j++) {
        variant v = by->claim.v;
        prediction made;
        h->edit(c, &v, parameter_of(c, h, j));
        CHECK(prediction_make(&made, by, &v, all, &e) == HEED_OK, "%s", e.text);
        for (int64_t i = 0; i < all->n * c->value_channels; i++) made.out[i] = formula_round(c->problem.dtype, made.out[i]);
        for (int64_t i = 0; i < all->n; i++) made.lse[i] = (double)(float)made.lse[i];
        const observed seen = {.out = made.out, .lse = made.lse};
        CHECK(search_formulas(&f, c, &seen, false, 2, &e) == HEED_OK, "%s", e.text);
        // A precision that stays inside of the floor is rounding, and rightly called so.
        named = names(&f, h) || (strncmp(h->id, "precision.", 10) == 0 && f.inside && f.n_explained == 0);
        prediction_free(&made);
    }
    return named;
}

static void test_claim(const char *text) {
    heed_error e;
    problem_line line;
    static probe p;
    predictor by;
    row_list all;
    CHECK(problem_claim_parse(&line, text, &e) == HEED_OK, "%s", e.text);
    heed_status status = probe_make(&p, &line, 2, &e);
    CHECK(status == HEED_OK, "\"%s\": %s", text, e.text);
    if (status != HEED_OK) return;
    for (int i = 0; i < p.n_blind; i++)
        CHECK(p.reason[i] != PROBE_TOO_SMALL, "\"%s\": %s %s", text, p.blind[i]->id, probe_reasons[p.reason[i]]);
    CHECK(p.n_blind * 4 <= p.hypotheses, "\"%s\": blind to %d of %d", text, p.n_blind, p.hypotheses);
    CHECK(predictor_begin(&by, &p.c, 2, &e) == HEED_OK && row_list_all(&all, &p.c, &e) == HEED_OK, "%s", e.text);
    for (const hypothesis *h = hypotheses; h->id != NULL; h++) {
        if (!h->applies(&p.c) || is_blind(&p, h)) continue;
        CHECK(is_named(&p, &by, &all, h), "test_compare_probe \"%s\": %s would show, but planted it is not named", text, h->id);
    }
    free(all.at);
    predictor_end(&by);
    call_free(&p.c);
}

int main(int n, char **words) {
    static const char *const claims[] = {"b1 h4/2 q12 d16 bf16 causal window:9 sink", "b2 h2 q20 d8 causal pad:left",
                                         "b1 h2 q1 k30 d16 f16 causal count:rand", "b1 h2 q24 d16 rope:half softcap:5 docs"};
    if (n > 1) {
        test_claim(words[1]);
        return test_end();
    }
    for (size_t i = 0; i < sizeof claims / sizeof *claims; i++) test_claim(claims[i]);
    heed_error e;
    problem_line line;
    probe p;
    CHECK(problem_claim_parse(&line, "b1 h1 q0 k4 d2", &e) == HEED_OK && probe_make(&p, &line, 1, &e) == HEED_INVALID, "no rows");
    return test_end();
}
