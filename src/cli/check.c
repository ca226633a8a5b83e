// SPDX-License-Identifier: Apache-2.0
// heed check: run a problem with drawn data against ref, and judge every output by the contract's yardstick.
#include "compare/check.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "cli/args.h"
#include "cli/machine.h"
#include "cli/output.h"
#include "cli/size.h"
#include "cli/status.h"
#include "cli/verbs.h"

typedef struct {
    const char *impl, *cpu;
    int64_t seed, threads, random, size;
    bool poison, json;
} check_options;

static const option options[] = {
    {.name = "--impl", .kind = OPTION_TEXT, .offset = offsetof(check_options, impl), .standard = "all", .group = "",
     .help = "an implementation's name, auto (what the dispatcher chooses) or all (but ref)"},
    {.name = "--cpu", .kind = OPTION_TEXT, .offset = offsetof(check_options, cpu), .standard_words = "HEED_CPU, else the best",
     .group = "", .help = "kernels of this instruction set, or all that run here"},
    {.name = "--threads", .kind = OPTION_INT, .offset = offsetof(check_options, threads), .standard_words = "all cores",
     .least = 1, .most = 1024, .group = "", .help = "threads to run with"},
    {.name = "--seed", .kind = OPTION_INT, .offset = offsetof(check_options, seed), .standard_words = "the text's, else 0",
     .least = 0, .most = 9e18, .group = "", .help = "draw data (and --random's texts) from this seed"},
    {.name = "--random", .kind = OPTION_INT, .offset = offsetof(check_options, random), .standard = "0", .least = 0, .most = 1e6,
     .group = "", .help = "also check so many problem texts drawn at random"},
    {.name = "--size", .kind = OPTION_INT, .offset = offsetof(check_options, size), .standard = "128", .least = 1, .most = 4096,
     .group = "", .help = "with --random: at most so many queries and keys"},
    {.name = "--poison", .kind = OPTION_FLAG, .offset = offsetof(check_options, poison), .group = "",
     .help = "put NaN and infinities wherever no visible pair touches: nothing finite may change"},
    {.name = "--json", .kind = OPTION_FLAG, .offset = offsetof(check_options, json), .group = "", .help = "one JSON object"},
};

typedef struct {
    const args *a;
    const check_options *o;
    json_t *rows;    // NULL: a table
    int64_t passed, failed, refused, unserved;    // unserved: texts of the user's that nothing ran
    int status;      // a failure that ends everything; STATUS_DONE while there is none
} session;

// ---- One row ----------------------------------------------------------------------------------------------------------

// The command that runs this row again.
static void command_of(const session *s, const char *text, const char *impl, const char *cpu, char *command, size_t bytes) {
    text_buffer b = {.text = command, .bytes = bytes};
    text_add(&b, "heed check \"%s\" --impl %s --cpu %s", text, impl, cpu);
    if (args_given(s->a, "--threads")) text_add(&b, " --threads %lld", (long long)s->o->threads);
    if (s->o->poison) text_add(&b, " --poison");
}

static json_t *outputs_json(const check_report *r) {
    json_t *outputs = json_array();
    for (int i = 0; i < r->outputs; i++) {
        const check_output *x = &r->output[i];
        json_t *output = json_pack("{s:s, s:o, s:o, s:I, s:b}", "name", x->name, "error", output_real(x->error), "bound",
                                   output_real(x->bound), "worst_index", (json_int_t)x->worst, "pass", x->pass);
        json_array_append_new(outputs, output);
    }
    return outputs;
}

static void print_report(const check_report *r) {
    printf("  %s%s%s  %-10s %-8s", output_colour(r->pass ? COLOUR_GOOD : COLOUR_BAD), r->pass ? "pass" : "FAIL",
           output_colour(COLOUR_NONE), r->implementation, r->cpu);
    for (int i = 0; i < r->outputs; i++) {
        const check_output *x = &r->output[i];
        printf("  %s %.2e %s %.2e", x->name, x->error, x->pass ? "<=" : ">", x->bound);
    }
    printf("%s\n", r->guards_whole ? "" : "  wrote outside of an array");
}

static void tell_report(session *s, const char *text, const check_report *r) {
    char command[768];
    command_of(s, text, r->implementation, r->cpu, command, sizeof command);
    *(r->pass ? &s->passed : &s->failed) += 1;
    if (s->rows == NULL) {
        print_report(r);
        if (!r->pass) printf("        again: %s\n", command);
        return;
    }
    json_t *row = json_pack("{s:s, s:s, s:s}", "problem", text, "implementation", r->implementation, "cpu", r->cpu);
    json_object_set_new(row, "result", json_string(r->pass ? "pass" : "fail"));
    json_object_set_new(row, "reason", json_null());
    json_object_set_new(row, "guards_whole", json_boolean(r->guards_whole));
    json_object_set_new(row, "outputs", outputs_json(r));
    json_object_set_new(row, "command", json_string(command));
    json_array_append_new(s->rows, row);
}

static void tell_refusal(session *s, const char *text, const char *impl, const char *cpu, const char *sentence) {
    s->refused++;
    if (s->rows == NULL) {
        printf("  no    %-10s %-8s  %s\n", impl, cpu, sentence);
        return;
    }
    json_array_append_new(s->rows, json_pack("{s:s, s:s, s:s, s:s, s:s}", "problem", text, "implementation", impl, "cpu", cpu,
                                             "result", "refused", "reason", sentence));
}

