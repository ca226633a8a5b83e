// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "cli/compare_report.h"
#include "cli/doctor_model.h"
#include "cli/output.h"

// ---- For programs -----------------------------------------------------------------------------------------------------

static json_t *weights_json(const weight_map *m) {
    json_t *rows = json_array(), *counts = json_object();
    for (int k = 0; k < WEIGHT_KINDS; k++) json_object_set_new(counts, weight_kinds[k], json_integer(m->count[k]));
    for (int64_t i = 0; i < m->n; i++) {
        const weight_row *r = &m->row[i];
        json_t *row = json_pack("{s:s, s:s, s:s, s:s, s:s?, s:s?, s:o, s:I, s:I, s:I, s:I}", "name", r->name, "is",
                                weight_kinds[r->kind], "shape_a", r->shape[0], "shape_b", r->shape[1], "type_a", r->type[0],
                                "type_b", r->type[1], "largest", output_real(r->largest), "at", (json_int_t)r->at, "differ",
                                (json_int_t)r->differ, "checksum_a", (json_int_t)r->checksum[0], "checksum_b",
                                (json_int_t)r->checksum[1]);
        json_array_append_new(rows, row);
    }
    return json_pack("{s:o, s:s?, s:o}", "counts", counts, "copy", m->copy, "tensors", rows);
}

static json_t *step_json(const walk_step *s) {
    return json_pack("{s:s, s:o, s:b, s:b, s:b, s:o, s:o, s:o, s:I}", "component", walk_components[s->component], "layer",
                     s->layer < 0 ? json_null() : json_integer(s->layer), "equal", s->equal, "inside", s->inside, "finite",
                     s->finite, "rms", output_real(s->rms), "peak", output_real(s->peak), "largest", output_real(s->largest), "row",
                     (json_int_t)s->row);
}

int doctor_model_json(const args *a, const model_findings *f) {
    const walk_findings *w = &f->walk;
    json_t *steps = json_array(), *config = json_array(), *ids = json_array();
    for (int64_t i = 0; i < w->n; i++)
        if (w->step[i].known) json_array_append_new(steps, step_json(&w->step[i]));
    for (int i = 0; i < f->fields; i++) json_array_append_new(config, json_string(f->field[i]));
    for (int64_t i = 0; i < f->batch.rows * f->batch.length; i++) json_array_append_new(ids, json_integer(f->id[i]));
    const compare_report told = {f->problem, f->name[0], f->name[1], "", f->attention};
    json_t *attention = json_null();
    if (f->attention != NULL) {
        attention = compare_report_json(&told);
        json_object_set_new(attention, "layer", json_integer(w->attention_layer));
    }
    return output_json(a, json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:s?, s:o, s:o, s:o}", "a", f->name[0], "b", f->name[1],
                                    "verdict", verdict_names[f->kind], "first", w->first < 0 ? json_null()
                                    : step_json(&w->step[w->first]), "weights", f->folder[1] == NULL ? json_null()
                                    : weights_json(&f->weights), "config", config, "not_computed",
                                    f->not_walked[0] != 0 ? f->not_walked : NULL, "components", steps, "attention", attention,
                                    "ids", ids));
}

// ---- For people -------------------------------------------------------------------------------------------------------

enum { ROWS_SHOWN = 12 };

static void print_weights(const weight_map *m) {
    const char *between = "weights      ";
    for (int k = 0; k < WEIGHT_KINDS; k++)
        if (m->count[k] > 0) printf("%s%lld %s", between, (long long)m->count[k], weight_kinds[k]), between = ", ";
    printf("%s%s\n", m->copy != NULL ? ": " : "", m->copy != NULL ? m->copy : "");
    int shown = 0;
    for (int64_t i = 0; i < m->n; i++) {
        const weight_row *r = &m->row[i];
        if (r->kind < WEIGHT_DIFFERS || shown++ >= ROWS_SHOWN) continue;
        printf("  %-10s %-28s %s", weight_kinds[r->kind], r->name, r->shape[0][0] != 0 ? r->shape[0] : r->shape[1]);
        if (r->kind == WEIGHT_SHAPE || r->kind == WEIGHT_TRANSPOSED) printf(" against %s", r->shape[1]);
        if (r->kind == WEIGHT_DIFFERS)
            printf("  %lld elements, at most by %.4g, at %lld", (long long)r->differ, r->largest, (long long)r->at);
        putchar('\n');
    }
    if (shown > ROWS_SHOWN) printf("  and %d more; --json has all\n", shown - ROWS_SHOWN);
}

