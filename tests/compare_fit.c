// SPDX-License-Identifier: Apache-2.0
// A scale or a rotary base that no table holds is fitted: found to some digits, and confirmed on all rows.
#include "compare/search.h"
#include "test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void one(const char *text, const char *id, double number, double within) {
    problem_line line;
    drawn d;
    call c;
    predictor by;
    row_list all;
    prediction p;
    heed_error error;
    if (problem_claim_parse(&line, text, &error) != HEED_OK || drawn_make(&d, &line, &error) != HEED_OK ||
        call_of_drawn(&c, &d, &error) != HEED_OK || predictor_begin(&by, &c, 1, &error) != HEED_OK ||
        row_list_all(&all, &c, &error) != HEED_OK) {
        CHECK(false, "%s: %s", text, error.text);
        return;
    }
    variant v = by.claim.v;
    hypothesis_find(id)->edit(&c, &v, number);
    findings *f = calloc(1, sizeof *f);
    if (prediction_make(&p, &by, &v, &all, &error) == HEED_OK) {
        for (int64_t i = 0; i < all.n * c.value_channels; i++) p.out[i] = formula_round(c.problem.dtype, p.out[i]);
        for (int64_t i = 0; i < all.n; i++) p.lse[i] = (double)(float)p.lse[i];
        const observed seen = {.out = p.out, .lse = p.lse};
        CHECK(search_formulas(f, &c, &seen, true, 1, &error) == HEED_OK, "%s: %s", text, error.text);
        const bool named = f->n_explained > 0 && strcmp(f->explained[0].of[0]->id, id) == 0;
        CHECK(named, "%s: %s %g is not named", text, id, number);
        const double found = f->explained[0].parameter[0];
        CHECK(fabs(found / number - 1) <= within, "%s: %s %g is found to be %.9g", text, id, number, found);
        prediction_free(&p);
    }
    free(f);
    free(all.at);
    predictor_end(&by);
    call_free(&c);
    drawn_free(&d);
}

int main(void) {
    one("b1 h2 q48 d32 causal seed:1", "scale.fitted", 0.2317, 1e-6);
    one("b1 h4/2 q40 d64 bf16 causal window:15 seed:2", "scale.fitted", 0.05, 2e-3);
    one("b2 h2 q30 d16 f16 pad:left seed:3", "scale.fitted", 1.75, 1e-3);
    one("b1 h2 q60 d32 causal rope:half seed:4", "rope.theta", 31415, 1e-4);
    one("b1 h2 q60 d64 bf16 causal rope:pairs seed:5", "rope.theta", 2500, 1e-2);
    return test_end();
}
