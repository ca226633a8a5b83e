// SPDX-License-Identifier: Apache-2.0
#include "cli/compare_page.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"
#include "cli/embedded.h"
#include "cli/output.h"
#include "cli/page.h"
#include "cli/page_data.h"
#include "cli/status.h"
#include "compare/picture.h"
#include "io/file.h"

static json_t *map_json(const picture_map *m) {
    if (m->cell == NULL) return json_null();
    return json_pack("{s:[I,I], s:[I,I], s:[I,I], s:o}", "of", (json_int_t)m->n_rows, (json_int_t)m->n_columns, "cells",
                     (json_int_t)m->rows, (json_int_t)m->columns, "stride", (json_int_t)m->row_stride,
                     (json_int_t)m->column_stride, "data", page_bytes(m->cell, (size_t)(m->rows * m->columns)));
}

static json_t *scale_json(picture_scale s) { return json_pack("{s:f, s:i}", "least", s.least, "steps", s.steps); }

static json_t *counts_json(const int64_t *of, int n) {
    json_t *list = json_array();
    for (int i = 0; i < n; i++) json_array_append_new(list, json_integer((json_int_t)of[i]));
    return list;
}

static json_t *reals_json(const double *of, int n) {
    json_t *list = json_array();
    for (int i = 0; i < n; i++) json_array_append_new(list, output_real(of[i]));
    return list;
}

// One way to look at the errors: of a side, against a formula. Null where there is none.
static json_t *view_json(const picture *p, picture_view view) {
    if (p->errors[view].cell == NULL) return json_null();
    const size_t n = (size_t)p->positions;
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:I}", "map", map_json(&p->errors[view]), "worst", page_numbers(p->worst[view], n),
                     "usual", page_numbers(p->usual[view], n), "z", counts_json(p->z[view], PICTURE_BINS), "ulps",
                     counts_json(p->ulps[view], ULP_BINS), "apart", (json_int_t)p->apart[view]);
}

static json_t *picture_json(const picture *p) {
    json_t *views = json_array(), *weights = json_array();
    for (int i = 0; i < PICTURE_VIEWS; i++) json_array_append_new(views, view_json(p, (picture_view)i));
    for (int i = 0; i < p->n_weights; i++) {
        const picture_weight_maps *m = &p->weights[i];
        json_array_append_new(weights, json_pack("{s:I, s:I, s:o, s:o, s:o}", "batch", (json_int_t)m->batch, "head",
                                                 (json_int_t)m->head, "claim", map_json(&m->claim), "explained",
                                                 map_json(&m->explained), "change", map_json(&m->change)));
    }
    return json_pack("{s:{s:o, s:o, s:o}, s:o, s:o, s:o, s:o}", "scales", "errors", scale_json(picture_errors), "weights",
                     scale_json(picture_weights), "changes", scale_json(picture_changes), "views", views, "weights", weights,
                     "z_expected", reals_json(p->z_expected, PICTURE_BINS), "ulps_expected",
                     reals_json(p->ulps_expected, ULP_BINS));
}

// rms and correct: of the array that lies furthest outside, out and lse among them.
static json_t *side_json(const findings *f) {
    double rms, correct;
    residual_worst(&f->claim, &f->correct, &rms, &correct);
    if (f->claim.rms_lse * correct > rms * f->correct.rms_lse) rms = f->claim.rms_lse, correct = f->correct.rms_lse;
    return json_pack("{s:o, s:o, s:b, s:I}", "rms", output_real(rms), "correct", output_real(correct), "inside", f->inside,
                     "apart", (json_int_t)f->claim.apart);
}

static json_t *screened_json(const findings *f) {
    json_t *list = json_array();
    for (int i = 0; i < f->n_screened; i++) {
        const screening *s = &f->screened[i];
        json_array_append_new(list, json_pack("{s:s, s:s, s:o, s:o, s:o, s:I, s:b}", "id", s->of->id, "says", s->of->sentence,
                                              "parameter", s->parameter != 0 ? json_real(s->parameter) : json_null(), "residual",
                                              output_real(s->residual), "coefficient", output_real(s->coefficient), "apart",
                                              (json_int_t)s->apart, "visible", s->visible));
    }
    return list;
}

