// SPDX-License-Identifier: Apache-2.0
#include "compare/verdict.h"

#include "base/error.h"
#include "base/memory.h"
#include "compare/gradient.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const verdict_names[] = {"SAME", "ROUNDING", "SEMANTIC", "NAN", "UNDECIDABLE"};

typedef struct { const call *c; predictor by; row_list all; prediction claim; verdict *v; heed_error *error; } work;

// ---- Where a NaN comes from ---------------------------------------------------------------------------------------

static bool row_is_finite(const double *x, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(x[i])) return false;
    return true;
}

typedef struct { bool empty, visible, hidden, overflow; int64_t rows; } nan_signs;

// What could have made this row's result other than finite, seen from its inputs.
static void look_at_row(const work *w, formula_row *r, nan_signs *all) {
    const call *c = w->c;
    bool visible = !row_is_finite(c->q + ((r->batch * c->heads + r->head) * c->queries + r->row) * c->channels, c->channels);
    bool hidden = false;
    for (int64_t j = 0; j < c->keys; j++) {
        const int64_t at = (r->batch * c->kv_heads + r->kv_head) * c->keys + j;
        const bool bad = !row_is_finite(c->k + at * c->channels, c->channels) ||
                         !row_is_finite(c->v + at * c->value_channels, c->value_channels);
        const bool shown = j >= r->first && j < r->end && r->shown[j];
        visible |= bad && shown;
        hidden |= bad && !shown;
    }
    all->empty &= r->empty;
    all->visible &= visible;
    all->hidden &= hidden;
    all->rows++;
}

static bool apart(const call *c, const double *seen, const double *right) {
    for (int64_t t = 0; t < c->value_channels; t++)
        if (isfinite(seen[t]) != isfinite(right[t])) return true;
    return false;
}

// The one cause that all rows share; the earlier explains more.
static heed_status find_nan_cause(work *w, const observed *seen) {
    const call *c = w->c;
    const size_t bytes = formula_row_bytes(c);
    char *memory = memory_take(2 * bytes);
    formula overflow = {.memory = NULL};
    if (memory == NULL) return error_set(w->error, HEED_NO_MEMORY, "no memory for a row");
    formula_row r = formula_row_at(c, memory), narrow = formula_row_at(c, memory + bytes);
    variant v = w->by.claim.v;
    v.rounding = ROUND_OVERFLOW;
    const heed_status status = formula_begin(&overflow, c, &v, &w->by.claim, w->error);
    nan_signs all = {.empty = true, .visible = true, .hidden = true, .overflow = true};
    for (int64_t i = 0; status == HEED_OK && i < w->all.n; i++) {
        const row_place at = w->all.at[i];
        const int64_t place = (at.batch * c->heads + at.head) * c->queries + at.row, Dv = c->value_channels;
        if (!apart(c, seen->out + place * Dv, w->claim.out + i * Dv)) continue;
        formula_row_compute(&w->by.claim, at.batch, at.head, at.row, &r);
        formula_row_compute(&overflow, at.batch, at.head, at.row, &narrow);
        look_at_row(w, &r, &all);
        all.overflow &= !row_is_finite(narrow.out, Dv);
    }
    w->v->nan_cause = all.rows == 0 ? NULL : all.empty ? "nan.empty_row" : all.visible ? "nan.visible_input"
                    : all.hidden ? "nan.hidden_input" : all.overflow ? "nan.overflow" : "nan.unexplained";
    formula_end(&overflow);
    memory_free(memory);
    return status;
}

// ---- The verdict --------------------------------------------------------------------------------------------------

static bool equal(const double *a, const double *b, int64_t n) {
    for (int64_t i = 0; a != NULL && b != NULL && i < n; i++)
        if (a[i] != b[i] && !(isnan(a[i]) && isnan(b[i]))) return false;
    return true;
}

static bool is_rounding(const findings *f) { return f->inside && f->n_explained == 0; }

static bool listed(const findings *f, const hypothesis *h) {
    for (int i = 0; i < f->n_undecidable; i++)
        if (f->undecidable[i] == h) return true;
    return false;
}

// Is a number of the result not finite where the claim's is, or the reverse? An lse of -infinity is a row that sees nothing: that
// is another formula, not a NaN.
static bool nan_apart(const work *w, const observed *seen) {
    const call *c = w->c;
    for (int64_t i = 0; i < w->all.n; i++) {
        const row_place at = w->all.at[i];
        const int64_t place = (at.batch * c->heads + at.head) * c->queries + at.row, Dv = c->value_channels;
        if (apart(c, seen->out + place * Dv, w->claim.out + i * Dv)) return true;
        if (seen->lse != NULL && isnan(seen->lse[place]) != isnan(w->claim.lse[i])) return true;
    }
    for (int i = 0; i < GRADIENTS; i++)
        if (observed_gradient(seen, i) != NULL && !row_is_finite(observed_gradient(seen, i), gradient_size(c, i))) return true;
    return false;
}

