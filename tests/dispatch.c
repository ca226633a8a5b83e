// SPDX-License-Identifier: Apache-2.0
// The choice: honoured or refused, never replaced; the same whatever the threads, the batch and the neighbours. Refusals are
// sentences, and each thing that is not built yet has one.
#include "base/memory.h"
#include "core/impl.h"
#include "cpu/kernels.h"
#include "test.h"

#include <stdlib.h>
#include <string.h>

static const char *chosen_for(const char *text, const heed_choice *choice, int64_t batch) {
    heed_problem p;
    heed_error error;
    heed_plan *plan;
    if (heed_problem_parse(&p, text, &error) != HEED_OK) return error.text[0] ? "unparsed" : NULL;
    if (batch > 0) p.batch = batch;
    if (heed_plan_create(&plan, &p, choice, &error) != HEED_OK) return NULL;
    const char *name = heed_plan_implementation(plan);
    heed_plan_destroy(plan);
    return name;
}

static void check_choice_is_stable(const char *text) {
    const char *name = chosen_for(text, NULL, 0);
    CHECK(name != NULL, "%s: nobody accepts", text);
    for (int workers = 1; workers <= 16; workers *= 2)
        for (int64_t batch = 1; batch <= 64; batch *= 8) {
            const char *other = chosen_for(text, &(heed_choice){.threads = workers}, batch);
            CHECK(other == name, "%s: %s with 1 sequence, %s with %lld on %d threads", text, name, other ? other : "nobody",
                  (long long)batch, workers);
        }
}

static void check_forced(const char *text) {
    for (const heed_impl *const *impl = heed_impls; *impl != NULL; impl++) {
        const char *name = chosen_for(text, &(heed_choice){.implementation = (*impl)->name}, 0);
        CHECK(name == NULL || strcmp(name, (*impl)->name) == 0, "%s: %s was asked for, %s chosen", text, (*impl)->name, name);
        const char *of_auto = chosen_for(text, NULL, 0);
        CHECK(of_auto == NULL || strcmp(of_auto, "ref") != 0, "%s: ref runs without being named", text);
    }
}

static void check_refused(const char *text, const char *word) {
    heed_problem p;
    heed_error error;
    heed_plan *plan;
    CHECK(heed_problem_parse(&p, text, &error) == HEED_OK, "%s: %s", text, error.text);
    for (const heed_impl *const *impl = heed_impls; *impl != NULL; impl++) {
        if ((*impl)->pass != p.pass) continue;
        const heed_choice choice = {.implementation = (*impl)->name};
        const heed_status status = heed_plan_create(&plan, &p, &choice, &error);
        CHECK(status == HEED_REFUSED && plan == NULL, "%s: %s answers %d", text, (*impl)->name, (int)status);
        CHECK(strstr(error.text, word) != NULL, "%s: '%s' does not say '%s'", text, error.text, word);
    }
    heed_report report;
    CHECK(heed_explain(&p, NULL, &report, &error) == HEED_OK, "%s: explain fails where everybody refuses: %s", text, error.text);
    for (int i = 0; i < report.lines; i++)
        CHECK(!report.line[i].accepts && report.line[i].reason != NULL, "%s: %s", text, report.line[i].name);
    CHECK(heed_plan_create(&plan, &p, NULL, &error) == HEED_REFUSED, "%s: auto is refused too", text);
}

static void check_names(void) {
    heed_problem p;
    heed_error error;
    heed_plan *plan;
    heed_problem_parse(&p, "b1 h1 q8 d8", NULL);
    CHECK(heed_plan_create(&plan, &p, &(heed_choice){.implementation = "cpu.flsh"}, &error) == HEED_INVALID &&
              strstr(error.text, "cpu.flash") != NULL,
          "an unknown implementation: %s", error.text);
    CHECK(heed_plan_create(&plan, &p, &(heed_choice){.cpu = "avx9000"}, &error) != HEED_OK &&
              strstr(error.text, "avx9000") != NULL,
          "an unknown cpu: %s", error.text);
    CHECK(heed_plan_create(&plan, &p, &(heed_choice){.threads = -1}, &error) == HEED_INVALID &&
              strstr(error.text, "threads") != NULL,
          "threads -1: %s", error.text);
    CHECK(heed_plan_create(&plan, NULL, NULL, &error) == HEED_INVALID, "a NULL problem");
    CHECK(heed_plan_create(NULL, &p, NULL, &error) == HEED_INVALID, "a NULL plan");
    const cpu_kernels *table;
    for (int i = 0; cpu_kernels_row(i, &table) != NULL; i++) {
        if (table == NULL) continue;
        setenv("HEED_CPU", table->name, 1);
        CHECK(heed_plan_create(&plan, &p, NULL, &error) == HEED_OK && strcmp(heed_plan_cpu(plan), table->name) == 0,
              "HEED_CPU=%s is not honoured", table->name);
        heed_plan_destroy(plan);
    }
    setenv("HEED_CPU", "z80", 1);
    CHECK(heed_plan_create(&plan, &p, NULL, &error) != HEED_OK && strstr(error.text, "z80") != NULL, "HEED_CPU=z80: %s",
          error.text);
    unsetenv("HEED_CPU");
}

static void check_report(void) {
    heed_problem p;
    heed_report report;
    heed_problem_parse(&p, "b1 h8 q1024 d64 causal", NULL);
    CHECK(heed_explain(&p, NULL, &report, NULL) == HEED_OK, "explain");
    int chosen = 0;
    for (int i = 0; i < report.lines; i++) {
        chosen += report.line[i].chosen;
        CHECK(!report.line[i].accepts || report.line[i].ms > 0, "%s has no prediction", report.line[i].name);
        if (report.line[i].chosen)
            CHECK(strcmp(report.line[i].name, chosen_for("b1 h8 q1024 d64 causal", NULL, 0)) == 0,
                  "the report names another one than the plan");
    }
    CHECK(chosen == 1, "%d implementations are chosen", chosen);
    char text[4096];
    const size_t n = heed_report_print(&report, text, sizeof text);
    CHECK(n < sizeof text && strstr(text, "<- chosen") != NULL, "the printed report: %s", text);
}

int main(void) {
    static const char *const texts[] = {"b1 h1 q1 d64",
                                        "b1 h12 q1024 d64 causal",
                                        "b1 h12 q1024 d64 causal grad",
                                        "b1 h2 q16 d16",
                                        "b1 h4/1 q64 k4096 d128 window:100",
                                        "b1 h2 q16 d16 sink softcap:3 grad",
                                        "b1 h2 q128 d64 bf16 bias"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        check_choice_is_stable(texts[i]);
        check_forced(texts[i]);
    }
    check_refused("b1 h1 q8 d8 paged:4", "paged");
    check_refused("b1 h1 q8 d8 kv:int8", "int8");
    check_refused("b1 h1 q8 d8 ragged", "ragged");
    check_names();
    check_report();
    return test_end();
}
