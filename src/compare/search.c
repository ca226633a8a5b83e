// SPDX-License-Identifier: Apache-2.0
// Screen on some rows, confirm on all. What the inputs cannot show is set aside first: it explains nothing.
#include "compare/search.h"

#include "base/error.h"
#include "base/memory.h"
#include "compare/gradient.h"
#include "compare/search_fit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    CANDIDATES_MOST = 256, CONFIRMED = 8,
    PAIR_SINGLES = 12,       // pairs are made of so many singles at most
    SAMPLE_LEAST = 32,       // rows of a head
};
static const double SAMPLE_WORK = 4e6;      // products a candidate's screening may take: some milliseconds
static const double WORTH_PAIRING = 0.9;    // a single that leaves at most this share of z^2 is worth a partner

typedef struct {
    const hypothesis *of[EXPLANATION_IDS];
    double parameter[EXPLANATION_IDS];
    variant v;
    prediction on_sample;
    residual screened;
    match seen;          // its difference from the claim, in what was observed
    bool visible;        // these inputs could show it
} candidate;

typedef struct {
    predictor by;
    const call *c;
    const observed *seen;
    bool thorough, pairs;
    row_list sample, all;
    prediction claim_sample, claim_all;
    candidate list[CANDIDATES_MOST];
    int n, n_singles;
    findings *found;
    heed_error *error;
} search;

static bool is_precision(const hypothesis *h) { return strncmp(h->id, "precision.", 10) == 0; }

// ---- Candidates ---------------------------------------------------------------------------------------------------

static bool same_variant(const variant *a, const variant *b) { return memcmp(a, b, sizeof *a) == 0; }

static void add_single(search *s, const hypothesis *h, double parameter) {
    if (s->n == CANDIDATES_MOST) return;
    candidate *k = &s->list[s->n];
    *k = (candidate){.of = {h}, .parameter = {parameter}};
    k->v = s->by.claim.v;
    h->edit(s->c, &k->v, parameter);
    s->n += !same_variant(&k->v, &s->by.claim.v);
}

static void list_singles(search *s) {
    for (const hypothesis *h = hypotheses; h->id != NULL; h++) {
        if (!h->applies(s->c)) continue;
        if (h->parameters[0] == 0) add_single(s, h, 0);
        for (int i = 0; i < HYPOTHESIS_PARAMETERS && h->parameters[i] != 0; i++) add_single(s, h, h->parameters[i]);
    }
    s->n_singles = s->n;
}

static heed_status screen(search *s, candidate *k) {
    const heed_status status = prediction_make(&k->on_sample, &s->by, &k->v, &s->sample, s->error);
    if (status != HEED_OK) return status;
    k->screened = residual_of(s->c, &k->on_sample, s->seen, &s->sample);
    k->seen = match_of(s->c, &s->claim_sample, &k->on_sample, s->seen, &s->sample);
    k->visible = k->seen.signal >= 8 || k->seen.apart > 0;
    return HEED_OK;
}

// What a sample does not show, all rows may: those whose result the variant changes at all.
static heed_status look_at_all(search *s, candidate *k) {
    row_list rows;
    prediction p = {0}, claim = {0};
    heed_status status = row_list_differing(&rows, &s->by, &k->v, &s->all, s->error);
    if (status == HEED_OK && rows.n > 0) {
        status = prediction_make(&p, &s->by, &k->v, &rows, s->error);
        if (status == HEED_OK) status = prediction_part(&claim, s->c, &s->claim_all, &rows, s->error);
        if (status == HEED_OK) {
            const match m = match_of(s->c, &claim, &p, s->seen, &rows);
            k->visible = m.signal >= 8 || m.apart > 0;
            if (match_is_whole(&m)) k->seen = m;
        }
    }
    prediction_free(&p);
    prediction_free(&claim);
    free(rows.at);
    return status;
}

static double work_of(const search *s, int64_t rows) {
    return (double)rows * (double)s->c->keys * (double)(s->c->channels + s->c->value_channels);
}

static void list_undecidable(search *s) {
    findings *f = s->found;
    for (const hypothesis *h = hypotheses; h->id != NULL; h++) {
        bool visible = false, tried = false;
        for (int i = 0; i < s->n_singles; i++) {
            if (s->list[i].of[0] != h) continue;
            tried = true;
            visible |= s->list[i].visible;
        }
        double low, high;
        if (!h->applies(s->c) || (tried && visible) || (!tried && hypothesis_fits(h, s->c, &low, &high))) continue;
        if (is_precision(h)) f->note[f->n_notes++] = h;
        f->undecidable[f->n_undecidable++] = h;
    }
}

