// SPDX-License-Identifier: Apache-2.0
// Choose, and say why: the report is the same loop, printed.
#include "base/text.h"
#include "core/impl.h"
#include "core/problem.h"

#include <stdio.h>
#include <string.h>

static const char *wanted(const heed_choice *choice) {
    if (choice == NULL || choice->implementation == NULL || strcmp(choice->implementation, "auto") == 0) return NULL;
    return choice->implementation;
}

static heed_status unknown_implementation(const char *name, heed_error *error) {
    const char *names[HEED_REPORT_LINES * 2];
    size_t n = 0;
    for (const heed_impl *const *impl = heed_impls; *impl != NULL && n < sizeof names / sizeof *names; impl++)
        names[n++] = (*impl)->name;
    const char *nearest = text_nearest(name, names, n);
    if (nearest != NULL)
        return error_set(error, HEED_INVALID, "implementation '%.60s' is unknown; did you mean %s?", name, nearest);
    return error_set(error, HEED_INVALID, "implementation '%.60s' is unknown; `heed list` names them", name);
}

heed_refusal refuse_unbuilt(const heed_problem *p) {
    REFUSE_UNLESS(p->kv_dtype != HEED_INT8, "int8 keys and values are not built yet");
    REFUSE_UNLESS(p->page_size == 0, "paged keys and values are not built yet");
    REFUSE_UNLESS(!p->ragged, "ragged rows are not built yet");
    return NULL;
}

static const char no_pass[] = "the pass it asks for is not built";

heed_status dispatch_choose(const heed_problem *p, const heed_machine *machine, const heed_choice *choice,
                            const heed_impl **chosen, heed_error *error) {
    const char *name = wanted(choice);
    const heed_impl *best = NULL;
    heed_refusal refusal = NULL;
    bool known = false;
    double least = 0;
    for (const heed_impl *const *at = heed_impls; *at != NULL; at++) {
        const heed_impl *impl = *at;
        const bool named = name != NULL && strcmp(impl->name, name) == 0;
        known |= named;
        if (impl->pass != p->pass || (name != NULL ? !named : impl->only_when_named)) continue;
        const heed_refusal why = impl->refuse(p, machine);
        if (why != NULL) {
            refusal = why;
            continue;
        }
        const double cost = impl->cost(p, machine);
        if (best == NULL || cost < least) best = impl, least = cost;
    }
    *chosen = best;
    if (best != NULL) return HEED_OK;
    if (name == NULL)
        return error_set(error, HEED_REFUSED, "no implementation accepts this problem: %s", refusal == NULL ? no_pass : refusal);
    if (!known) return unknown_implementation(name, error);
    return error_set(error, HEED_REFUSED, "%s refuses: %s", name, refusal == NULL ? no_pass : refusal);
}

// Predicted time of the whole problem. Sequences share the workers as far as there are heads and sequences to share.
static double predicted_ms(const heed_impl *impl, const heed_problem *p, const heed_machine *machine, int workers) {
    return impl->cost(p, machine) * (double)p->batch / workers * 1e-6;
}

static heed_status report_line(const heed_problem *p, const heed_machine *machine, const heed_choice *choice, const heed_impl *impl,
                               heed_report *report, heed_error *error) {
    heed_report_line *line = &report->line[report->lines++];
    *line = (heed_report_line){.name = impl->name, .reason = impl->refuse(p, machine)};
    if (line->reason != NULL) return HEED_OK;
    line->accepts = true;
    heed_choice forced = choice == NULL ? (heed_choice){0} : *choice;
    forced.implementation = impl->name;
    heed_plan *plan;
    const heed_status status = heed_plan_create(&plan, p, &forced, error);
    if (status != HEED_OK) return status;
    line->workspace_bytes = heed_workspace_bytes(plan);
    line->tile_query = plan->tile_query;
    line->tile_key = plan->tile_key;
    line->ms = predicted_ms(impl, &plan->problem, machine, plan->team.workers);
    report->threads = plan->team.workers;
    heed_plan_destroy(plan);
    return HEED_OK;
}

heed_status heed_explain(const heed_problem *problem, const heed_choice *choice, heed_report *report, heed_error *error) {
    if (report == NULL) return error_set(error, HEED_INVALID, "report is NULL");
    heed_problem p;
    heed_machine machine;
    heed_status status = problem_complete(problem, &p, error);
    if (status == HEED_OK) status = machine_describe(choice, &machine, error);
    if (status != HEED_OK) return status;
    const heed_impl *chosen = NULL;
    heed_error nobody;
    status = dispatch_choose(&p, &machine, choice, &chosen, &nobody);
    if (status == HEED_INVALID) return error_set(error, status, "%s", nobody.text);
    *report = (heed_report){.cpu = machine.cpu_name, .visible = problem_visible(&p)};
    report->threads = choice != NULL && choice->threads > 0 ? choice->threads : threads_available();
    const double channels = (double)(p.channels + p.value_channels);
    report->gflop = report->visible * channels * (p.pass == HEED_FORWARD ? 2 : 5) * 1e-9;
    for (const heed_impl *const *at = heed_impls; *at != NULL && report->lines < HEED_REPORT_LINES; at++) {
        if ((*at)->pass != p.pass) continue;
        if ((status = report_line(problem, &machine, choice, *at, report, error)) != HEED_OK) return status;
        report->line[report->lines - 1].chosen = *at == chosen;
    }
    return HEED_OK;
}

size_t heed_report_print(const heed_report *report, char *text, size_t bytes) {
    text_buffer b = {.text = text, .bytes = bytes};
    text_add(&b, "machine     %d thread%s, cpu kernels %s\n", report->threads, report->threads == 1 ? "" : "s", report->cpu);
    text_add(&b, "work        %.3g visible scores, %.3g GFLOP\n", report->visible, report->gflop);
    for (int i = 0; i < report->lines; i++) {
        const heed_report_line *line = &report->line[i];
        if (!line->accepts) {
            text_add(&b, "%-11s no   %s\n", line->name, line->reason);
            continue;
        }
        text_add(&b, "%-11s yes  %9.3g ms  workspace %9.3g MB", line->name, line->ms, (double)line->workspace_bytes * 1e-6);
        if (line->tile_query > 0) text_add(&b, "  tiles %lld x %lld", (long long)line->tile_query, (long long)line->tile_key);
        text_add(&b, line->chosen ? "  <- chosen\n" : strcmp(line->name, "ref") == 0 ? "  only when named\n" : "\n");
    }
    return b.length;
}
