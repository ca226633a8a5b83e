// SPDX-License-Identifier: Apache-2.0
// After the rows of out and lse have spoken: gradients. What explains the rows must explain these too, or with one grad.* more;
// where the rows are the claim's, only what leaves them alone is tried: grad.*, what rows cannot show, and last each formula in
// the backward pass only. Gradients are sums over all queries, so each is computed whole: few are tried.
#include "compare/gradient.h"
#include "compare/search.h"

#include "base/error.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TRIED_MOST = 320, PARTNERS = 4 };

typedef struct {
    explanation e;
    gradient_variant v;
    residual left;
    match m;
    bool inside;
} trial;

typedef struct {
    findings *f;
    const predictor *by;
    const observed *seen;
    gradients claim;
    bool claim_inside, thorough;
    trial list[TRIED_MOST];
    int n;
    heed_error *error;
} gradient_search;

static bool is_of_gradient(const hypothesis *h) { return strncmp(h->id, "grad.", 5) == 0; }
static bool is_precision(const hypothesis *h) { return strncmp(h->id, "precision.", 10) == 0; }

// ---- One formula --------------------------------------------------------------------------------------------------

static residual gradients_alone(const residual *r) {
    residual g = {.rows = 0};
    memcpy(g.grad, r->grad, sizeof g.grad);
    g.apart = r->apart;
    return g;
}

// The floor is recomputed for what could explain; simulating it costs twice what predicting does, so only then.
static heed_status judge(gradient_search *s, trial *t, const gradients *g) {
    residual own = {.rows = 0};
    t->left = (residual){.rows = 0};
    gradients_residual(&t->left, g, s->seen);
    t->m = gradients_match(&s->claim, g, s->seen);
    t->inside = false;
    const double claim = s->f->claim.sum;
    t->e.fraction_fixed = claim > 0 ? fmax(0, 1 - t->left.sum / claim) : 0;
    residual_worst(&t->left, &s->f->correct, &t->e.residual, &t->e.floor);
    if (t->left.apart > 0 || t->e.residual > 20 * t->e.floor) return HEED_OK;
    const heed_status status = gradients_of_correct(&own, s->by, &t->v, g, s->seen, s->error);
    t->inside = status == HEED_OK && residual_inside(&t->left, &own);
    residual_worst(&t->left, &own, &t->e.residual, &t->e.floor);
    return status;
}

static heed_status try_variant(gradient_search *s, const explanation *e, const gradient_variant *v, const trial **done) {
    if (done != NULL) *done = NULL;
    if (s->n == TRIED_MOST) return HEED_OK;
    trial *t = &s->list[s->n++];
    gradients g;
    *t = (trial){.e = *e, .v = *v};
    t->e.backward_only = v->backward_only, t->e.v = v->v;
    heed_status status = gradients_make(&g, s->by, v, s->seen, GRADIENTS_EXACT, s->error);
    if (status != HEED_OK) return status;
    status = judge(s, t, &g);
    gradients_free(&g);
    if (done != NULL) *done = t;
    return status;
}

static int parameters_of(const hypothesis *h) {
    int n = 0;
    while (n < HYPOTHESIS_PARAMETERS && h->parameters[n] != 0) n++;
    return n > 0 ? n : 1;
}

static variant variant_by(const gradient_search *s, const explanation *e) {
    variant v = s->by->claim.v;
    for (int i = 0; i < EXPLANATION_IDS && e->of[i] != NULL; i++) e->of[i]->edit(s->by->c, &v, e->parameter[i]);
    return v;
}

static bool same_variant(const variant *a, const variant *b) { return memcmp(a, b, sizeof *a) == 0; }

static bool is_visible(const trial *t) { return t->m.signal >= 8 || t->m.apart > 0; }

