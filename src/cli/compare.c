// SPDX-License-Identifier: Apache-2.0
// heed compare: a verdict on two computations of one call.
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "cli/compare_page.h"
#include "cli/compare_probe.h"
#include "cli/output.h"
#include "cli/status.h"
#include "cli/verbs.h"

typedef struct { const char *problem, *ask, *capture, *html, *probe; int64_t seed, threads; bool json; } compare_options;

static const option options[] = {
    {.name = "--problem", .kind = OPTION_TEXT, .offset = offsetof(compare_options, problem), .group = "",
     .standard_words = "what a file claims", .help = "what both compute, and what is drawn for it where no file has the data"},
    {.name = "--seed", .kind = OPTION_INT, .offset = offsetof(compare_options, seed), .standard_words = "the problem's own",
     .least = 0, .most = 9e18, .group = "", .help = "of the data"},
    {.name = "--ask", .kind = OPTION_TEXT, .offset = offsetof(compare_options, ask), .group = "", .value = "IDS",
     .help = "hypotheses to be decided, with commas between; UNDECIDABLE when these inputs cannot show one"},
    {.name = "--capture", .kind = OPTION_TEXT, .offset = offsetof(compare_options, capture), .group = "", .value = "FILE",
     .help = "write the call and what B gave, as .npz or .safetensors"},
    {.name = "--html", .kind = OPTION_TEXT, .offset = offsetof(compare_options, html), .group = "", .value = "FILE",
     .help = "write a page with pictures: weights, errors, hypotheses"},
    {.name = "--probe", .kind = OPTION_TEXT, .offset = offsetof(compare_options, probe), .group = "", .value = "FILE",
     .help = "write inputs on which every hypothesis would show, near the problem's sizes; A and B, if given, are compared on "
         "them"},
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

static int report(const args *a, const compare_options *o, const comparison *k) {
    char text[512];
    problem_line_print(&k->line, text, sizeof text);
    const compare_report told = {text, k->side[0].name, k->side[1].name, k->remarks.text, &k->v};
    const compare_page_wish page = {.path = o->html, .ask = o->ask, .probe = o->probe,
                                    .problem = o->probe != NULL ? o->problem : NULL,
                                    .seed = o->probe != NULL && args_given(a, "--seed") ? o->seed : -1,
                                    .n_threads = (int)o->threads, .quiet = o->json};
    int written = STATUS_DONE;
    if (o->json) written = output_json(a, compare_report_json(&told));
    else compare_report_print(&told);
    if (written == STATUS_DONE && o->html != NULL) written = compare_page_write(a, &page, k, &told);
    return written != STATUS_DONE ? written : compare_report_status(&k->v);
}

static heed_status parse_ask(const compare_options *o, const hypothesis *ask[HYPOTHESES_MOST + 1], heed_error *error) {
    if (o->ask == NULL) return HEED_OK;
    char *text = strdup(o->ask);
    const heed_status status = text == NULL ? error_set(error, HEED_NO_MEMORY, "out of memory") : read_ask(text, ask, error);
    free(text);
    return status;
}

static int compare(const args *a) {
    const compare_options *o = a->options;
    const hypothesis *ask[HYPOTHESES_MOST + 1] = {NULL};
    const comparison_wish wish = {.problem = o->problem, .seed_given = args_given(a, "--seed"), .seed = o->seed,
                                  .n_threads = (int)o->threads, .ask = ask, .capture = o->capture, .probe = o->probe};
    heed_error error;
    if (a->n_positional == 0 && o->probe != NULL) return compare_probe(a, o->probe, o->problem, &wish, o->json);
    if (a->n_positional != 2)
        return args_fail(a, STATUS_USAGE, "an implementation, preset or captured file is missing: A and B are two");
    comparison *k = calloc(1, sizeof *k);
    if (k == NULL) return args_fail(a, STATUS_SYSTEM, "out of memory");
    heed_status status = parse_ask(o, ask, &error);
    if (status == HEED_OK) status = comparison_begin(k, a->positional[0], a->positional[1], &wish, &error);
    if (status == HEED_OK) status = comparison_judge(k, &wish, &error);
    const int done = status == HEED_OK ? report(a, o, k) : comparison_fail(a, k, &error);
    comparison_end(k);
    free(k);
    return done;
}

const verb verb_compare = {
    .name = "compare", .purpose = "a verdict on two computations: rounding, or another formula, and which",
    .usage = "A B [--problem TEXT] [options], or --probe FILE --problem TEXT",
    .about = "A and B are implementations (cpu.flash, ref, ...), conventions (torch_pre25, hf_eager, ...: computed by ref) or "
             "captured calls (.npz, .safetensors: q, k, v, out, ... and the text `problem`). An implementation runs on the inputs "
             "of the file beside it, or on data drawn for the problem. Both are held against the definition in double, with a "
             "noise floor for every element of this very problem. Outside of it, some hundred hypotheses of what else may have "
             "been computed are tried, alone and in pairs, and all that explain the result equally well are named. Exit status: 0 "
             "SAME, ROUNDING; 1 SEMANTIC, NAN; 2 UNDECIDABLE.",
    .examples = "  heed compare cpu.flash cpu.eager --problem \"b1 h4/2 q256 d64 bf16 causal window:31\"\n"
                "  heed compare ref hf_eager --problem \"b2 h4 q64 d32 causal pad:left seed:1\" --json\n"
                "  heed compare ref torch --problem \"b1 h2 q8 k32 d16 causal\" --ask causal.top_left\n"
                "  heed compare cpu.flash theirs.npz --problem \"bf16 causal window:127 sink\" --html page.html\n"
                "  heed compare --probe probe.npz --problem \"b1 h4/2 q64 d64 bf16 causal window:31 sink\"\n",
    .options = options, .n_options = sizeof options / sizeof *options, .struct_bytes = sizeof(compare_options),
    .least_positional = 0, .most_positional = 2, .positional = "an implementation, preset or captured file", .run = compare,
};
