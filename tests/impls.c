// SPDX-License-Identifier: Apache-2.0
// Every implementation on every instruction set against ref, over random problem texts. A failing line is a command.
// Usage: test_impls [problems] [seed] [size]
#include "compare/check.h"
#include "cpu/kernels.h"
#include "test.h"

#include <math.h>
#include <string.h>

typedef struct { const char *name; long ran, refused; } tally;
static tally tallies[32];

static tally *tally_of(const char *name) {
    tally *t = tallies;
    while (t->name != NULL && strcmp(t->name, name) != 0) t++;
    t->name = name;
    return t;
}

static void report_failure(const char *text, const check_report *r, bool poison) {
    fprintf(stderr, "  heed check \"%s\" --impl %s --cpu %s%s\n", text, r->implementation, r->cpu, poison ? " --poison" : "");
    for (int i = 0; i < r->outputs; i++)
        if (!r->output[i].pass)
            fprintf(stderr, "    %s: error %.3g above %.3g at %lld (largest %.3g)\n", r->output[i].name, r->output[i].error,
                    r->output[i].bound, (long long)r->output[i].worst, r->output[i].most);
    if (!r->guards_whole) fprintf(stderr, "    wrote outside of an array\n");
}

static void check_on(check_case *c, const char *text, const char *implementation, const char *cpu, bool poison) {
    heed_error error;
    check_report report;
    const heed_choice choice = {.implementation = implementation, .cpu = cpu, .threads = 2};
    const heed_status status = check_run(c, &choice, &report, &error);
    tally *t = tally_of(implementation);
    if (status == HEED_REFUSED) {
        t->refused++;
        return;
    }
    t->ran++;
    CHECK(status == HEED_OK, "%s: %s: %s", text, implementation, status == HEED_OK ? "" : error.text);
    if (status != HEED_OK) return;
    CHECK(report.pass, "%s on %s is wrong", implementation, cpu);
    if (!report.pass) report_failure(text, &report, poison);
}

// The drawn data is finite, so poison in hidden places may leave no trace in what is right.
static void check_poison_is_hidden(const check_case *c, const char *text) {
    const heed_problem *p = &c->data.problem;
    const int64_t queries = p->batch * p->heads * p->queries, keys = p->batch * p->kv_heads * p->keys;
    const struct { const double *array; int64_t n; } right[] = {{c->reference.out, queries * p->value_channels},
                                                                {c->reference.dq, queries * p->channels},
                                                                {c->reference.dk, keys * p->channels},
                                                                {c->reference.dv, keys * p->value_channels}};
    for (size_t i = 0; i < sizeof right / sizeof *right; i++) {
        int64_t bad = 0;
        for (int64_t j = 0; right[i].array != NULL && j < right[i].n; j++) bad += !isfinite(right[i].array[j]);
        CHECK(bad == 0, "%s: %lld elements of the reference are poisoned by what is hidden", text, (long long)bad);
    }
}

static void check_everywhere(const char *text, bool poison) {
    problem_line line;
    heed_error error;
    check_case c;
    heed_status status = problem_line_parse(&line, text, &error);
    if (status == HEED_OK) status = check_begin(&c, &line, poison, &error);
    CHECK(status == HEED_OK, "%s: %s", text, status == HEED_OK ? "" : error.text);
    if (status != HEED_OK) return;
    if (poison && line.problem.empty_row == HEED_EMPTY_ZERO) check_poison_is_hidden(&c, text);
    for (const heed_impl *const *impl = heed_impls; *impl != NULL; impl++) {
        if ((*impl)->pass != line.problem.pass) continue;
        const bool uses_cpu = strncmp((*impl)->name, "cpu.", 4) == 0;
        const cpu_kernels *table;
        for (int i = 0; cpu_kernels_row(i, &table) != NULL; i++)
            if (table != NULL && (uses_cpu || i == 0)) check_on(&c, text, (*impl)->name, table->name, poison);
    }
    check_end(&c);
}

