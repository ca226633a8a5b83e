// SPDX-License-Identifier: Apache-2.0
// heed bench: the table and the record of what bench_run.c measures.
#include "cli/bench_run.h"

#include <stdio.h>
#include <string.h>

#include "cli/args.h"
#include "cli/bench_shapes.h"
#include "cli/machine.h"
#include "cli/output.h"
#include "cli/status.h"
#include "cli/verbs.h"
#include "cli/version.h"

typedef struct { const char *impl, *cpu; int64_t threads, repeats, seed; bool quick, json, list; } bench_options;

static const option options[] = {
    {.name = "--impl", .kind = OPTION_TEXT, .offset = offsetof(bench_options, impl), .standard = "all", .group = "",
     .help = "an implementation's name, or all (but ref)"},
    {.name = "--cpu", .kind = OPTION_TEXT, .offset = offsetof(bench_options, cpu), .standard_words = "HEED_CPU, else the best",
     .group = "", .help = "kernels of this instruction set"},
    {.name = "--threads", .kind = OPTION_INT, .offset = offsetof(bench_options, threads), .standard_words = "all cores",
     .least = 1, .most = 1024, .group = "", .help = "1: CPU time is measured, which is steady beside neighbours; else the wall's"},
    {.name = "--repeats", .kind = OPTION_INT, .offset = offsetof(bench_options, repeats), .standard = "7", .least = 1, .most = 1000,
     .group = "", .help = "samples of each implementation; the best counts"},
    {.name = "--seed", .kind = OPTION_INT, .offset = offsetof(bench_options, seed), .standard_words = "the text's, else 0",
     .least = 0, .most = 9e18, .group = "", .help = "draw data from this seed"},
    {.name = "--quick", .kind = OPTION_FLAG, .offset = offsetof(bench_options, quick), .group = "",
     .help = "the tiny problems, few and short samples: does it run, not how fast"},
    {.name = "--list", .kind = OPTION_FLAG, .offset = offsetof(bench_options, list), .group = "",
     .help = "print the problems that are timed without a text, and end"},
    {.name = "--json", .kind = OPTION_FLAG, .offset = offsetof(bench_options, json), .group = "", .help = "one JSON object"},
};

typedef struct {
    const args *a;
    const bench_options *o;
    json_t *problems;    // NULL: tables
    bool wrong;
} session;

// ---- Print ------------------------------------------------------------------------------------------------------------

static void print_machine(const bench_report *r) {
    char cpu[MACHINE_TEXT];
    machine_cpu_name(cpu);
    printf("machine     %s\nbuild       heed %s, commit %s, %s\n", cpu, heed_version(), version_commit(), version_compiler());
    printf("run         %d thread%s, cpu kernels %s, times are of the %s\n", r->threads, r->threads == 1 ? "" : "s",
           r->kernels->name,
           r->threads == 1 ? "thread's CPU clock" : "wall clock");
    if (r->threads > threads_available())
        printf("            %d threads share %d cores: shares of peak mean nothing\n", r->threads, threads_available());
}

static void print_row(const bench_row *row) {
    printf("  %-12s", row->implementation);
    if (row->refusal != NULL) {
        printf("no: %s\n", row->refusal);
        return;
    }
    const char *against = row->checked_against != NULL ? row->checked_against : "nothing";
    if (row->error > 1) {
        printf("%sWRONG%s, not timed: ", output_colour(COLOUR_BAD), output_colour(COLOUR_NONE));
        printf("%.3g times the bound away from %s\n", row->error, against);
        return;
    }
    printf("%12s  %8.1f GF/s  %5.1f %% of products  %5.1f %% of limit", output_seconds(row->seconds).text, row->gflops,
           100 * row->of_products, 100 * row->of_limit);
    printf("  workspace %-9s checked against %s\n", output_bytes((double)row->workspace_bytes).text, against);
}

static void print_problem(const char *name, const char *text, const bench_report *r) {
    printf("\n%s%s%s%s%s\n", output_colour(COLOUR_STRONG), name, name[0] != 0 ? "  " : "", text, output_colour(COLOUR_NONE));
    printf("  one thread  products %.1f and %.1f GF/s, exp %.2f values/ns, read %.1f GB/s\n", r->limits.score_product * 1e-9,
           r->limits.value_product * 1e-9, r->limits.exp * 1e-9, r->limits.read * 1e-9);
    printf("  work        %.4g visible scores, %.3g Gflop, arrays %s\n", r->visible, r->gflop,
           output_bytes((double)r->array_bytes).text);
    for (int i = 0; i < r->rows; i++) print_row(&r->row[i]);
    fflush(stdout);
}

// ---- Record -----------------------------------------------------------------------------------------------------------

static json_t *row_json(const bench_row *row) {
    json_t *object = json_pack("{s:s, s:s?, s:s?}", "name", row->implementation, "refused", row->refusal,
                               "checked_against", row->checked_against);
    if (row->refusal != NULL) return object;
    json_object_set_new(object, "error_over_bound", output_real(row->error));
    const bool timed = row->error <= 1;
    json_object_set_new(object, "seconds", timed ? output_real(row->seconds) : json_null());
    json_object_set_new(object, "gflops", timed ? output_real(row->gflops) : json_null());
    json_object_set_new(object, "of_products", timed ? output_real(row->of_products) : json_null());
    json_object_set_new(object, "of_limit", timed ? output_real(row->of_limit) : json_null());
    json_object_set_new(object, "workspace_bytes", json_integer((json_int_t)row->workspace_bytes));
    return object;
}

