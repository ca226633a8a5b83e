// SPDX-License-Identifier: Apache-2.0
// heed compare: a verdict on two computations of one call.
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "cli/compare_report.h"
#include "cli/compare_side.h"
#include "cli/output.h"
#include "cli/size.h"
#include "cli/status.h"
#include "cli/verbs.h"

typedef struct { const char *problem, *ask, *html, *probe; int64_t seed, threads; bool json; } compare_options;

static const option options[] = {
    {.name = "--problem", .kind = OPTION_TEXT, .offset = offsetof(compare_options, problem), .group = "",
     .help = "what both compute, and what is drawn for it"},
    {.name = "--seed", .kind = OPTION_INT, .offset = offsetof(compare_options, seed), .standard_words = "the problem's own",
     .least = 0, .most = 9e18, .group = "", .help = "of the data"},
    {.name = "--ask", .kind = OPTION_TEXT, .offset = offsetof(compare_options, ask), .group = "", .value = "IDS",
     .help = "hypotheses to be decided, with commas between; UNDECIDABLE when these inputs cannot show one"},
    {.name = "--html", .kind = OPTION_TEXT, .offset = offsetof(compare_options, html), .group = "", .value = "FILE",
     .help = "a page with pictures", .later = "pages of a comparison are not built yet; --json has what they would show"},
    {.name = "--probe", .kind = OPTION_TEXT, .offset = offsetof(compare_options, probe), .group = "", .value = "FILE",
     .help = "inputs that decide", .later = "writing inputs that decide is not built yet; --seed draws others"},
    {.name = "--threads", .kind = OPTION_INT, .offset = offsetof(compare_options, threads), .standard_words = "all cores",
     .least = 1, .most = 1024, .group = "", .help = "of the search"},
    {.name = "--json", .kind = OPTION_FLAG, .offset = offsetof(compare_options, json), .group = "", .help = "one JSON object"},
};

// "window.none,sink.none" as rows of the table.
static heed_status read_ask(char *text, const hypothesis *ask[HYPOTHESES_MOST + 1], heed_error *error) {
    int n = 0;
    char *next = NULL;
    for (char *id = strtok_r(text, ",", &next); id != NULL; id = strtok_r(NULL, ",", &next)) {
        const hypothesis *h = hypothesis_find(id);
        if (h == NULL) {
            const char *names[HYPOTHESES_MOST];
            size_t count = 0;
            for (const hypothesis *row = hypotheses; row->id != NULL; row++) names[count++] = row->id;
            const char *near = text_nearest(id, names, count);
            return error_set(error, HEED_INVALID, "--ask: \"%.60s\" is no hypothesis%s%s; `heed list` names them", id,
                             near != NULL ? "; the nearest is " : "", near != NULL ? near : "");
        }
        if (n < HYPOTHESES_MOST) ask[n++] = h;
    }
    ask[n] = NULL;
    return HEED_OK;
}

static int report(const args *a, const compare_options *o, const compare_report *r) {
    const int status = compare_report_status(r->v);
    if (o->json) {
        const int written = output_json(a, compare_report_json(r));
        return written != STATUS_DONE ? written : status;
    }
    compare_report_print(r);
    return status;
}

typedef struct { drawn data; call c; call_results a, b; verdict v; } comparison;

static heed_status compute(comparison *k, const problem_line *line, const compare_side side[2], const hypothesis *const *ask,
                           int n_threads, heed_error *error) {
    heed_status status = drawn_make(&k->data, line, error);
    if (status == HEED_OK) status = call_of_drawn(&k->c, &k->data, error);
    if (status == HEED_OK) status = compare_side_run(&side[0], &k->c, n_threads, &k->a, error);
    if (status == HEED_OK) status = compare_side_run(&side[1], &k->c, n_threads, &k->b, error);
    if (status != HEED_OK) return status;
    const observed a = {k->a.of.out, k->a.of.lse}, b = {k->b.of.out, k->b.of.lse};
    return verdict_reach(&k->v, &k->c, &a, &b, ask, n_threads, error);
}

static void comparison_free(comparison *k) {
    call_results_free(&k->a);
    call_results_free(&k->b);
    call_free(&k->c);
    drawn_free(&k->data);
    free(k);
}

static int compare_on(const args *a, const compare_options *o, const problem_line *line, const compare_side side[2],
                      const hypothesis *const *ask) {
    heed_error error;
    char text[512];
    comparison *k = calloc(1, sizeof *k);
    heed_status status = k == NULL ? error_set(&error, HEED_NO_MEMORY, "out of memory") : HEED_OK;
    problem_line_print(line, text, sizeof text);
    if (status == HEED_OK) status = compute(k, line, side, ask, (int)o->threads, &error);
    const compare_report told = {text, side[0].name, side[1].name, k == NULL ? NULL : &k->v};
    const int done = status == HEED_OK ? report(a, o, &told) : args_fail_error(a, &error);
    if (k != NULL) comparison_free(k);
    return done;
}

static int compare(const args *a) {
    const compare_options *o = a->options;
    const hypothesis *ask[HYPOTHESES_MOST + 1] = {NULL};
    compare_side side[2];
    problem_line line;
    heed_error error;
    for (int i = 0; i < 2; i++)
        if (compare_side_find(&side[i], a->positional[i], &error) != HEED_OK) return args_fail_error(a, &error);
    if (o->problem == NULL) return args_fail(a, STATUS_USAGE, "--problem is missing: a text such as \"b1 h4/2 q100 d64 causal\"");
    heed_status status = problem_line_parse(&line, o->problem, &error);
    if (status == HEED_OK) status = size_allow_reference(&line.problem, &error);
    if (status == HEED_OK && line.problem.pass == HEED_BACKWARD)
        status = error_set(&error, HEED_REFUSED, "comparing gradients is not built yet; `heed check` holds them against ref");
    if (status == HEED_OK && o->ask != NULL) {
        char *text = strdup(o->ask);
        status = text == NULL ? error_set(&error, HEED_NO_MEMORY, "out of memory") : read_ask(text, ask, &error);
        free(text);
    }
    if (status != HEED_OK) return args_fail_error(a, &error);
    if (args_given(a, "--seed")) line.seed = (uint64_t)o->seed;
    return compare_on(a, o, &line, side, ask);
}

const verb verb_compare = {
    .name = "compare", .purpose = "a verdict on two computations: rounding, or another formula, and which",
    .usage = "A B --problem TEXT [options]",
    .about = "A and B are implementations (cpu.flash, ref, ...) or conventions (torch_pre25, hf_eager, ...: computed by ref). Both "
             "are held against the definition in double, with a noise floor for every element of this very problem. Outside of it, "
             "some hundred hypotheses of what else may have been computed are tried, alone and in pairs, and all that explain "
             "the result equally well are named. Exit status: 0 SAME, ROUNDING; 1 SEMANTIC, NAN; 2 UNDECIDABLE.",
    .examples = "  heed compare cpu.flash cpu.eager --problem \"b1 h4/2 q256 d64 bf16 causal window:31\"\n"
                "  heed compare ref hf_eager --problem \"b2 h4 q64 d32 causal pad:left seed:1\" --json\n"
                "  heed compare ref torch --problem \"b1 h2 q8 k32 d16 causal\" --ask causal.top_left\n",
    .options = options, .n_options = sizeof options / sizeof *options, .struct_bytes = sizeof(compare_options),
    .least_positional = 2, .most_positional = 2, .positional = "an implementation or preset", .run = compare,
};
