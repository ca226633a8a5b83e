// SPDX-License-Identifier: Apache-2.0
// heed doctor phase1 [FILE]: four mismatches that were reported of a GPT-OSS attention block, and the one formula that gives all
// of them. Everything printed is computed now; the report is the only thing taken from elsewhere.
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "cli/doctor.h"
#include "cli/output.h"
#include "cli/status.h"
#include "compare/phase1.h"
#include "io/json.h"

// ---- The file -----------------------------------------------------------------------------------------------------

static heed_status take_numbers(const json_t *list, const char *file, const char *key, int64_t n, double *to, heed_error *error) {
    if (!json_is_array(list) || (int64_t)json_array_size(list) != n)
        return error_set(error, HEED_INVALID, "%.100s: %s is no list of %lld numbers", file, key, (long long)n);
    for (int64_t i = 0; i < n; i++) {
        const json_t *x = json_array_get(list, (size_t)i);
        if (!json_is_number(x)) return error_set(error, HEED_INVALID, "%.100s: %s[%lld] is no number", file, key, (long long)i);
        to[i] = json_number_value(x);
    }
    return HEED_OK;
}

static heed_status take_reported(const json_t *of, const char *file, phase1_test *t, heed_error *error) {
    const json_t *reported = NULL;
    const struct { const char *key; double *value; } real[] = {
        {"mismatched", &t->mismatched}, {"max_abs_error", &t->max_abs_error}, {"rtol", &t->rtol}, {"atol", &t->atol}};
    heed_status status = json_take_object(of, file, "reported", JSON_NEEDED, &reported, error);
    for (int i = 0; status == HEED_OK && i < 4; i++)
        status = json_take_real(reported, file, real[i].key, JSON_NEEDED, 0, 1e6, real[i].value, error);
    return status;
}

static heed_status take_test(const json_t *of, const char *file, phase1_test *t, heed_error *error) {
    const struct { const char *key; int64_t least, most, *value; } whole[] = {
        {"tokens", 1, PHASE1_TOKENS, &t->tokens}, {"heads", 1, 16, &t->heads}, {"kv_heads", 1, 16, &t->kv_heads},
        {"hidden", 1, PHASE1_HIDDEN, &t->hidden}, {"head_dim", 2, 16, &t->head_dim}, {"window", 0, PHASE1_TOKENS, &t->window},
    };
    const struct { const char *key; double least, *value; } real[] = {
        {"rope_theta", 1, &t->theta}, {"weights", -1e3, &t->weights}, {"biases", -1e3, &t->biases}, {"sinks", -1e3, &t->sinks}};
    const char *id = NULL, *name = NULL;
    const json_t *input = NULL;
    heed_status status = json_take_text(of, file, "id", JSON_NEEDED, NULL, &id, error);
    if (status == HEED_OK) status = json_take_text(of, file, "name", JSON_NEEDED, NULL, &name, error);
    for (int i = 0; status == HEED_OK && i < 6; i++)
        status = json_take_int(of, file, whole[i].key, JSON_NEEDED, whole[i].least, whole[i].most, whole[i].value, error);
    for (int i = 0; status == HEED_OK && i < 4; i++)
        status = json_take_real(of, file, real[i].key, JSON_NEEDED, real[i].least, 1e12, real[i].value, error);
    if (status == HEED_OK) status = json_take_array(of, file, "input_bf16", JSON_NEEDED, &input, error);
    if (status != HEED_OK) return status;
    snprintf(t->id, sizeof t->id, "%s", id);
    snprintf(t->name, sizeof t->name, "%s", name);
    if ((int64_t)json_array_size(input) != t->tokens)
        return error_set(error, HEED_INVALID, "%.100s: input_bf16 has %zu rows; tokens is %lld", file, json_array_size(input),
                         (long long)t->tokens);
    for (int64_t i = 0; status == HEED_OK && i < t->tokens; i++)
        status = take_numbers(json_array_get(input, (size_t)i), file, "input_bf16", t->hidden, t->input + i * t->hidden, error);
    const char *const right = "reference_row_value";
    if (status == HEED_OK) status = take_numbers(json_object_get(of, right), file, right, t->tokens, t->reference, error);
    return status == HEED_OK ? take_reported(of, file, t, error) : status;
}

static heed_status read_tests(const char *file, phase1_test test[PHASE1_TESTS], int *n, heed_error *error) {
    json_t *root = NULL;
    const json_t *list = NULL;
    heed_status status = json_file_read(&root, file, error);
    if (status == HEED_OK) status = json_take_array(root, file, "tests", JSON_NEEDED, &list, error);
    *n = status == HEED_OK ? (int)json_array_size(list) : 0;
    if (status == HEED_OK && (*n < 1 || *n > PHASE1_TESTS))
        status = error_set(error, HEED_INVALID, "%.100s: tests has %d entries; 1 to %d are allowed", file, *n, PHASE1_TESTS);
    for (int i = 0; status == HEED_OK && i < *n; i++) status = take_test(json_array_get(list, (size_t)i), file, &test[i], error);
    json_decref(root);
    return status;
}

// ---- What is told -------------------------------------------------------------------------------------------------

typedef struct { phase1_test test[PHASE1_TESTS]; int n; phase1_findings found; } phase1;

static json_t *difference_json(const phase1_difference *d) {
    return json_pack("{s:f, s:o}", "mismatched", d->mismatched, "max_abs_error", output_real(d->max_abs_error));
}