// All parameters of a row of the table; visible: would gradients show one?
static heed_status try_single(gradient_search *s, const hypothesis *h, bool backward_only, bool *visible) {
    for (int i = 0; i < parameters_of(h); i++) {
        const explanation e = {.of = {h}, .parameter = {h->parameters[i]}};
        const gradient_variant v = {variant_by(s, &e), backward_only};
        const trial *t;
        if (same_variant(&v.v, &s->by->claim.v)) continue;
        const heed_status status = try_variant(s, &e, &v, &t);
        if (status != HEED_OK) return status;
        *visible |= t != NULL && is_visible(t);
    }
    return HEED_OK;
}

// ---- What explains ------------------------------------------------------------------------------------------------

static bool explains(const gradient_search *s, const trial *t) {
    if (!t->inside || !is_visible(t)) return false;
    return !s->claim_inside || (match_is_whole(&t->m) && !is_precision(t->e.of[0]));
}

static int by_sum(const void *a, const void *b) {
    const trial *x = a, *y = b;
    if (x->left.apart != y->left.apart) return x->left.apart < y->left.apart ? -1 : 1;
    return x->left.sum < y->left.sum ? -1 : x->left.sum > y->left.sum;
}

// Those of the trials from `first` on that explain as well as the best.
static void take_explained(gradient_search *s, int first) {
    findings *f = s->f;
    double best = INFINITY;
    qsort(s->list + first, (size_t)(s->n - first), sizeof *s->list, by_sum);
    for (int i = first; i < s->n && f->n_explained < EXPLANATIONS_MOST; i++) {
        trial *t = &s->list[i];
        if (!explains(s, t)) continue;
        best = fmin(best, t->left.sum);
        if (t->left.sum > best + 9 + 0.05 * best) break;
        t->e.small = s->claim_inside;
        f->explained[f->n_explained++] = t->e;
    }
    if (f->n_explained > 0) f->n_nearest = 0;
}

static void take_nearest(gradient_search *s) {
    findings *f = s->f;
    qsort(s->list, (size_t)s->n, sizeof *s->list, by_sum);
    f->n_nearest = 0;
    for (int i = 0; i < s->n && f->n_nearest < NEAREST; i++) f->nearest[f->n_nearest++] = s->list[i].e;
}

// ---- The rows are the claim's -------------------------------------------------------------------------------------

// What rows cannot show and gradients do is decidable after all.
static heed_status try_singles(gradient_search *s, bool of_gradients_alone) {
    findings *f = s->f;
    int kept = 0;
    heed_status status = HEED_OK;
    for (int i = 0; status == HEED_OK && i < f->n_undecidable; i++) {
        const hypothesis *h = f->undecidable[i];
        bool visible = false;
        if (is_of_gradient(h) || (s->thorough && !of_gradients_alone)) status = try_single(s, h, false, &visible);
        if (!visible) f->undecidable[kept++] = h;
    }
    if (status == HEED_OK) f->n_undecidable = kept;
    return status;
}

// The best few that bring the gradients nearer, each with every grad.*.
static heed_status try_pairs(gradient_search *s, const explanation *with, int n_with) {
    for (int i = 0; i < n_with; i++)
        for (const hypothesis *h = hypotheses; h->id != NULL; h++) {
            const explanation e = {.of = {with[i].of[0], h}, .parameter = {with[i].parameter[0], 0}};
            if (with[i].of[1] != NULL || h == with[i].of[0] || !is_of_gradient(h) || !h->applies(s->by->c)) continue;
            gradient_variant v = {with[i].v, false};
            h->edit(s->by->c, &v.v, 0);
            if (same_variant(&v.v, &with[i].v)) continue;
            const heed_status status = try_variant(s, &e, &v, NULL);
            if (status != HEED_OK) return status;
        }
    return HEED_OK;
}

static heed_status try_backward_only(gradient_search *s) {
    for (const hypothesis *h = hypotheses; h->id != NULL; h++) {
        bool visible = false;
        if (!h->applies(s->by->c) || is_of_gradient(h) || is_precision(h)) continue;
        const heed_status status = try_single(s, h, true, &visible);
        if (status != HEED_OK) return status;
    }
    return HEED_OK;
}

