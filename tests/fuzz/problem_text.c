// SPDX-License-Identifier: Apache-2.0
// Problem text: what parses is printed, parsed and printed again as the same, and has a report; small ones are planned, and run
// with every array that they name, on every implementation that does not refuse, without a byte written outside of an array.
#include "fuzz.h"

#include "base/text.h"
#include "compare/check.h"
#include "core/problem.h"
#include "core/problem_text.h"

enum { TEXT = 4096, SMALL = 24, WORK = 4096 };

static bool is_small(const heed_problem *p) {
    if (p->batch > 4 || p->heads > 8 || p->queries > SMALL || p->keys > SMALL) return false;
    if (p->channels > 40 || p->value_channels > 40) return false;
    return p->page_size <= SMALL && p->batch * p->heads * p->queries * p->keys <= WORK;
}

static void round_trip(const problem_line *line) {
    char printed[TEXT], again[TEXT];
    problem_line back;
    heed_error e;
    REQUIRE(problem_line_print(line, printed, sizeof printed) < sizeof printed, "longer than %d: %s", TEXT, printed);
    REQUIRE(problem_line_parse(&back, printed, &e) == HEED_OK, "'%s' is printed, but not read: %s", printed, e.text);
    problem_line_print(&back, again, sizeof again);
    REQUIRE(strcmp(printed, again) == 0, "'%s' prints as '%s' the second time", printed, again);
    heed_problem a, b;
    REQUIRE(problem_complete(&line->problem, &a, &e) == HEED_OK, "%s", e.text);
    REQUIRE(problem_complete(&back.problem, &b, &e) == HEED_OK, "%s", e.text);
    REQUIRE(a.batch == b.batch && a.heads == b.heads && a.kv_heads == b.kv_heads && a.queries == b.queries && a.keys == b.keys &&
                a.channels == b.channels && a.value_channels == b.value_channels && a.dtype == b.dtype &&
                a.kv_dtype == b.kv_dtype && a.pass == b.pass && a.with == b.with && a.align == b.align && a.offset == b.offset &&
                a.empty_row == b.empty_row && a.scale == b.scale && a.dropout == b.dropout && a.page_size == b.page_size &&
                a.ragged == b.ragged && a.bias_axes == b.bias_axes && a.mask_axes == b.mask_axes &&
                a.bias_dtype == b.bias_dtype,
            "'%s' reads as another problem", printed);
}

static void explain(const heed_problem *p) {
    heed_report report;
    heed_error e;
    char text[TEXT];
    const heed_status status = heed_explain(p, NULL, &report, &e);
    fuzz_sentence(status, &e, NULL);
    if (status == HEED_OK) heed_report_print(&report, text, sizeof text);
}

// Is the result right? tests/impls.c asks that of texts whose numbers are sane; here only memory is judged.
static void run(const problem_line *line) {
    static const char *const names[] = {"cpu.eager", "cpu.flash"};
    check_case c;
    check_report report;
    heed_error e;
    heed_status status = check_begin(&c, line, true, &e);
    fuzz_sentence(status, &e, NULL);
    for (size_t i = 0; status == HEED_OK && i < sizeof names / sizeof *names; i++) {
        const heed_status done = check_run(&c, &(heed_choice){.implementation = names[i], .threads = 1}, &report, &e);
        fuzz_sentence(done, &e, NULL);
        REQUIRE(done != HEED_OK || report.guards_whole, "%s writes outside of an array", names[i]);
    }
    check_end(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    char *text = malloc(n + 1);
    REQUIRE(text != NULL, "no memory");
    if (n > 0) memcpy(text, data, n);
    text[n] = 0;
    problem_line line;
    heed_error e;
    const heed_status status = problem_line_parse(&line, text, &e);
    free(text);
    fuzz_sentence(status, &e, NULL);
    if (status != HEED_OK) return 0;
    round_trip(&line);
    explain(&line.problem);
    heed_problem complete;
    if (problem_complete(&line.problem, &complete, NULL) == HEED_OK && is_small(&complete)) run(&line);
    return 0;
}