static json_t *problem_json(const char *name, const char *text, const bench_report *r) {
    json_t *rows = json_array();
    for (int i = 0; i < r->rows; i++) json_array_append_new(rows, row_json(&r->row[i]));
    json_t *limits = json_object();
    json_object_set_new(limits, "score_product_flops", output_real(r->limits.score_product));
    json_object_set_new(limits, "value_product_flops", output_real(r->limits.value_product));
    json_object_set_new(limits, "exp_values_per_s", output_real(r->limits.exp));
    json_object_set_new(limits, "read_bytes_per_s", output_real(r->limits.read));
    json_t *object = json_object();
    json_object_set_new(object, "name", name[0] != 0 ? json_string(name) : json_null());
    json_object_set_new(object, "problem", json_string(text));
    json_object_set_new(object, "cpu", json_string(r->kernels->name));
    json_object_set_new(object, "threads", json_integer(r->threads));
    json_object_set_new(object, "visible", output_real(r->visible));
    json_object_set_new(object, "gflop", output_real(r->gflop));
    json_object_set_new(object, "array_bytes", json_integer((json_int_t)r->array_bytes));
    json_object_set_new(object, "one_thread", limits);
    json_object_set_new(object, "implementations", rows);
    return object;
}

static json_t *record(const session *s) {
    char cpu[MACHINE_TEXT];
    machine_cpu_name(cpu);
    json_t *object = json_pack("{s:s, s:s, s:s, s:s}", "machine", cpu, "heed", heed_version(), "commit",
                               version_commit(), "compiler", version_compiler());
    json_object_set_new(object, "cores", json_integer(threads_available()));
    json_object_set_new(object, "repeats", json_integer((json_int_t)s->o->repeats));
    json_object_set_new(object, "quick", json_boolean(s->o->quick));
    json_object_set_new(object, "problems", s->problems);
    return object;
}

// ---- Run --------------------------------------------------------------------------------------------------------------

static int bench_text(session *s, const char *name, const char *written, bool first) {
    const bench_options *o = s->o;
    const bench_wanted wanted = {
        .implementation = o->impl, .cpu = o->cpu, .threads = (int)o->threads, .repeats = (int)o->repeats,
        .sample_seconds = o->quick ? 1e-3 : 20e-3,    // 20 ms: several time slices of a scheduler
    };
    problem_line line;
    bench_report report;
    heed_error error;
    char text[512];
    if (problem_line_parse(&line, written, &error) != HEED_OK) return args_fail_error(s->a, &error);
    if (args_given(s->a, "--seed")) line.seed = (uint64_t)o->seed;
    problem_line_print(&line, text, sizeof text);
    if (bench_problem(&line, &wanted, &report, &error) != HEED_OK) return args_fail_error(s->a, &error);
    for (int i = 0; i < report.rows; i++) s->wrong |= report.row[i].error > 1;
    if (s->problems != NULL) {
        json_array_append_new(s->problems, problem_json(name, text, &report));
        return STATUS_DONE;
    }
    if (first) print_machine(&report);
    print_problem(name, text, &report);
    return STATUS_DONE;
}

static int list_shapes(const args *a, const bench_options *o) {
    json_t *rows = json_array();
    for (const bench_shape *shape = bench_shapes; shape->name != NULL; shape++) {
        if (o->quick && !shape->quick) continue;
        if (!o->json) printf("%-22s%s\n", shape->name, shape->text);
        json_array_append_new(rows, json_pack("{s:s, s:s, s:b}", "name", shape->name, "problem", shape->text, "quick",
                                              shape->quick));
    }
    if (o->json) return output_json(a, json_pack("{s:o}", "problems", rows));
    json_decref(rows);
    return STATUS_DONE;
}

static int bench(const args *a) {
    bench_options *o = a->options;
    if (o->list && a->n_positional > 0) return args_fail(a, STATUS_USAGE,
                                                         "--list prints the built-in problems; it takes no problem text");
    if (o->list) return list_shapes(a, o);
    if (o->quick && !args_given(a, "--repeats")) o->repeats = 3;
    session s = {.a = a, .o = o, .problems = o->json ? json_array() : NULL};
    int status = STATUS_DONE;
    for (int i = 0; i < a->n_positional && status == STATUS_DONE; i++) status = bench_text(&s, "", a->positional[i], i == 0);
    bool first = true;
    for (const bench_shape *shape = bench_shapes; a->n_positional == 0 && shape->name != NULL && status == STATUS_DONE; shape++) {
        if (o->quick && !shape->quick) continue;
        status = bench_text(&s, shape->name, shape->text, first);
        first = false;
    }
    if (status != STATUS_DONE) json_decref(s.problems);
    else if (o->json) status = output_json(a, record(&s));
    return status == STATUS_DONE && s.wrong ? STATUS_FAILED : status;
}

const verb verb_bench = {
    .name = "bench", .purpose = "time problems on every implementation",
    .usage = "[\"TEXT\"...] [options]",
    .about = "Without a text: the problems of bench/shapes.def. Results are checked first, against ref where it is quick, else "
             "against eager; what is wrong is not timed. Samples of all implementations take turns and the best counts. GF/s count "
             "4 flop (backward: 10) per channel and visible score. Products: this table's own product on cached tiles of this "
             "shape; limit: products and exp one after the other, or reading the arrays once, whichever is longer; all measured "
             "in the same run.",
    .examples = "  heed bench \"b1 h12 q1024 d64 causal\" --threads 1\n"
                "  heed bench \"b1 h12 q1024 d64 causal grad\" --impl cpu.flash --repeats 20\n"
                "  heed bench --json > bench.json\n"
                "  heed bench --list\n",
    .options = options, .n_options = sizeof options / sizeof *options, .struct_bytes = sizeof(bench_options),
    .most_positional = -1, .positional = "a problem text", .run = bench,
};