static heed_status screen_singles(search *s) {
    for (int i = 0; i < s->n; i++) {
        candidate *k = &s->list[i];
        heed_status status = screen(s, k);
        const bool look = s->thorough && !k->visible && s->sample.n < s->all.n && !is_precision(k->of[0]);
        if (status == HEED_OK && look) status = look_at_all(s, k);
        if (status != HEED_OK) return status;
    }
    for (int i = 0; i < s->n_singles && i < SCREENED_MOST; i++) {
        const candidate *k = &s->list[i];
        s->found->screened[s->found->n_screened++] = (screening){k->of[0], k->parameter[0], k->screened.rms, k->screened.apart,
                                                                 k->seen.coefficient, k->visible};
    }
    list_undecidable(s);
    return HEED_OK;
}

// ---- Confirming ---------------------------------------------------------------------------------------------------

static int by_residual(const void *a, const void *b) {
    const candidate *const *x = a, *const *y = b;
    if ((*x)->screened.apart != (*y)->screened.apart) return (*x)->screened.apart < (*y)->screened.apart ? -1 : 1;
    return (*x)->screened.sum < (*y)->screened.sum ? -1 : (*x)->screened.sum > (*y)->screened.sum;
}

// What the claim leaves and this removes.
static double fixed_part(const residual *claim, const residual *left) {
    if (claim->apart > 0) return 1 - (double)left->apart / (double)claim->apart;
    return claim->sum > 0 ? fmax(0, 1 - left->sum / claim->sum) : 0;
}

static heed_status judge(search *s, const candidate *k, explanation *e, bool *inside, match *m, double *sum) {
    prediction p;
    residual own;
    heed_status status = prediction_make(&p, &s->by, &k->v, &s->all, s->error);
    if (status != HEED_OK) return status;
    status = residual_of_correct(&own, &s->by, &k->v, &s->sample, s->error);
    const residual r = residual_of(s->c, &p, s->seen, &s->all);
    *m = match_of(s->c, &s->claim_all, &p, s->seen, &s->all);
    *inside = residual_inside(&r, &own);
    *sum = r.sum;
    *e = (explanation){.of = {k->of[0], k->of[1]}, .parameter = {k->parameter[0], k->parameter[1]}, .v = k->v, .residual = r.rms,
                       .floor = own.rms, .fraction_fixed = fixed_part(&s->found->claim, &r)};
    prediction_free(&p);
    return status;
}

// Explanations that explain as well as the best: no more than some noise in the sum of squares apart.
static void keep_equals(findings *f, double *sums) {
    double best = INFINITY;
    for (int i = 0; i < f->n_explained; i++) best = fmin(best, sums[i]);
    int kept = 0;
    for (int i = 0; i < f->n_explained; i++) {
        if (sums[i] > best + 9 + 0.05 * best) continue;
        f->explained[kept] = f->explained[i];
        sums[kept++] = sums[i];
    }
    f->n_explained = kept;
    for (int i = 1; i < kept; i++)    // best first
        for (int j = i; j > 0 && sums[j] < sums[j - 1]; j--) {
            const explanation held = f->explained[j];
            const double sum = sums[j];
            f->explained[j] = f->explained[j - 1], sums[j] = sums[j - 1];
            f->explained[j - 1] = held, sums[j - 1] = sum;
        }
}

// The best of [first, end) on all rows. Where the claim is inside its floor, only what is whole in the observation counts.
static heed_status confirm(search *s, int first, int end) {
    candidate *order[CANDIDATES_MOST];
    double sums[EXPLANATIONS_MOST];
    findings *f = s->found;
    int n = 0;
    for (int i = first; i < end; i++) {
        candidate *k = &s->list[i];
        if (!k->visible || (f->inside && (is_precision(k->of[0]) || !match_is_whole(&k->seen)))) continue;
        order[n++] = k;
    }
    qsort(order, (size_t)n, sizeof *order, by_residual);
    f->n_nearest = 0;
    for (int i = 0; i < n && i < CONFIRMED && f->n_explained < EXPLANATIONS_MOST; i++) {
        explanation e;
        match m;
        bool inside;
        const heed_status status = judge(s, order[i], &e, &inside, &m, &sums[f->n_explained]);
        if (status != HEED_OK) return status;
        e.small = f->inside;
        if (inside && (!f->inside || match_is_whole(&m))) f->explained[f->n_explained++] = e;
        else if (f->n_nearest < NEAREST) f->nearest[f->n_nearest++] = e;
    }
    keep_equals(f, sums);
    if (f->n_explained > 0) f->n_nearest = 0;
    return HEED_OK;
}

// ---- Pairs --------------------------------------------------------------------------------------------------------