static void decide(work *w, const observed *a, const observed *b, const hypothesis *const *ask) {
    verdict *v = w->v;
    const int64_t rows = w->all.n;
    bool same = equal(a->out, b->out, rows * w->c->value_channels) && equal(a->lse, b->lse, rows);
    for (int i = 0; i < GRADIENTS; i++)
        same &= equal(observed_gradient(a, i), observed_gradient(b, i), gradient_size(w->c, i));
    v->side = !is_rounding(&v->of[1]) ? 1 : !is_rounding(&v->of[0]) ? 0 : -1;
    const findings *f = v->side < 0 ? NULL : &v->of[v->side];
    const bool nan = f != NULL && f->claim.apart > 0 && nan_apart(w, v->side == 1 ? b : a);
    v->kind = same ? VERDICT_SAME : f == NULL ? VERDICT_ROUNDING : nan ? VERDICT_NAN : VERDICT_SEMANTIC;
    for (int i = 0; ask != NULL && ask[i] != NULL; i++)
        if (listed(&v->of[1], ask[i]) || !ask[i]->applies(w->c)) v->asked_in_vain[v->n_asked_in_vain++] = ask[i];
    if (v->n_asked_in_vain > 0 && v->kind <= VERDICT_ROUNDING) v->kind = VERDICT_UNDECIDABLE;
    if (v->kind == VERDICT_SEMANTIC) v->unexplained = f->n_explained == 0;
}

static heed_status locate(work *w, const observed *seen) {
    const findings *f = &w->v->of[w->v->side];
    const variant explained = f->n_explained > 0 ? f->explained[0].v : w->by.claim.v;
    const variant *found = f->n_explained > 0 ? &explained : NULL;
    return where_find(&w->v->at, &w->by, &w->claim, &w->all, seen, &f->correct, found, w->error);
}

// Where a result departs is seen from the correct reading of the claim that is nearest to it; sizes of errors are from the exact
// one.
static heed_status use_reading(work *w, const variant *claimed) {
    if (memcmp(claimed, &w->by.claim.v, sizeof *claimed) == 0) return HEED_OK;
    heed_status status = predictor_use(&w->by, claimed, w->error);
    prediction_free(&w->claim);
    w->claim = (prediction){.memory = NULL};
    if (status == HEED_OK) status = prediction_make(&w->claim, &w->by, claimed, &w->all, w->error);
    return status;
}

static heed_status reach(work *w, const observed *a, const observed *b, const hypothesis *const *ask, int n_threads) {
    const call *c = w->c;
    verdict *v = w->v;
    heed_status status = search_formulas(&v->of[1], c, b, true, n_threads, w->error);
    const bool b_departs = status == HEED_OK && !is_rounding(&v->of[1]);    // then a is looked at briefly
    if (status == HEED_OK) status = search_formulas(&v->of[0], c, a, !b_departs, n_threads, w->error);
    if (status == HEED_OK) status = predictor_begin(&w->by, c, n_threads, w->error);
    if (status == HEED_OK) status = row_list_all(&w->all, c, w->error);
    if (status == HEED_OK) status = prediction_make(&w->claim, &w->by, &w->by.claim.v, &w->all, w->error);
    if (status != HEED_OK) return status;
    const int64_t n = w->all.n * c->value_channels;
    const error_tolerance by = error_tolerance_of(c->problem.dtype);
    v->a_ref = error_size_of(a->out, w->claim.out, n, c->problem.dtype, by);
    v->b_ref = error_size_of(b->out, w->claim.out, n, c->problem.dtype, by);
    v->a_b = error_size_of(b->out, a->out, n, c->problem.dtype, by);
    decide(w, a, b, ask);
    if (v->side < 0) return HEED_OK;
    const observed *seen = v->side == 1 ? b : a;
    status = use_reading(w, &v->of[v->side].claimed);
    if (status == HEED_OK) status = locate(w, seen);
    if (status == HEED_OK && v->kind == VERDICT_NAN) {
        status = find_nan_cause(w, seen);
        if (v->nan_cause == NULL) v->nan_cause = "nan.unexplained";
        v->unexplained = v->of[v->side].n_explained == 0 && strcmp(v->nan_cause, "nan.unexplained") == 0;
    }
    return status;
}

heed_status verdict_reach(verdict *v, const call *c, const observed *a, const observed *b, const hypothesis *const *ask,
                          int n_threads, heed_error *error) {
    *v = (verdict){.side = -1};
    if (a->out == NULL || b->out == NULL) return error_set(error, HEED_INVALID, "a comparison needs `out` on both sides");
    work w = {.c = c, .v = v, .error = error};
    const heed_status status = reach(&w, a, b, ask, n_threads);
    prediction_free(&w.claim);
    free(w.all.at);
    predictor_end(&w.by);
    return status;
}
