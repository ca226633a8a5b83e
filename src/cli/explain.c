// SPDX-License-Identifier: Apache-2.0
// heed explain: who would run this problem, who refuses and why. The dispatcher's own loop, printed.
#include <stdio.h>
#include <string.h>

#include "cli/args.h"
#include "cli/output.h"
#include "cli/status.h"
#include "cli/verbs.h"
#include "core/problem.h"
#include "core/problem_text.h"

typedef struct { const char *impl, *cpu; int64_t threads; bool json; } explain_options;

static const option options[] = {
    {.name = "--impl", .kind = OPTION_TEXT, .offset = offsetof(explain_options, impl),
     .standard_words = "the cheapest that accepts", .group = "", .help = "this implementation or none (`heed list` names them)"},
    {.name = "--cpu", .kind = OPTION_TEXT, .offset = offsetof(explain_options, cpu), .standard_words = "HEED_CPU, else the best",
     .group = "", .help = "kernels of this instruction set"},
    {.name = "--threads", .kind = OPTION_INT, .offset = offsetof(explain_options, threads), .standard_words = "all cores",
     .least = 1, .most = 1024, .group = "", .help = "predict for so many threads"},
    {.name = "--json", .kind = OPTION_FLAG, .offset = offsetof(explain_options, json), .group = "", .help = "one JSON object"},
};

static const heed_report_line *chosen_line(const heed_report *r) {
    for (int i = 0; i < r->lines; i++)
        if (r->line[i].chosen) return &r->line[i];
    return NULL;
}

static json_t *as_json(const heed_report *r, const char *problem) {
    const heed_report_line *chosen = chosen_line(r);
    json_t *rows = json_array();
    for (int i = 0; i < r->lines; i++) {
        const heed_report_line *line = &r->line[i];
        json_t *row = json_object();
        json_object_set_new(row, "name", json_string(line->name));
        json_object_set_new(row, "accepts", json_boolean(line->accepts));
        json_object_set_new(row, "reason", line->reason != NULL ? json_string(line->reason) : json_null());
        json_object_set_new(row, "ms", line->accepts ? output_real(line->ms) : json_null());
        json_object_set_new(row, "workspace_bytes", line->accepts ? json_integer((json_int_t)line->workspace_bytes) : json_null());
        json_array_append_new(rows, row);
    }
    json_t *object = json_object();
    json_object_set_new(object, "problem", json_string(problem));
    json_object_set_new(object, "chosen", chosen != NULL ? json_string(chosen->name) : json_null());
    json_object_set_new(object, "implementations", rows);
    return object;
}

static void print(const heed_report *r, const heed_problem *complete, const char *problem) {
    char table[4096];
    heed_report_print(r, table, sizeof table);
    const double all = (double)complete->batch * (double)complete->heads * (double)complete->queries * (double)complete->keys;
    printf("problem     %s\n%s", problem, table);
    if (all > 0) printf("visible     %.3g %% of all scores\n", 100 * r->visible / all);
    else printf("visible     nothing: the problem has no scores\n");
}

static int explain(const args *a) {
    const explain_options *o = a->options;
    const heed_choice choice = {.implementation = o->impl, .cpu = o->cpu, .threads = (int)o->threads};
    problem_line line;
    heed_problem complete;
    heed_report report;
    heed_error error;
    char text[512];
    if (problem_line_parse(&line, a->positional[0], &error) != HEED_OK) return args_fail_error(a, &error);
    if (problem_complete(&line.problem, &complete, &error) != HEED_OK) return args_fail_error(a, &error);
    if (heed_explain(&line.problem, &choice, &report, &error) != HEED_OK) return args_fail_error(a, &error);
    problem_line_print(&line, text, sizeof text);
    if (o->json) {
        const int status = output_json(a, as_json(&report, text));
        if (status != STATUS_DONE) return status;
    } else {
        print(&report, &complete, text);
    }
    if (chosen_line(&report) != NULL) return STATUS_DONE;
    if (o->impl == NULL) return args_fail(a, STATUS_REFUSED, "no implementation accepts this problem");
    for (int i = 0; i < report.lines; i++)
        if (strcmp(report.line[i].name, o->impl) == 0 && report.line[i].reason != NULL)
            return args_fail(a, STATUS_REFUSED, "%s: %s", o->impl, report.line[i].reason);
    return args_fail(a, STATUS_REFUSED, "%s has no pass that runs this problem", o->impl);
}

const verb verb_explain = {
    .name = "explain", .purpose = "who would run this problem, who refuses, and why",
    .usage = "\"TEXT\" [options]",
    .about = "TEXT names a problem in one line (docs/contract.md, \"Problem text\"). Every implementation answers: yes, with the "
             "predicted time, its workspace and tiles, or no, with its reason. Times are predictions; `heed bench` measures.",
    .examples = "  heed explain \"b1 h12 q1024 d64 causal\"\n"
                "  heed explain \"b1 h32/8 q1024 k4096 d128 bf16 causal window:512 grad\" --threads 1\n"
                "  heed explain \"b1 h8 q64 d64 causal\" --impl cpu.flash --cpu avx2 --json\n",
    .options = options, .n_options = sizeof options / sizeof *options, .struct_bytes = sizeof(explain_options),
    .least_positional = 1, .most_positional = 1, .positional = "a problem text", .run = explain,
};