static json_t *blind_json(const hypothesis *const *of, int n) {
    json_t *list = json_array();
    for (int i = 0; i < n; i++) json_array_append_new(list, json_pack("{s:s, s:s}", "id", of[i]->id, "says", of[i]->sentence));
    return list;
}

static json_t *shape_json(const call *c) {
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "batch", (json_int_t)c->batch, "heads", (json_int_t)c->heads,
                     "kv_heads", (json_int_t)c->kv_heads, "queries", (json_int_t)c->queries, "keys", (json_int_t)c->keys,
                     "channels", (json_int_t)c->channels, "value_channels", (json_int_t)c->value_channels, "dtype",
                     dtype_name(c->problem.dtype));
}

// What `--json` prints, and under "page" what only pictures need.
static json_t *page_json(const compare_page_wish *w, const comparison *k, const compare_report *r, const picture *p) {
    const verdict *v = &k->v;
    const findings *told = &v->of[v->side < 0 ? 1 : v->side];
    json_t *data = compare_report_json(r);
    json_t *given = json_pack("{s:o, s:o, s:o, s:o}", "problem", json_text(w->problem), "probe", json_text(w->probe), "ask",
                              json_text(w->ask), "seed", w->seed < 0 ? json_null() : json_integer((json_int_t)w->seed));
    json_t *more = json_pack("{s:s, s:o, s:o, s:[o,o], s:o, s:o, s:o, s:[I,I], s:o}", "heed", heed_version(), "given", given,
                             "shape", shape_json(&k->c), "sides", side_json(&v->of[0]), side_json(&v->of[1]), "screened",
                             screened_json(told), "blind", blind_json(told->undecidable, told->n_undecidable), "asked",
                             blind_json(v->asked_in_vain, v->n_asked_in_vain), "bad_rows", (json_int_t)v->at.bad_rows,
                             (json_int_t)v->at.rows, "picture", picture_json(p));
    if (data == NULL || more == NULL || json_object_set_new(data, "page", more) != 0) {
        json_decref(data);
        return NULL;
    }
    return data;
}

static int write_text(const args *a, const compare_page_wish *w, const text_string *text) {
    heed_error error;
    if (file_replace(w->path, text->text, text->length, &error) != HEED_OK) return args_fail(a, STATUS_SYSTEM, "%s", error.text);
    if (w->quiet) return STATUS_DONE;
    printf("page         ");
    output_shown(w->path, strlen(w->path));
    printf(": %s\n", output_bytes((double)text->length).text);
    return STATUS_DONE;
}

int compare_page_write(const args *a, const compare_page_wish *w, const comparison *k, const compare_report *r) {
    static const char *const styles[] = {embedded_page_css, embedded_charts_css, embedded_compare_css, NULL};
    static const char *const scripts[] = {embedded_page_js, embedded_charts_js, embedded_maps_js, embedded_compare_js, NULL};
    const observed of_a = call_results_observed(&k->results[0]), of_b = call_results_observed(&k->results[1]);
    picture seen;
    heed_error error;
    text_string text = {0};
    if (picture_make(&seen, &k->c, &of_a, &of_b, &k->v, w->n_threads, &error) != HEED_OK) {
        picture_free(&seen);
        return args_fail_error(a, &error);
    }
    json_t *data = page_json(w, k, r, &seen);
    const page p = {.title = "heed compare", .styles = styles, .scripts = scripts, .data = data};
    if (data != NULL) page_write(&p, &text);
    const bool failed = data == NULL || text.failed;
    const int status = failed ? args_fail(a, STATUS_SYSTEM, "out of memory") : write_text(a, w, &text);
    picture_free(&seen);
    json_decref(data);
    free(text.text);
    return status;
}
