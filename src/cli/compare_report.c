// SPDX-License-Identifier: Apache-2.0
#include "cli/compare_report.h"

#include <stdio.h>
#include <string.h>

#include "cli/output.h"
#include "cli/status.h"

int compare_report_status(const verdict *v) {
    switch (v->kind) {
    case VERDICT_SEMANTIC: case VERDICT_NAN: return STATUS_FAILED;
    case VERDICT_UNDECIDABLE: return STATUS_UNDECIDABLE;
    default: return STATUS_DONE;
    }
}

// The findings a verdict rests on: those of the side that departs, else of b.
static const findings *told(const verdict *v) { return &v->of[v->side < 0 ? 1 : v->side]; }

// ---- For programs -------------------------------------------------------------------------------------------------

static json_t *ids_of(const explanation *e) {
    json_t *ids = json_array();
    for (int i = 0; i < EXPLANATION_IDS && e->of[i] != NULL; i++) json_array_append_new(ids, json_string(e->of[i]->id));
    return ids;
}

static json_t *explanation_json(const explanation *e) {
    json_t *aliases = json_array(), *parameters = json_array(), *says = json_array();
    for (int i = 0; i < EXPLANATION_IDS && e->of[i] != NULL; i++) {
        if (*e->of[i]->aliases != 0) json_array_append_new(aliases, json_string(e->of[i]->aliases));
        json_array_append_new(parameters, e->parameter[i] != 0 ? json_real(e->parameter[i]) : json_null());
        json_array_append_new(says, json_string(e->of[i]->sentence));
    }
    json_t *left = output_real(e->residual), *floor = output_real(e->floor), *fixed = output_real(e->fraction_fixed);
    return json_pack("{s:o, s:o, s:o, s:o, s:b, s:o, s:o, s:o}", "ids", ids_of(e), "aliases", aliases, "parameters", parameters,
                     "says", says, "backward_only", e->backward_only, "residual", left, "floor", floor, "fraction_fixed", fixed);
}

static json_t *nan_json(const verdict *v) {
    return json_pack("{s:[s], s:o, s:o, s:f}", "ids", v->nan_cause, "residual", json_null(), "floor",
                     output_real(told(v)->correct.rms), "fraction_fixed", 1.0);
}

static json_t *explanations_json(const verdict *v) {
    const findings *f = told(v);
    json_t *list = json_array();
    if (v->kind == VERDICT_NAN && strcmp(v->nan_cause, "nan.unexplained") != 0) json_array_append_new(list, nan_json(v));
    for (int i = 0; v->kind == VERDICT_SEMANTIC || v->kind == VERDICT_NAN ? i < f->n_explained : false; i++)
        json_array_append_new(list, explanation_json(&f->explained[i]));
    return list;
}

static json_t *error_json(const error_size *e) {
    json_t *ulps = json_array();
    for (int i = 0; i < ULP_BINS; i++) json_array_append_new(ulps, json_integer(e->ulps[i]));
    return json_pack("{s:o, s:o, s:o, s:f, s:I, s:o, s:I, s:o}", "max", output_real(e->max), "mean", output_real(e->mean), "rms",
                     output_real(e->rms), "mismatched", e->mismatched, "first_bad_index", (json_int_t)e->first_bad_index, "cosine",
                     output_real(e->cosine), "not_finite", (json_int_t)e->not_finite, "ulps", ulps);
}

// How far each observed gradient lies from the claim's, as residual and floor do for out; null for a forward call.
static json_t *gradients_json(const findings *f) {
    json_t *list = json_object();
    for (int i = 0; i < GRADIENTS; i++)
        if (f->claim.grad[i].rows > 0) {
            json_t *left = output_real(f->claim.grad[i].rms), *floor = output_real(f->correct.grad[i].rms);
            json_object_set_new(list, gradient_names[i], json_pack("{s:o, s:o}", "residual", left, "floor", floor));
        }
    return list;
}

