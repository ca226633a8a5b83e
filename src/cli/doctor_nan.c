// SPDX-License-Identifier: Apache-2.0
// heed doctor nan: left padding on the fused operator that gave NaN on an Apple GPU, computed anew, and why.
#include "cli/doctor_nan.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/doctor.h"
#include "cli/output.h"
#include "cli/status.h"

static const nan_operator operators[] = {
    {"old fused operator", {.name = "cpu.flash", .preset = "mps_pre28", .disable_mps_fix = true}},
    {"the same, protected", {.name = "cpu.flash", .preset = "mps_pre28"}},
    {"eager", {.name = "eager", .preset = "hf_eager"}},
    {"flash_attention_2", {.name = "flash_attention_2"}},
};
enum { OPERATORS = sizeof operators / sizeof *operators, RESULTS = 2 * OPERATORS };

// ---- Table ------------------------------------------------------------------------------------------------------------

static output_text number(double x) {
    output_text t;
    snprintf(t.text, sizeof t.text, isnan(x) ? "NaN" : "%.6f", x);
    return t;
}

static output_text place_of(const nan_result *r) {
    output_text t = {"-"};
    if (r->first[0] >= 0)
        snprintf(t.text, sizeof t.text, "[%d, %d, %d]", (int)r->first[0], (int)r->first[1], (int)r->first[2]);
    return t;
}

static void print_result(const nan_result *r) {
    printf("  %-20s %-10s %-10s ", r->label, r->training ? "training" : "evaluation", r->implementation);
    printf("%s%-7s%s ", output_colour(r->finite ? COLOUR_GOOD : COLOUR_BAD), r->finite ? "finite" : "NaN",
           output_colour(COLOUR_NONE));
    if (r->training) printf("%-11s %-11s %-11s ", "-", "-", "-");
    else printf("%-11s %-11s %-11s ", place_of(r).text, number(r->output_mean).text, number(r->output_mean_real).text);
    printf("%-10s %s\n", number(r->loss).text, r->training ? number(r->gradient_norm).text : "-");
}

static void print_table(const nan_result r[RESULTS], const nan_texts *t) {
    printf("gpt2-nano, random weights; left padding to %d tokens (a byte each)\n", (int)t->length);
    for (int b = 0; b < NAN_TEXTS; b++) printf("  text %d: %2d pads, \"%s\"\n", b, (int)t->pads[b], t->text[b]);
    printf("\n  %-20s %-10s %-10s %-7s %-11s %-11s %-11s %-10s %s\n", "operator", "mode", "ran on", "result", "first at",
           "output mean", "real tokens", "loss", "gradient");
    for (int i = 0; i < RESULTS; i++) print_result(&r[i]);
    printf("  first at: [batch row, position, channel] of the logits; loss: nats a scored token, pads are not scored\n");
}

// ---- Why --------------------------------------------------------------------------------------------------------------

static const nan_result *result_of(const nan_result r[RESULTS], int operator, bool training) {
    return &r[2 * operator + training];
}

// Did this run show what was reported? NaN first at [0, 0, 0] in evaluation, in no other operator, and not in training.
static bool reproduced(const nan_result r[RESULTS]) {
    const nan_result *old = result_of(r, 0, false);
    bool others = result_of(r, 0, true)->finite;
    for (int i = 1; i < OPERATORS; i++) others &= result_of(r, i, false)->finite && result_of(r, i, true)->finite;
    return !old->finite && isnan(old->loss) && old->first[0] == 0 && old->first[1] == 0 && old->first[2] == 0 && others;
}

static void print_layers(const nan_result *old, const nan_layers *l, const nan_texts *t) {
    const int pads = (int)t->pads[0], length = (int)t->length;
    output_paragraph("1.", "Rows that see nothing. Under a causal mask row i sees keys 0 to i, and keys 0 to %d of text 0 are "
                     "padding. Its rows 0 to %d are left without a key: %d rows here, %d in text 1. Softmax over nothing "
                     "computes -inf minus -inf, which is NaN.", pads - 1, pads - 1, (int)l->empty_rows[0], (int)l->empty_rows[1]);
    output_paragraph("2.", "The first layer makes those rows NaN. One unprotected attention by itself: %d rows of text 0, %d of "
                     "text 1. In the model: %s.", (int)l->first_layer[0], (int)l->first_layer[1], old->origin.sentence);
    output_paragraph("3.", "The second layer spreads it. The pads' keys and values are NaN now; they are hidden, so their "
                     "weight is 0, but 0 * NaN is NaN. A second attention on the output of the first: %d of %d rows of text 0, "
                     "%d of text 1. In the model: %d of %d positions of text 0, %d of text 1.", (int)l->second_layer[0], length,
                     (int)l->second_layer[1], (int)old->bad_rows[0], length, (int)old->bad_rows[1]);
}

