// SPDX-License-Identifier: Apache-2.0
// Outline: find both sides; open the files; the claim (--problem, or a file's); the call's inputs (a's file, b's, or drawn); then
// what each side computed or had recorded; then the verdict.
#include "cli/comparison.h"

#include <stdlib.h>

#include "base/error.h"
#include "cli/size.h"
#include "cli/status.h"
#include "compare/probe.h"

int comparison_fail(const args *a, const comparison *k, const heed_error *error) {
    if (k->of_file && error->status == HEED_INVALID) return args_fail(a, STATUS_SYSTEM, "%s", error->text);
    return args_fail_error(a, error);
}

static bool is_file(const compare_side *s) { return s->implementation == NULL; }

static heed_status open_files(comparison *k, heed_error *error) {
    heed_status status = HEED_OK;
    k->of_file = true;
    for (int i = 0; status == HEED_OK && i < 2; i++)
        if (is_file(&k->side[i])) status = capture_file_open(&k->side[i].file, k->side[i].name, error);
    return status;
}

// The file whose inputs are used, or NULL.
static const capture *inputs_of(const comparison *k) {
    for (int i = 0; i < 2; i++)
        if (is_file(&k->side[i]) && capture_has_inputs(&k->side[i].file.of)) return &k->side[i].file.of;
    return NULL;
}

static heed_status read_claim(comparison *k, const comparison_wish *w, heed_error *error) {
    const capture *inputs = inputs_of(k);
    const bool files = is_file(&k->side[0]) || is_file(&k->side[1]);
    heed_status status;
    k->of_file = false;
    if (inputs != NULL) status = capture_claim(&k->line, inputs, w->problem, error);
    else if (files) {
        k->of_file = true;
        return error_set(error, HEED_INVALID, "%s has no q, k, v, and nothing else has: a result is compared on the inputs it "
                         "came from",
                         k->side[is_file(&k->side[0]) ? 0 : 1].file.of.from);
    } else if (w->problem == NULL) {
        return error_set(error, HEED_INVALID, "--problem is missing: a text such as \"b1 h4/2 q100 d64 causal\"");
    } else {
        status = problem_claim_parse(&k->line, w->problem, error);
    }
    if (status == HEED_OK) status = size_allow_reference(&k->line.problem, error);
    if (w->probe != NULL && files)
        return error_set(error, HEED_INVALID, "--probe has no effect here: a file's result is of its own inputs; leave the file "
                         "out");
    if (w->seed_given && files) return error_set(error, HEED_INVALID, "--seed has no effect here: the data is the file's");
    if (w->seed_given) k->line.seed = (uint64_t)w->seed;
    return status;
}

static heed_status probe_inputs(comparison *k, const comparison_wish *w, heed_error *error) {
    probe *p = calloc(1, sizeof *p);
    if (p == NULL) return error_set(error, HEED_NO_MEMORY, "out of memory");
    heed_status status = probe_make(p, &k->line, w->n_threads, error);
    k->c = p->c;
    k->line = p->c.line;
    free(p);
    k->of_file = true;
    if (status == HEED_OK) status = capture_file_write(w->probe, &k->c, NULL, error);
    return status;
}

static heed_status draw(comparison *k, const comparison_wish *w, heed_error *error) {
    drawn data;
    if (w->probe != NULL) return probe_inputs(k, w, error);
    heed_status status = drawn_make(&data, &k->line, error);
    if (status == HEED_OK) status = call_of_drawn(&k->c, &data, error);
    drawn_free(&data);
    return status;
}

// Where both files have inputs, they must be the same.
static heed_status check_other(const comparison *k, const comparison_wish *w, const capture *inputs, heed_error *error) {
    const capture *other = is_file(&k->side[1]) ? &k->side[1].file.of : NULL;
    if (other == NULL || other == inputs || !capture_has_inputs(other)) return HEED_OK;
    problem_line line = k->line;
    call c = {.memory = NULL};
    heed_status status = w->problem != NULL || other->problem == NULL ? HEED_OK : capture_claim(&line, other, NULL, error);
    if (status == HEED_OK) status = capture_call(&c, other, &line, error);
    if (status == HEED_OK) status = capture_same_inputs(&k->c, inputs->from, &c, other->from, error);
    call_free(&c);
    return status;
}

static heed_status take_inputs(comparison *k, const comparison_wish *w, heed_error *error) {
    const capture *inputs = inputs_of(k);
    if (inputs == NULL) return draw(k, w, error);
    k->of_file = true;
    heed_status status = capture_call(&k->c, inputs, &k->line, error);
    if (status == HEED_OK) status = check_other(k, w, inputs, error);
    for (int i = 0; i < 2; i++)
        if (is_file(&k->side[i])) capture_remarks(&k->side[i].file.of, &k->line, &k->remarks);
    return status;
}

heed_status comparison_begin(comparison *k, const char *a, const char *b, const comparison_wish *w, heed_error *error) {
    *k = (comparison){.of_file = false};
    heed_status status = compare_side_find(&k->side[0], a, error);
    if (status == HEED_OK) status = compare_side_find(&k->side[1], b, error);
    if (status == HEED_OK) status = open_files(k, error);
    if (status == HEED_OK) status = read_claim(k, w, error);
    if (status == HEED_OK) status = take_inputs(k, w, error);
    return status;
}

heed_status comparison_judge(comparison *k, const comparison_wish *w, heed_error *error) {
    heed_status status = HEED_OK;
    for (int i = 0; status == HEED_OK && i < 2; i++) {
        k->of_file = is_file(&k->side[i]);
        status = compare_side_results(&k->side[i], &k->c, w->n_threads, &k->results[i], error);
    }
    if (status != HEED_OK) return status;
    k->of_file = w->capture != NULL;
    if (w->capture != NULL) status = capture_file_write(w->capture, &k->c, &k->results[1], error);
    if (status != HEED_OK) return status;
    const observed a = call_results_observed(&k->results[0]), b = call_results_observed(&k->results[1]);
    return verdict_reach(&k->v, &k->c, &a, &b, w->ask, w->n_threads, error);
}

void comparison_end(comparison *k) {
    for (int i = 0; i < 2; i++) {
        call_results_free(&k->results[i]);
        capture_file_close(&k->side[i].file);
    }
    call_free(&k->c);
    free(k->remarks.text);
}