static json_t *integers(const int64_t *x, int n) {
    json_t *list = json_array();
    for (int i = 0; i < n; i++) json_array_append_new(list, json_integer(x[i]));
    return list;
}

static json_t *ids_json(const hypothesis *const *list, int n) {
    json_t *ids = json_array();
    for (int i = 0; i < n; i++) json_array_append_new(ids, json_string(list[i]->id));
    return ids;
}

static json_t *lines_json(const char *text) {
    json_t *list = json_array();
    for (size_t n; text != NULL && *text != 0; text += n + (text[n] != 0)) {
        n = strcspn(text, "\n");
        json_array_append_new(list, json_text_bytes(text, n));
    }
    return list;
}

json_t *compare_report_json(const compare_report *r) {
    const verdict *v = r->v;
    const findings *f = told(v);
    const where *w = &v->at;
    json_t *nearest = json_array();
    for (int i = 0; i < f->n_nearest; i++) json_array_append_new(nearest, explanation_json(&f->nearest[i]));
    json_t *errors = json_pack("{s:o, s:o, s:o}", "a_ref", error_json(&v->a_ref), "b_ref", error_json(&v->b_ref), "a_b",
                               error_json(&v->a_b));
    json_t *pattern = w->pattern[0] != 0 ? json_string(w->pattern) : json_null();
    json_t *at = json_pack("{s:o, s:o, s:o, s:o}", "heads", integers(w->head, w->n_heads), "rows", integers(w->row, w->n_rows),
                           "keys", integers(w->key, w->n_keys), "pattern", pattern);
    return json_pack("{s:o, s:o, s:o, s:s, s:b, s:s?, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "problem",
                     json_text(r->problem), "a", json_text(r->a), "b", json_text(r->b), "verdict", verdict_names[v->kind],
                     "unexplained", v->unexplained, "departs", v->side < 0 ? NULL : v->side == 0 ? "a" : "b", "explanations",
                     explanations_json(v), "nearest", nearest,
                     "undecidable", ids_json(f->undecidable, f->n_undecidable), "notes", ids_json(f->note, f->n_notes), "errors",
                     errors, "residual", output_real(f->claim.rms), "floor", output_real(f->correct.rms), "gradients",
                     gradients_json(f), "where", at, "remarks",
                     lines_json(r->remarks));
}

// ---- For people ---------------------------------------------------------------------------------------------------

static void print_error(const char *label, const error_size *e) {
    printf("%-12s max %-11.4g mean %-11.4g rms %-11.4g beyond tolerance %.4g %%", label, e->max, e->mean, e->rms,
           100 * e->mismatched);
    if (e->not_finite > 0) printf(", not finite on one side %lld", (long long)e->not_finite);
    putchar('\n');
}

static void print_explanation(const char *label, const explanation *e) {
    char ids[160] = "";
    for (int i = 0; i < EXPLANATION_IDS && e->of[i] != NULL; i++) {
        const size_t n = strlen(ids);
        snprintf(ids + n, sizeof ids - n, "%s%s", i > 0 ? " and " : "", e->of[i]->id);
        if (e->parameter[i] != 0) snprintf(ids + strlen(ids), sizeof ids - strlen(ids), " (%g)", e->parameter[i]);
    }
    printf("%-12s %s%s%s%s: residual %.3g, floor %.3g, explains %.3g %%\n", label, output_colour(COLOUR_STRONG), ids,
           output_colour(COLOUR_NONE), e->backward_only ? ", in the backward pass only" : "", e->residual, e->floor,
           100 * e->fraction_fixed);
    for (int i = 0; i < EXPLANATION_IDS && e->of[i] != NULL; i++) {
        printf("%*s", 13, "");
        output_wrap(e->of[i]->sentence, 13, 13);
    }
}