static void print_why(const nan_result r[RESULTS], const nan_layers *l, const nan_texts *t) {
    const nan_result *old = result_of(r, 0, false);
    printf("\n%sWhy%s\n", output_colour(COLOUR_STRONG), output_colour(COLOUR_NONE));
    print_layers(old, l, t);
    output_paragraph("4.", "The loss is one mean over the batch, so one NaN is enough: it is %s, though pads are not scored and "
                     "text 1 has %d bad positions.", number(old->loss).text, (int)old->bad_rows[1]);
    output_paragraph("5.", "Eager code survives because its mask is a large finite number instead of -inf: an empty row becomes "
                     "the mean of all values (here to within %.1e), and nobody reads it. Loss: %s.", l->mean_distance,
                     number(result_of(r, 2, false)->loss).text);
    output_paragraph("6.", "Flash survives because a row without a key is defined to be 0, and hidden keys are left out instead "
                     "of multiplied by 0. Loss: %s.", number(result_of(r, 3, false)->loss).text);
    output_paragraph("7.", "Training survives because the old operator was used only without gradients and without dropout. "
                     "What ran in training was \"%s\", in evaluation \"%s\".", result_of(r, 0, true)->problem, old->problem);
    if (reproduced(r)) printf("\nThe report is reproduced: NaN first at [0, 0, 0], by the old operator only, in evaluation.\n");
    else printf("\nThis run does NOT show what was reported; read the table.\n");
}

// ---- Record -----------------------------------------------------------------------------------------------------------

static json_t *pair(const int64_t n[NAN_TEXTS]) { return json_pack("[I, I]", (json_int_t)n[0], (json_int_t)n[1]); }

static json_t *result_json(const nan_result *r) {
    json_t *object = json_pack("{s:s, s:s, s:s}", "operator", r->label, "implementation", r->implementation, "preset", r->preset);
    json_object_set_new(object, "mode", json_string(r->training ? "training" : "evaluation"));
    json_object_set_new(object, "finite", json_boolean(r->finite));
    json_t *first = json_null();
    if (r->first[0] >= 0) first = json_pack("[I, I, I]", (json_int_t)r->first[0], (json_int_t)r->first[1], (json_int_t)r->first[2]);
    json_object_set_new(object, "first", first);
    json_object_set_new(object, "bad_rows", r->training ? json_null() : pair(r->bad_rows));
    json_object_set_new(object, "output_mean", output_real(r->output_mean));
    json_object_set_new(object, "output_mean_real_tokens", output_real(r->output_mean_real));
    json_object_set_new(object, "loss", output_real(r->loss));
    json_object_set_new(object, "gradient_norm", output_real(r->gradient_norm));
    json_object_set_new(object, "problem", json_string(r->problem));
    json_object_set_new(object, "reason", json_string(r->reason));
    json_object_set_new(object, "origin", json_string(r->origin.sentence));
    return object;
}

static json_t *as_json(const nan_result r[RESULTS], const nan_layers *l, const nan_texts *t) {
    json_t *results = json_array(), *layers = json_object(), *all = json_object();
    for (int i = 0; i < RESULTS; i++) json_array_append_new(results, result_json(&r[i]));
    json_object_set_new(layers, "empty_rows", pair(l->empty_rows));
    json_object_set_new(layers, "nan_rows_after_one", pair(l->first_layer));
    json_object_set_new(layers, "nan_rows_after_two", pair(l->second_layer));
    json_object_set_new(layers, "finite_minimum_to_mean", output_real(l->mean_distance));
    json_object_set_new(all, "reproduced", json_boolean(reproduced(r)));
    json_object_set_new(all, "model", json_string("gpt2-nano"));
    json_object_set_new(all, "texts", json_pack("[s, s]", t->text[0], t->text[1]));
    json_object_set_new(all, "length", json_integer((json_int_t)t->length));
    json_object_set_new(all, "pads", pair(t->pads));
    json_object_set_new(all, "results", results);
    json_object_set_new(all, "attention_alone", layers);
    return all;
}

int doctor_nan(const args *a) {
    const doctor_options *o = a->options;
    nan_texts texts;
    nan_layers layers;
    nan_result results[RESULTS];
    heed_error error;
    heed_status status = nan_texts_make(&texts, &error);
    if (status == HEED_OK) status = nan_layers_compute(&layers, &texts, (uint64_t)o->seed, (int)o->threads, &error);
    for (int i = 0; i < RESULTS && status == HEED_OK; i++)
        status = nan_result_compute(&results[i], &operators[i / 2], i % 2 == 1, &texts, (uint64_t)o->seed, (int)o->threads, &error);
    int done = STATUS_DONE;
    if (status != HEED_OK) {
        done = args_fail_error(a, &error);
    } else if (o->json) {
        done = output_json(a, as_json(results, &layers, &texts));
    } else {
        print_table(results, &texts);
        print_why(results, &layers, &texts);
    }
    nan_texts_free(&texts);
    return done;
}