// One line for each thing that has once been wrong, or that is easy to get wrong.
static const char *const chosen[] = {
    "b1 h1 q1 d1",
    "b1 h1 q1 k0 d8",
    "b1 h1 q3 k0 d8 sink",
    "b2 h2 q5 k0 d4 empty:mean",
    "b1 h1 q3 k0 d8 grad",
    "b1 h2 q3 k0 d8 sink grad empty:nan",
    "b0 h1 q4 d4",
    "b1 h1 q0 k4 d4",
    "b1 h2 q0 k4 d4 sink grad",
    "b2 h2 q40 d16 causal pad:left",
    "b2 h2 q40 d16 causal pad:left grad",
    "b2 h2 q40 d16 causal pad:left empty:nan",
    "b2 h2 q40 d16 causal pad:left empty:nan grad",
    "b2 h2 q40 d16 causal pad:left empty:mean grad",
    "b2 h2 q40 d16 causal pad:left empty:mean_causal grad",
    "b2 h2 q40 d16 causal pad:left sink grad",
    "b1 h8/2 q300 d64 causal sink",
    "b1 h8/2 q300 d64 bf16 causal sink grad",
    "b1 h4/1 q130 k257 d128/96 window:50,3 grad",
    "b1 h1 q257 k255 d64 causal offset:top grad",
    "b1 h1 q200 k100 d64 causal grad",
    "b1 h1 q100 k200 d64 causal offset:-50 grad",
    "b1 h2 q129 d64 docs grad",
    "b3 h2 q64 k100 d32 docs count:rand grad causal",
    "b2 h4/2 q65 k300 d40 softcap:3 alibi bias:h,q,k grad",
    "b2 h4/2 q65 k300 d40 softcap:3 alibi bias:h,q,k bias-first grad",
    "b2 h3 q33 k65 d24 bias:k grad",
    "b2 h3 q33 k65 d24 bias:b grad",
    "b2 h3 q33 k65 d24 bias grad",
    "b1 h2 q50 d16 bias bf16 grad",
    "b2 h2 q70 d16 mask:q,k causal sink grad",
    "b2 h2 q70 d16 mask:b,h grad",
    "b1 h2 q90 d64 causal layout:bshd grad",
    "b2 h2 q40 k90 d16 bias:k grad",
    "b2 h2 q40 k90 d16 softcap:3 bias:b,k bias-first grad",
    "b1 h2 q60 d8 bias:h,k bias-first softcap:2",
    "b1 h1 q513 d64 causal grad",
    "b1 h2 q520 d64 bf16 causal grad",
    "b1 h2 q270 d24 f16 causal grad",
    "b1 h4/2 q33 k290 d40 f16 softcap:3 alibi bias:h,q,k bias-type:f16 grad",
    "b2 h4/2 q3 k300 d40 f16 kv:bf16 mask",
    "b2 h4/2 q30 k100 d40 kv:f16 pad:left causal grad",
    "b1 h1 q64 d64 f16 scale:40 causal grad",
    "b2 h2/1 q70 k300 d64 causal dropout:0.1",
    "b2 h2/1 q70 k300 d64 causal dropout:0.1 grad",
    "b2 h2 q70 d16 mask:q,k causal sink bias:h,k alibi dropout:0.9 grad",
    "b2 h2 q40 d16 causal pad:left empty:mean dropout:0.5 grad",
    "b2 h2 q40 d16 causal pad:left empty:nan dropout:0.5 grad",
    "b2 h4/2 q2 k300 d40 f16 dropout:0.5 mask:b,k",
    "b1 h1 q64 d257 grad",
    "b1 h1 q600 k600 d16 window:0 grad",
    "b1 h2 q64 d64 scale:40",
    "b1 h2 q64 d64 scale:40 grad causal",
    "b1 h1 q700 d8/3 prefix:300 grad",
    "b2 h2 q90 k120 d16 prefix:70 window:30 docs pad:left grad",
    "b1 h2 q200 d16 prefix:180 window:40,20 sink dropout:0.2 grad",
};

int main(int argc, char **argv) {
    const long problems = argc > 1 ? atol(argv[1]) : 150;
    const uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    const int64_t size = argc > 3 ? atol(argv[3]) : 300;
    for (size_t i = 0; i < sizeof chosen / sizeof *chosen; i++)
        for (int poison = 0; poison < 2; poison++) check_everywhere(chosen[i], poison);
    random_stream r = random_of(seed, 0);
    for (long i = 0; i < problems; i++) {
        char text[512];
        drawn_random_text(&r, size, text, sizeof text);
        check_everywhere(text, i % 2);
    }
    for (const tally *t = tallies; t->name != NULL; t++) printf("%-12s %6ld ran %6ld refused\n", t->name, t->ran, t->refused);
    for (const heed_impl *const *impl = heed_impls; *impl != NULL; impl++)
        CHECK(tally_of((*impl)->name)->ran > 0, "%s never ran", (*impl)->name);
    return test_end();
}
