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

// ---- What would have to change ----------------------------------------------------------------------------------------

enum { WORDS = 48 };
typedef struct { char text[512]; const char *at[WORDS]; int n; } words;

// The words of a problem text that can be left out: all but sizes.
static bool is_size(const char *word) { return strchr("bhqkd", word[0]) != NULL && word[1] >= '0' && word[1] <= '9'; }

static void cut(words *w, const char *problem) {
    char *next = NULL;
    snprintf(w->text, sizeof w->text, "%s", problem);
    w->n = 0;
    for (char *word = strtok_r(w->text, " ", &next); word != NULL && w->n < WORDS; word = strtok_r(NULL, " ", &next))
        w->at[w->n++] = word;
}

// Does the implementation accept the problem without words `a` and `b` (the same one twice: without one)?
static bool accepts_without(const words *w, int a, int b, const heed_choice *choice, const char *name) {
    char text[512] = "";
    size_t used = 0;
    for (int i = 0; i < w->n; i++)
        if (i != a && i != b) used += (size_t)snprintf(text + used, sizeof text - used, "%s ", w->at[i]);
    problem_line line;
    heed_report report;
    heed_error error;
    if (problem_line_parse(&line, text, &error) != HEED_OK) return false;
    if (heed_explain(&line.problem, choice, &report, &error) != HEED_OK) return false;
    for (int i = 0; i < report.lines; i++)
        if (strcmp(report.line[i].name, name) == 0 && report.line[i].accepts) return true;
    return false;
}

// "paged:16", or "kv:int8 paged:16": the fewest words, up to two, without which a refused implementation accepts; "" if no such
// words are found. Asks the dispatcher, so it knows of no limit of any implementation.
static void find_change(const char *problem, const heed_choice *choice, const char *name, char *change, size_t bytes) {
    words w;
    cut(&w, problem);
    change[0] = 0;
    for (int pairs = 0; pairs < 2; pairs++)
        for (int i = 0; i < w.n; i++)
            for (int j = pairs ? i + 1 : i; j < (pairs ? w.n : i + 1); j++) {
                if (is_size(w.at[i]) || is_size(w.at[j]) || !accepts_without(&w, i, j, choice, name)) continue;
                snprintf(change, bytes, pairs ? "%s %s" : "%s", w.at[i], w.at[j]);
                return;
            }
}

// ---- Told -------------------------------------------------------------------------------------------------------------

static json_t *as_json(const heed_report *r, const char *problem, const heed_choice *choice) {
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
        char change[128] = "";
        if (!line->accepts) find_change(problem, choice, line->name, change, sizeof change);
        if (change[0] != 0) json_object_set_new(row, "accepts_without", json_string(change));
        json_array_append_new(rows, row);
    }
    json_t *object = json_object();
    json_object_set_new(object, "problem", json_string(problem));
    json_object_set_new(object, "chosen", chosen != NULL ? json_string(chosen->name) : json_null());
    json_object_set_new(object, "implementations", rows);
    return object;
}

static void print_changes(const heed_report *r, const char *problem, const heed_choice *choice) {
    for (int i = 0; i < r->lines; i++) {
        char change[128];
        if (r->line[i].accepts) continue;
        find_change(problem, choice, r->line[i].name, change, sizeof change);
        if (change[0] != 0) printf("to change   %s accepts this problem without %s\n", r->line[i].name, change);
        else printf("to change   %s accepts it without no one or two of its words\n", r->line[i].name);
    }
}

static void print(const heed_report *r, const heed_problem *complete, const char *problem, const heed_choice *choice) {
    char table[4096];
    heed_report_print(r, table, sizeof table);
    const double all = (double)complete->batch * (double)complete->heads * (double)complete->queries * (double)complete->keys;
    printf("problem     %s\n%s", problem, table);
    if (all > 0) printf("visible     %.3g %% of all scores\n", 100 * r->visible / all);
    else printf("visible     nothing: the problem has no scores\n");
    print_changes(r, problem, choice);
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
        const int status = output_json(a, as_json(&report, text, &choice));
        if (status != STATUS_DONE) return status;
    } else {
        print(&report, &complete, text, &choice);
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
             "predicted time, its workspace and tiles, or no, with its reason and the words of the text without which it would "
             "accept. Times are predictions; `heed bench` measures.",
    .examples = "  heed explain \"b1 h12 q1024 d64 causal\"\n"
                "  heed explain \"b1 h32/8 q1024 k4096 d128 bf16 causal window:512 grad\" --threads 1\n"
                "  heed explain \"b1 h8 q64 d64 causal\" --impl cpu.flash --cpu avx2 --json\n",
    .options = options, .n_options = sizeof options / sizeof *options, .struct_bytes = sizeof(explain_options),
    .least_positional = 1, .most_positional = 1, .positional = "a problem text", .run = explain,
};
