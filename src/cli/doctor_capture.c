// SPDX-License-Identifier: Apache-2.0
// heed doctor FILE: is a captured call what its own text says it is? The definition beside the file, and compare's verdict.
#include <stdlib.h>

#include "cli/compare_page.h"
#include "cli/comparison.h"
#include "cli/doctor.h"
#include "cli/output.h"
#include "cli/status.h"

int doctor_capture(const args *a) {
    const doctor_options *o = a->options;
    const comparison_wish wish = {.problem = o->problem, .n_threads = args_given(a, "--threads") ? (int)o->threads : 0};
    heed_error error;
    char text[512];
    comparison *k = calloc(1, sizeof *k);
    if (k == NULL) return args_fail(a, STATUS_SYSTEM, "out of memory");
    heed_status status = comparison_begin(k, "ref", a->positional[0], &wish, &error);
    if (status == HEED_OK) status = comparison_judge(k, &wish, &error);
    int done = STATUS_DONE;
    if (status == HEED_OK) {
        problem_line_print(&k->line, text, sizeof text);
        const compare_report told = {text, k->side[0].name, k->side[1].name, k->remarks.text, &k->v};
        const compare_page_wish page = {.path = o->html, .seed = -1, .n_threads = wish.n_threads, .quiet = o->json};
        if (o->json) done = output_json(a, compare_report_json(&told));
        else compare_report_print(&told);
        if (done == STATUS_DONE && o->html != NULL) done = compare_page_write(a, &page, k, &told);
        if (done == STATUS_DONE) done = compare_report_status(&k->v);
    } else {
        done = comparison_fail(a, k, &error);
    }
    comparison_end(k);
    free(k);
    return done;
}
