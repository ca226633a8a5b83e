// SPDX-License-Identifier: Apache-2.0
#include "cli/compare_probe.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "cli/output.h"
#include "cli/status.h"
#include "compare/probe.h"
#include "io/json.h"

static json_t *probe_json(const probe *p, const char *path, const char *text) {
    json_t *list = json_array();
    for (int i = 0; i < p->n_blind; i++)
        json_array_append_new(list, json_pack("{s:s, s:s}", "id", p->blind[i]->id, "why", probe_reasons[p->reason[i]]));
    return json_pack("{s:s, s:s, s:i, s:i, s:o}", "probe", path, "problem", text, "hypotheses", p->hypotheses, "tried", p->tried,
                     "undecidable", list);
}

static void probe_print(const probe *p, const char *path, const char *text) {
    printf("problem      %s\n", text);
    printf("probe        %s: inputs on which %d of %d hypotheses show (%d tried)\n", path, p->hypotheses - p->n_blind,
           p->hypotheses,
           p->tried);
    for (int i = 0; i < p->n_blind; i++)
        printf("%-12s %s: %s\n", i == 0 ? "blind to" : "", p->blind[i]->id, probe_reasons[p->reason[i]]);
    printf("then         run the other implementation on these arrays, add its result as `out` (and `lse`), and\n"
           "             heed doctor %s\n", path);
}

int compare_probe(const args *a, const char *path, const char *problem, const comparison_wish *w, bool json) {
    heed_error error;
    problem_line line;
    char text[512];
    if (args_without_effect(a, "--ask", "inputs are made for all hypotheses") ||
        args_without_effect(a, "--html", "a page shows a comparison, and A and B are not given") ||
        args_without_effect(a, "--capture", "--probe writes the inputs, and nothing else is computed"))
        return STATUS_USAGE;
    if (problem == NULL) return args_fail(a, STATUS_USAGE, "--problem is missing: a text such as \"b1 h4/2 q100 d64 causal\"");
    if (!capture_file_named(path)) return args_fail(a, STATUS_USAGE, "--probe: %.100s must end in .npz or .safetensors", path);
    heed_status status = problem_claim_parse(&line, problem, &error);
    if (status == HEED_OK && w->seed_given) line.seed = (uint64_t)w->seed;
    probe *p = calloc(1, sizeof *p);
    if (p == NULL) return args_fail(a, STATUS_SYSTEM, "out of memory");
    if (status == HEED_OK) status = probe_make(p, &line, w->n_threads, &error);
    int done = status == HEED_OK ? STATUS_DONE : args_fail_error(a, &error);
    if (status == HEED_OK && capture_file_write(path, &p->c, NULL, &error) != HEED_OK) {
        status = error.status;
        done = args_fail(a, STATUS_SYSTEM, "%s", error.text);
    }
    if (status == HEED_OK) {
        problem_line_print(&p->c.line, text, sizeof text);
        if (json) done = output_json(a, probe_json(p, path, text));
        else probe_print(p, path, text);
    }
    call_free(&p->c);
    free(p);
    return done;
}