static heed_status search_beside_rows(gradient_search *s) {
    findings *f = s->f;
    heed_status status = try_singles(s, false);
    if (status != HEED_OK) return status;
    take_explained(s, 0);
    if (f->n_explained > 0 || s->claim_inside) return HEED_OK;
    int first = s->n;
    if ((status = try_backward_only(s)) != HEED_OK) return status;
    take_explained(s, first);
    if (f->n_explained > 0) return HEED_OK;
    explanation best[PARTNERS];
    int n = 0;
    take_nearest(s);
    for (int i = 0; i < s->n && n < PARTNERS; i++)
        if (is_of_gradient(s->list[i].e.of[0]) && s->list[i].left.sum < 0.9 * f->claim.sum) best[n++] = s->list[i].e;
    first = s->n;
    if ((status = try_pairs(s, best, n)) != HEED_OK) return status;
    take_explained(s, first);
    if (f->n_explained == 0) take_nearest(s);
    return HEED_OK;
}

// ---- The rows are another formula's -------------------------------------------------------------------------------

static heed_status confirm_rows(gradient_search *s) {
    findings *f = s->f;
    explanation held[EXPLANATIONS_MOST];
    const int n = f->n_explained;
    memcpy(held, f->explained, sizeof held);
    f->n_explained = 0;
    for (int i = 0; i < n; i++) {
        const gradient_variant v = {held[i].v, false};
        const trial *t;
        const heed_status status = try_variant(s, &held[i], &v, &t);
        if (status != HEED_OK) return status;
        if (t == NULL || !t->inside) continue;
        explanation *e = &f->explained[f->n_explained++];
        *e = held[i];
        if (t->e.residual * e->floor > e->residual * t->e.floor) e->residual = t->e.residual, e->floor = t->e.floor;
    }
    if (f->n_explained > 0 || f->inside) return HEED_OK;
    const int first = s->n;
    const heed_status status = try_pairs(s, held, n < PARTNERS ? n : PARTNERS);
    if (status != HEED_OK) return status;
    take_explained(s, first);
    if (f->n_explained > 0) return HEED_OK;
    f->n_nearest = n < NEAREST ? n : NEAREST;
    memcpy(f->nearest, held, (size_t)f->n_nearest * sizeof *held);
    return HEED_OK;
}

static heed_status begin(gradient_search *s) {
    findings *f = s->f;
    const gradient_variant claim = {s->by->claim.v, false};
    residual own = {.rows = 0}, seen = {.rows = 0};
    heed_status status = gradients_make(&s->claim, s->by, &claim, s->seen, GRADIENTS_EXACT, s->error);
    if (status == HEED_OK) status = gradients_of_correct(&own, s->by, &claim, &s->claim, s->seen, s->error);
    if (status != HEED_OK) return status;
    gradients_residual(&seen, &s->claim, s->seen);
    memcpy(f->claim.grad, seen.grad, sizeof seen.grad);
    memcpy(f->correct.grad, own.grad, sizeof own.grad);
    f->claim.sum = f->inside ? seen.sum : f->claim.sum + seen.sum;
    f->claim.apart += seen.apart;
    const residual alone = gradients_alone(&seen);
    s->claim_inside = residual_inside(&alone, &own);
    return HEED_OK;
}

heed_status search_gradients(findings *f, const predictor *by, const observed *seen, bool thorough, heed_error *error) {
    gradient_search *s = calloc(1, sizeof *s);
    if (s == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for a search");
    s->f = f, s->by = by, s->seen = seen, s->thorough = thorough, s->error = error;
    heed_status status = begin(s);
    if (status == HEED_OK && !(f->inside && f->n_explained == 0)) status = try_singles(s, true);    // what could be seen
    if (status == HEED_OK && f->n_explained > 0) status = confirm_rows(s);
    else if (status == HEED_OK && f->inside) status = search_beside_rows(s);
    f->inside &= s->claim_inside;
    gradients_free(&s->claim);
    free(s);
    return status;
}