static bool helps(const search *s, const candidate *k, const residual *claim) {
    if (!k->visible || k->of[1] != NULL) return false;
    if (claim->apart > 0 && k->screened.apart < claim->apart) return true;
    return k->screened.apart <= claim->apart && k->screened.sum <= WORTH_PAIRING * claim->sum;
}

static heed_status add_pair(search *s, const candidate *a, const candidate *b) {
    if (s->n == CANDIDATES_MOST || a->of[0] == b->of[0]) return HEED_OK;
    candidate *k = &s->list[s->n];
    *k = (candidate){.of = {a->of[0], b->of[0]}, .parameter = {a->parameter[0], b->parameter[0]}, .v = a->v};
    b->of[0]->edit(s->c, &k->v, b->parameter[0]);
    if (same_variant(&k->v, &a->v) || same_variant(&k->v, &b->v)) return HEED_OK;
    s->n++;
    const heed_status status = screen(s, k);
    if (status != HEED_OK) return status;
    // The second must be in what the first leaves: the matched filter again, with the first as the claim.
    const match of_b = match_of(s->c, &a->on_sample, &k->on_sample, s->seen, &s->sample);
    const match of_a = match_of(s->c, &b->on_sample, &k->on_sample, s->seen, &s->sample);
    k->visible = (match_is_whole(&of_b) || of_b.apart > 0) && (match_is_whole(&of_a) || of_a.apart > 0);
    return HEED_OK;
}

static heed_status search_pairs(search *s) {
    const residual claim = residual_of(s->c, &s->claim_sample, s->seen, &s->sample);
    candidate *singles[CANDIDATES_MOST];
    int n = 0;
    for (int i = 0; i < s->n_singles; i++)
        if (helps(s, &s->list[i], &claim)) singles[n++] = &s->list[i];
    qsort(singles, (size_t)n, sizeof *singles, by_residual);
    if (n > PAIR_SINGLES) n = PAIR_SINGLES;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < s->n_singles; j++) {
            candidate *other = &s->list[j];
            bool before = false;    // pairs of two that help are taken once
            for (int k = 0; k < i; k++) before |= singles[k] == other;
            if (other == singles[i] || before || !other->visible) continue;
            const heed_status status = add_pair(s, singles[i], other);
            if (status != HEED_OK) return status;
        }
    return confirm(s, s->n_singles, s->n);
}

// ---- Numbers that no table holds ----------------------------------------------------------------------------------

static heed_status search_fitted(search *s) {
    const int first = s->n;
    for (const hypothesis *h = hypotheses; h->id != NULL; h++) {
        double low, high, number;
        if (!hypothesis_fits(h, s->c, &low, &high)) continue;
        heed_status status = fit_parameter(&number, h, &s->by, s->seen, &s->sample, s->error);
        if (status != HEED_OK) return status;
        const int before = s->n;
        if (number > 0) add_single(s, h, number);
        if (s->n > before) status = screen(s, &s->list[before]);
        if (status != HEED_OK) return status;
    }
    return s->n > first ? confirm(s, first, s->n) : HEED_OK;
}

// ---- All together -------------------------------------------------------------------------------------------------

static heed_status begin(search *s, int n_threads) {
    const call *c = s->c;
    heed_status status = predictor_begin(&s->by, c, n_threads, s->error);
    if (status == HEED_OK) status = predictor_use(&s->by, &s->found->claimed, s->error);
    if (status == HEED_OK) status = row_list_all(&s->all, c, s->error);
    const double row_work = work_of(s, c->batch * int64_min(c->heads, 4));
    const double most = fmax(SAMPLE_LEAST, SAMPLE_WORK / fmax(1, row_work));
    if (status == HEED_OK) {
        if (most >= (double)c->queries && c->heads <= 4) status = row_list_all(&s->sample, c, s->error);
        else status = row_list_sample(&s->sample, c, (int64_t)fmin(most, (double)c->queries), s->error);
    }
    if (status == HEED_OK) status = prediction_make(&s->claim_sample, &s->by, &s->by.claim.v, &s->sample, s->error);
    if (status == HEED_OK) status = prediction_make(&s->claim_all, &s->by, &s->by.claim.v, &s->all, s->error);
    return status;
}

static heed_status run(search *s) {
    findings *f = s->found;
    heed_status status = residual_of_correct(&f->correct, &s->by, &s->by.claim.v, &s->sample, s->error);
    if (status != HEED_OK) return status;
    f->claim = residual_of(s->c, &s->claim_all, s->seen, &s->all);
    f->inside = residual_inside(&f->claim, &f->correct);
    list_singles(s);
    status = screen_singles(s);
    if (status == HEED_OK) status = confirm(s, 0, s->n_singles);
    if (status == HEED_OK && s->pairs && !f->inside && f->n_explained == 0) {
        explanation nearest[NEAREST];
        const int n = f->n_nearest;
        memcpy(nearest, f->nearest, sizeof nearest);
        status = search_fitted(s);
        if (status == HEED_OK && f->n_explained == 0) status = search_pairs(s);
        if (f->n_explained == 0 && f->n_nearest == 0) memcpy(f->nearest, nearest, sizeof nearest), f->n_nearest = n;
    }
    if (status == HEED_OK && s->c->dout != NULL && gradients_observed(s->seen))
        status = search_gradients(f, &s->by, s->seen, s->thorough, s->error);
    return status;
}