static json_t *trial_json(const phase1 *p, const phase1_trial *k) {
    json_t *found = json_array();
    for (int i = 0; i < p->n; i++) json_array_append_new(found, difference_json(&k->found[i]));
    return json_pack("{s:[s], s:s, s:o, s:s, s:o}", "ids", k->of->id, "aliases", k->of->aliases, "parameter",
                     k->parameter != 0 ? json_real(k->parameter) : json_null(), "says", k->of->sentence, "found", found);
}

// Blind: no parameter of the hypothesis changes any output.
static bool is_blind(const phase1 *p, const hypothesis *h) {
    bool tried = false, visible = false;
    for (int i = 0; i < p->found.trials; i++)
        if (p->found.trial[i].of == h) tried = true, visible |= p->found.trial[i].visible;
    return tried && !visible;
}

static json_t *phase1_json(const phase1 *p) {
    json_t *tests = json_array(), *explanations = json_array(), *blind = json_array(), *trials = json_array();
    for (int i = 0; i < p->n; i++) {
        const phase1_test *t = &p->test[i];
        json_t *row = json_pack("{s:s, s:s, s:b, s:o}", "id", t->id, "name", t->name, "reference_exact", p->found.exact[i],
                                "reported", difference_json(&(phase1_difference){t->mismatched, t->max_abs_error}));
        json_array_append_new(tests, row);
    }
    for (int i = 0; i < p->found.trials; i++) {
        json_array_append_new(trials, trial_json(p, &p->found.trial[i]));
        if (p->found.trial[i].matches) json_array_append_new(explanations, trial_json(p, &p->found.trial[i]));
    }
    for (const hypothesis *h = hypotheses; h->id != NULL; h++)
        if (is_blind(p, h)) json_array_append_new(blind, json_string(h->id));
    return json_pack("{s:o, s:o, s:o, s:o}", "tests", tests, "explanations", explanations, "undecidable", blind, "trials", trials);
}

static void print_tests(const phase1 *p) {
    printf("  test  %-20s %8s %10s   %s\n", "", "differ", "largest", "the block as it should be");
    for (int i = 0; i < p->n; i++)
        printf("  %-5s %-20s %7.4g %% %10.6g   %s\n", p->test[i].id, p->test[i].name, 100 * p->test[i].mismatched,
               p->test[i].max_abs_error, p->found.exact[i] ? "gives the reference, bit for bit" : "does not give the reference");
}

static void print_trial(const phase1 *p, const phase1_trial *k) {
    char name[64];
    if (k->parameter != 0) snprintf(name, sizeof name, "%s (%g)", k->of->id, k->parameter);
    else snprintf(name, sizeof name, "%s", k->of->id);
    printf("  %s%-30s", k->matches ? output_colour(COLOUR_GOOD) : "", name);
    for (int i = 0; i < p->n; i++) printf(" %6.4g %% %-8.5g", 100 * k->found[i].mismatched, k->found[i].max_abs_error);
    printf("%s%s\n", k->matches ? "<- all of them" : "", k->matches ? output_colour(COLOUR_NONE) : "");
}

static void print_ending(const phase1 *p) {
    char blind[2048] = "";
    size_t used = 0;
    int matches = 0;
    for (int i = 0; i < p->found.trials; i++) {
        const phase1_trial *k = &p->found.trial[i];
        if (!k->matches) continue;
        printf("\n%s%s%s", output_colour(COLOUR_STRONG), k->of->id, output_colour(COLOUR_NONE));
        if (*k->of->aliases != 0) printf(" = %s", k->of->aliases);
        printf(":\n  ");
        output_wrap(k->of->sentence, 2, 2);
        matches++;
    }
    if (matches == 0) printf("\nNo single formula gives all of the reported figures.\n");
    for (const hypothesis *h = hypotheses; h->id != NULL && used < sizeof blind - 64; h++)
        if (is_blind(p, h)) used += (size_t)snprintf(blind + used, sizeof blind - used, "%s ", h->id);
    printf("\nThese inputs cannot show, since whole rows of weights are equal:\n  ");
    output_wrap(blind, 2, 2);
}

static int tell(const args *a, const phase1 *p) {
    const doctor_options *o = a->options;
    if (o->json) return output_json(a, phase1_json(p));
    printf("reported\n");
    print_tests(p);
    printf("\nwhat each formula would give, test by test (those that change nothing are left out)\n");
    for (int i = 0; i < p->found.trials; i++)
        if (p->found.trial[i].visible) print_trial(p, &p->found.trial[i]);
    print_ending(p);
    return STATUS_DONE;
}

int doctor_phase1(const args *a) {
    heed_error error;
    phase1 *p = calloc(1, sizeof *p);
    if (p == NULL) return args_fail(a, STATUS_SYSTEM, "out of memory");
    heed_status status = HEED_OK;
    p->n = PHASE1_TESTS;
    if (a->n_positional == 1) phase1_builtin(p->test);
    else status = read_tests(a->positional[1], p->test, &p->n, &error);
    const bool unreadable = status != HEED_OK;
    if (status == HEED_OK) status = phase1_search(&p->found, p->test, p->n, &error);
    int done;
    if (unreadable) done = args_fail(a, STATUS_SYSTEM, "%s", error.text);
    else done = status == HEED_OK ? tell(a, p) : args_fail_error(a, &error);
    free(p);
    return done;
}