// True when something ran.
static bool check_row(session *s, check_case *c, const char *text, const char *impl, const char *cpu) {
    const heed_choice choice = {.implementation = impl, .cpu = cpu, .threads = (int)s->o->threads};
    check_report report;
    heed_error error;
    const heed_status status = check_run(c, &choice, &report, &error);
    if (status == HEED_OK) return tell_report(s, text, &report), true;
    if (status == HEED_REFUSED) tell_refusal(s, text, impl, cpu != NULL ? cpu : "-", error.text);
    else s->status = args_fail_error(s->a, &error);
    return false;
}

// ---- One problem ------------------------------------------------------------------------------------------------------

// Every row of a problem on one instruction set (NULL: the best).
static bool check_cpu(session *s, check_case *c, const char *text, const char *cpu) {
    if (strcmp(s->o->impl, "all") != 0) return check_row(s, c, text, s->o->impl, cpu);
    bool ran = false;
    for (const heed_impl *const *impl = heed_impls; *impl != NULL && s->status == STATUS_DONE; impl++)
        if ((*impl)->pass == c->data.problem.pass && !(*impl)->only_when_named) ran |= check_row(s, c, text, (*impl)->name, cpu);
    return ran;
}

static void check_case_rows(session *s, check_case *c, const char *text, bool of_user) {
    bool ran = false;
    if (s->o->cpu != NULL && strcmp(s->o->cpu, "all") == 0) {
        machine_isa isa;
        for (int i = 0; machine_isa_row(i, &isa) && s->status == STATUS_DONE; i++)
            if (isa.kernels != NULL) ran |= check_cpu(s, c, text, isa.name);
    } else {
        ran = check_cpu(s, c, text, s->o->cpu);
    }
    if (of_user && !ran) s->unserved++;
}

static void check_text(session *s, const char *written, bool of_user) {
    problem_line line;
    check_case c = {0};
    heed_error error;
    char text[512];
    heed_status status = problem_line_parse(&line, written, &error);
    if (status != HEED_OK) {
        s->status = args_fail_error(s->a, &error);
        return;
    }
    if (of_user && args_given(s->a, "--seed")) line.seed = (uint64_t)s->o->seed;
    problem_line_print(&line, text, sizeof text);
    status = size_allow_reference(&line.problem, &error);
    if (status == HEED_OK) status = check_begin(&c, &line, s->o->poison, &error);
    if (status == HEED_OK) {
        if (s->rows == NULL) printf("%s\n", text);
        check_case_rows(s, &c, text, of_user);
    } else {
        s->status = args_fail_error(s->a, &error);
    }
    check_end(&c);
}

static int finish(session *s) {
    if (s->rows != NULL) {
        const int written = output_json(s->a, json_pack("{s:o, s:I, s:I, s:I}", "rows", s->rows, "passed", (json_int_t)s->passed,
                                                        "failed", (json_int_t)s->failed, "refused", (json_int_t)s->refused));
        if (written != STATUS_DONE) return written;
    } else {
        printf("%lld passed, %lld failed, %lld refused\n", (long long)s->passed, (long long)s->failed, (long long)s->refused);
    }
    if (s->failed > 0) return STATUS_FAILED;
    if (s->unserved > 0 || s->passed == 0) return args_fail(s->a, STATUS_REFUSED, "no implementation that was asked for ran %s",
                                                            s->unserved > 0 ? "the problem" : "any problem");
    return STATUS_DONE;
}

static int check(const args *a) {
    const check_options *o = a->options;
    session s = {.a = a, .o = o, .rows = NULL, .status = STATUS_DONE};
    if (a->n_positional == 0 && o->random == 0) return args_fail(a, STATUS_USAGE, "give a problem text, or --random N");
    if (o->random == 0 && args_without_effect(a, "--size", "it bounds the texts of --random")) return STATUS_USAGE;
    if (o->json) s.rows = json_array();
    for (int i = 0; i < a->n_positional && s.status == STATUS_DONE; i++) check_text(&s, a->positional[i], true);
    random_stream texts = random_of((uint64_t)o->seed, 1);
    for (int64_t i = 0; i < o->random && s.status == STATUS_DONE; i++) {
        char text[512];
        drawn_random_text(&texts, o->size, text, sizeof text);
        check_text(&s, text, false);
    }
    if (s.status == STATUS_DONE) return finish(&s);
    json_decref(s.rows);
    return s.status;
}

const verb verb_check = {
    .name = "check", .purpose = "run a problem against ref, with drawn data",
    .usage = "[\"TEXT\"...] [options]",
    .about = "Draws data for the problem from its seed, computes it in double (ref), and compares every output of every "
             "implementation. The bound is the contract's yardstick: twice (gradients: three times) the error of plain f32 code, "
             "plus rounding's first-order floor. Exit status 1 when a row fails, 3 when nothing ran a problem.",
    .examples = "  heed check \"b1 h4/2 q100 d64 causal\"\n"
                "  heed check \"b2 h3 q65 k129 d33 causal window:7 sink grad\" --impl cpu.flash --cpu all\n"
                "  heed check --random 50 --seed 7 --poison\n",
    .options = options, .n_options = sizeof options / sizeof *options, .struct_bytes = sizeof(check_options),
    .most_positional = -1, .positional = "a problem text", .run = check,
};