static void end(search *s) {
    for (int i = 0; i < s->n; i++) prediction_free(&s->list[i].on_sample);
    prediction_free(&s->claim_sample);
    prediction_free(&s->claim_all);
    free(s->sample.at);
    free(s->all.at);
    predictor_end(&s->by);
}

typedef struct { const call *c; const observed *seen; bool thorough; int n_threads; heed_error *error; } request;

static heed_status search_as(findings *f, const variant *claimed, const request *r, bool pairs) {
    *f = (findings){.claimed = *claimed};
    search *s = calloc(1, sizeof *s);
    if (s == NULL) return error_set(r->error, HEED_NO_MEMORY, "no memory for a search");
    s->c = r->c, s->seen = r->seen, s->thorough = r->thorough, s->pairs = pairs, s->found = f, s->error = r->error;
    heed_status status = begin(s, r->n_threads);
    if (status == HEED_OK) status = run(s);
    end(s);
    free(s);
    return status;
}

// ---- Which correct reading of the claim ---------------------------------------------------------------------------

typedef struct { const variant *way; bool inside; double sum; } reading;

// Those inside of their floor first, then by what they leave.
static int by_nearness(const void *a, const void *b) {
    const reading *x = a, *y = b;
    if (x->inside != y->inside) return x->inside ? -1 : 1;
    if (x->inside || x->sum == y->sum) return x->way < y->way ? -1 : 1;
    return x->sum < y->sum ? -1 : 1;
}

static heed_status rank_readings(reading *list, int n, const request *to) {
    enum { ROWS_MOST = 1 << 14 };    // beyond, a sample
    const call *c = to->c;
    heed_error *error = to->error;
    predictor by;
    row_list rows = {.at = NULL};
    heed_status status = predictor_begin(&by, c, to->n_threads, error);
    if (status == HEED_OK && c->batch * c->heads * c->queries <= ROWS_MOST) status = row_list_all(&rows, c, error);
    else if (status == HEED_OK) status = row_list_sample(&rows, c, 64, error);
    for (int i = 0; status == HEED_OK && i < n; i++) {
        prediction p;
        residual correct;
        status = prediction_make(&p, &by, list[i].way, &rows, error);
        if (status != HEED_OK) break;
        const residual r = residual_of(c, &p, to->seen, &rows);
        status = residual_of_correct(&correct, &by, list[i].way, &rows, error);
        list[i].inside = residual_inside(&r, &correct);
        list[i].sum = r.sum;
        prediction_free(&p);
    }
    free(rows.at);
    predictor_end(&by);
    qsort(list, (size_t)n, sizeof *list, by_nearness);
    return status;
}

static bool is_settled(const findings *f) { return f->inside || f->n_explained > 0; }

// With a rotary embedding there are several correct ways, and a mistake may come with each: the readings in turn, until one gives
// rounding, or one id explains what is seen; pairs with the nearest only.
heed_status search_formulas(findings *f, const call *c, const observed *seen, bool thorough, int n_threads, heed_error *error) {
    const request r = {c, seen, thorough, n_threads, error};
    variant ways[VARIANTS_CORRECT];
    reading list[VARIANTS_CORRECT];
    const int n = variants_correct(c, ways);
    if (n == 1) return search_as(f, &ways[0], &r, true);
    for (int i = 0; i < n; i++) list[i] = (reading){.way = &ways[i]};
    heed_status status = rank_readings(list, n, &r);
    for (int i = 0; status == HEED_OK && i < n; i++) {
        status = search_as(f, list[i].way, &r, false);
        if (status == HEED_OK && is_settled(f)) return status;
    }
    // Pairs, in the readings whose roundings are the type's largest: which one is nearest says little where all are far off.
    for (int i = n - 1; status == HEED_OK && i >= 0; i--) {
        const variant_rope *way = &list[i].way->rope;
        const bool rounds = way->round_result || way->round_products;
        if (i > 0 && (c->problem.dtype == HEED_F32 ? rounds : way->f32_angles)) continue;
        status = search_as(f, list[i].way, &r, true);
        if (status == HEED_OK && is_settled(f)) return status;
    }
    return status;
}