static void print_gradients(const findings *f) {
    for (int i = 0; i < GRADIENTS; i++)
        if (f->claim.grad[i].rows > 0)
            printf("%-12s rms error %.3g of the size that rounding is expected to have, peak %.3g; correct code reaches %.3g, peak "
                   "%.3g\n", gradient_names[i], f->claim.grad[i].rms, f->claim.grad[i].peak, f->correct.grad[i].rms,
                   f->correct.grad[i].peak);
}

static void print_list(const char *label, const int64_t *x, int n) {
    if (n == 0) return;
    printf("  %-5s", label);
    for (int i = 0; i < n && i < 16; i++) printf(" %lld", (long long)x[i]);
    printf(n > 16 ? " ...\n" : "\n");
}

static void print_where(const verdict *v) {
    const where *w = &v->at;
    printf("where        %lld of %lld rows (all heads) depart%s%s\n", (long long)w->bad_rows, (long long)w->rows,
           w->pattern[0] != 0 ? ": " : "", w->pattern);
    print_list("heads", w->head, w->n_heads);
    print_list("rows", w->row, w->n_rows);
    print_list("keys", w->key, w->n_keys);
}

static void print_ids(const char *label, const char *why, const hypothesis *const *list, int n) {
    char text[4096] = "";
    size_t used = 0;
    for (int i = 0; i < n && used < sizeof text - 64; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s ", list[i]->id);
    if (n == 0) return;
    printf("%-12s ", label);
    output_wrap(why, 13, 13);
    printf("%*s", 13, "");
    output_wrap(text, 13, 13);
}

static const char *meaning(const verdict *v) {
    switch (v->kind) {
    case VERDICT_SAME: return "equal to the last bit";
    case VERDICT_ROUNDING: return "both are this formula; rounding explains the difference";
    case VERDICT_SEMANTIC: return v->unexplained ? "another formula, which no hypothesis explains" : "another formula";
    case VERDICT_NAN: return "finite on one side only";
    case VERDICT_UNDECIDABLE: break;
    }
    return "these inputs cannot show what was asked";
}

static void print_remarks(const char *text) {
    for (size_t n; text != NULL && *text != 0; text += n + (text[n] != 0)) {
        n = strcspn(text, "\n");
        printf("remark       %.*s\n", (int)n, text);
    }
}

void compare_report_print(const compare_report *r) {
    const verdict *v = r->v;
    const findings *f = told(v);
    const bool good = v->kind <= VERDICT_ROUNDING;
    printf("problem      %s\na            %s\nb            %s\n\n", r->problem, r->a, r->b);
    printf("%s%s%s  %s\n", output_colour(good ? COLOUR_GOOD : COLOUR_BAD), verdict_names[v->kind], output_colour(COLOUR_NONE),
           meaning(v));
    printf("floor        rms error %.3g of the size that rounding is expected to have; correct code reaches %.3g, peak %.3g\n",
           f->claim.rms, f->correct.rms, f->correct.peak);
    print_gradients(f);
    print_error("a to ref", &v->a_ref);
    print_error("b to ref", &v->b_ref);
    print_error("a to b", &v->a_b);
    if (v->side >= 0 && v->kind >= VERDICT_SEMANTIC) {
        printf("departs      %s\n", v->side == 0 ? r->a : r->b);
        if (v->nan_cause != NULL) printf("cause        %s\n", v->nan_cause);
        for (int i = 0; i < f->n_explained; i++) print_explanation(i == 0 ? "explained by" : "as well by", &f->explained[i]);
        for (int i = 0; i < f->n_nearest; i++) print_explanation(i == 0 ? "nearest" : "", &f->nearest[i]);
        print_where(v);
    }
    if (v->kind == VERDICT_UNDECIDABLE)
        print_ids("asked", "these inputs cannot show:", v->asked_in_vain, v->n_asked_in_vain);
    print_ids("blind to", "what these inputs cannot show (heed compare --probe FILE makes some that do):", f->undecidable,
              f->n_undecidable);
    print_remarks(r->remarks);
}