static void print_step(const walk_step *s) {
    char name[64];
    walk_name(s, name, sizeof name);
    printf("  %s%-24s%s rms %-9.3g peak %-9.3g largest %.4g%s\n", output_colour(s->inside ? COLOUR_NONE : COLOUR_BAD), name,
           output_colour(COLOUR_NONE), s->rms, s->peak, s->largest,
           s->inside ? "" : s->finite ? "     outside" : "     not finite");
}

// The layer of the first departure in full, and whatever else departs by itself.
static void print_walk(const walk_findings *w) {
    int64_t outside = 0;
    for (int64_t i = 0; i < w->n; i++) outside += w->step[i].known && !w->step[i].inside;
    printf("layers       %lld components compared, %lld outside of rounding (errors in units of what is expected)\n",
           (long long)w->known, (long long)outside);
    const int64_t layer = w->first < 0 ? -2 : w->step[w->first].layer;
    int shown = 0;
    for (int64_t i = 0; i < w->n; i++) {
        const walk_step *s = &w->step[i];
        if (!s->known || (s->inside && (s->layer != layer || layer < 0))) continue;
        if (shown++ < 2 * ROWS_SHOWN) print_step(s);
    }
    if (shown > 2 * ROWS_SHOWN) printf("  and %d more; --json has all\n", shown - 2 * ROWS_SHOWN);
}

static void print_attention(const model_findings *f) {
    const verdict *v = f->attention;
    const findings *found = &v->of[v->side == 0 ? 0 : 1];
    printf("attention    of layer %lld by itself, as \"%s\": %s%s\n", (long long)f->walk.attention_layer, f->problem,
           verdict_names[v->kind], v->unexplained ? ", unexplained" : "");
    for (int i = 0; i < found->n_explained; i++)
        for (int k = 0; k < EXPLANATION_IDS && found->explained[i].of[k] != NULL; k++) {
            const hypothesis *h = found->explained[i].of[k];
            printf("  %-24s ", h->id);
            output_wrap(h->sentence, 27, 27);
        }
}

static const char *meaning(verdict_kind kind) {
    switch (kind) {
    case VERDICT_SAME: return "equal to the last bit";
    case VERDICT_ROUNDING: return "the same model; rounding explains every difference";
    case VERDICT_NAN: return "finite on one side only";
    default: return "another model";
    }
}

void doctor_model_print(const model_findings *f) {
    const bool good = f->kind <= VERDICT_ROUNDING;
    const model_config *c = model_config_of(f->model[0]);
    char name[64];
    printf("a            %s: %lld layers, %lld heads, width %lld\nb            %s%s\n", f->name[0], (long long)c->layers,
           (long long)c->heads, (long long)c->width, f->name[1], f->folder[1] == NULL ? " (captured)" : "");
    printf("tokens       %lld x %lld", (long long)f->batch.rows, (long long)f->batch.length);
    if (f->prompt != NULL) {
        printf(", \"");
        output_shown(f->prompt, strlen(f->prompt));
        putchar('"');
    }
    printf("\n\n%s%s%s  %s\n", output_colour(good ? COLOUR_GOOD : COLOUR_BAD), verdict_names[f->kind], output_colour(COLOUR_NONE),
           meaning(f->kind));
    if (f->walk.first >= 0) {
        walk_name(&f->walk.step[f->walk.first], name, sizeof name);
        printf("first        %s%s%s\n", output_colour(COLOUR_STRONG), name, output_colour(COLOUR_NONE));
    }
    if (f->folder[1] != NULL) print_weights(&f->weights);
    for (int i = 0; i < f->fields; i++) printf("config       %s\n", f->field[i]);
    if (f->not_walked[0] != 0) {
        printf("layers       ");
        char text[400];
        snprintf(text, sizeof text, "not computed: %s", f->not_walked);
        output_wrap(text, 13, 13);
    } else {
        print_walk(&f->walk);
    }
    if (f->attention != NULL) print_attention(f);
    if (f->capture.unknown > 0)
        printf("not read     %lld arrays whose names are no component's, the first is %.60s\n", (long long)f->capture.unknown,
               f->capture.first_unknown);
}
