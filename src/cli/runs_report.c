// SPDX-License-Identifier: Apache-2.0
// heed runs report: the page of pages/report.js with the data of the runs in it.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/embedded.h"
#include "cli/output.h"
#include "cli/page.h"
#include "cli/page_data.h"
#include "cli/runs.h"
#include "cli/status.h"
#include "io/file.h"

typedef struct { const char *output; bool json; } report_options;

static const option options[] = {
    {.name = "--output", .letter = "-o", .kind = OPTION_TEXT, .offset = offsetof(report_options, output),
     .standard = "heed-runs.html", .value = "FILE", .group = "", .help = "the page; - is standard output"},
    {.name = "--json", .kind = OPTION_FLAG, .offset = offsetof(report_options, json), .group = "",
     .help = "say what was written as one JSON object"},
};

// ---- columns of numbers ----

// Each distinct column once: the curves of a run have their steps in common.
typedef struct { json_t *list; bool failed; } column_set;

// Steps 1, 2, 3, ...: three numbers say it.
static json_t *pack_column(const double *x, size_t n) {
    bool even = n > 2;
    for (size_t i = 0; i < n && even; i++) even = x[i] == rint(x[i]) && (i == 0 || x[i] - x[i - 1] == x[1] - x[0]);
    if (!even) return page_numbers(x, n);
    return json_pack("{s:f, s:f, s:I}", "from", x[0], "by", x[1] - x[0], "n", (json_int_t)n);
}

// The index of the column, which is kept once.
static size_t column_of(column_set *set, const double *x, size_t n) {
    json_t *packed = pack_column(x, n);
    set->failed |= packed == NULL;
    size_t i;
    json_t *known;
    json_array_foreach(set->list, i, known)
        if (json_equal(known, packed)) break;
    if (i == json_array_size(set->list)) json_array_append(set->list, packed);
    json_decref(packed);
    return i;
}

// A curve of more points than any screen has pixels is thinned to half as many ranges: a page stays small enough to open.
enum { POINTS_MOST = 50000 };

static size_t stride_of(const series *s) { return s->n <= POINTS_MOST ? 1 : 1 + (s->n - 1) / (POINTS_MOST / 2); }

// Of every `stride` points the least and the greatest, in their order. kept has room for all. How many there are.
static size_t keep_points(const series *s, size_t stride, size_t *kept) {
    size_t n = 0;
    for (size_t first = 0; first < s->n; first += stride) {
        size_t low = first, high = first;
        for (size_t i = first; i < s->n && i < first + stride; i++) {
            if (s->point[i].value < s->point[low].value) low = i;
            if (s->point[i].value > s->point[high].value) high = i;
        }
        kept[n++] = low < high ? low : high;
        if (low != high) kept[n++] = low < high ? high : low;
    }
    return n;
}

static json_t *pack_curve(column_set *set, const series *s, int run, const size_t *kept, size_t n, double *numbers) {
    json_t *cut = json_array();
    for (size_t i = 0; i < n; i++) {
        numbers[i] = (double)s->point[kept[i]].step;
        if (s->point[kept[i]].truncated) json_array_append_new(cut, json_integer((json_int_t)i));
    }
    const size_t x = column_of(set, numbers, n);
    for (size_t i = 0; i < n; i++) numbers[i] = s->point[kept[i]].value;
    const size_t y = column_of(set, numbers, n);
    return json_pack("{s:i, s:o, s:I, s:I, s:I, s:o}", "run", run, "key", json_text(s->key), "x", (json_int_t)x, "y", (json_int_t)y,
                     "stride", (json_int_t)stride_of(s), "cut", cut);
}

static json_t *curve_json(column_set *set, const series *s, int run) {
    double *numbers = malloc(s->n * sizeof *numbers);
    size_t *kept = malloc(s->n * sizeof *kept);
    json_t *curve = NULL;
    if (numbers != NULL && kept != NULL) curve = pack_curve(set, s, run, kept, keep_points(s, stride_of(s), kept), numbers);
    set->failed |= curve == NULL;
    free(numbers);
    free(kept);
    return curve;
}

// ---- the page ----

static void add_curves(json_t *data, const run_record *run, int n, column_set *set) {
    json_t *curves = json_array();
    set->list = json_array();
    for (int i = 0; i < n; i++)
        for (int k = 0; k < run[i].metrics.n; k++)
            if (run[i].metrics.of[k].n > 0) json_array_append_new(curves, curve_json(set, &run[i].metrics.of[k], i));
    json_object_set_new(data, "columns", set->list);
    json_object_set_new(data, "curves", curves);
}

// Beside name, folder and notes: where it met what is not finite, and how it ended.
static void add_ends(json_t *data, const run_record *run, int n) {
    json_t *list = json_object_get(data, "runs");
    for (int i = 0; i < n; i++) {
        json_t *faults = json_array(), *about = json_array_get(list, (size_t)i);
        const metrics *m = &run[i].metrics;
        for (int k = 0; k < m->n_faults; k++)
            json_array_append_new(faults, json_pack("{s:I, s:o}", "step", (json_int_t)m->fault[k].step, "sentence",
                                                    json_text(m->fault[k].sentence)));
        const char *status = json_string_value(json_object_get(run[i].final, "status"));
        json_object_set_new(about, "faults", faults);
        json_object_set_new(about, "status", json_string(status != NULL ? status : "not finished"));
    }
}

static json_t *report_data(const run_record *run, int n, bool *failed) {
    json_t *data = runs_compare(run, n, 0);
    json_object_del(data, "metrics");
    json_object_del(data, "speed");
    json_object_set_new(data, "final", runs_results(run, n));
    const time_t now = time(NULL);
    char stamp[40];
    struct tm utc;
    strftime(stamp, sizeof stamp, "%Y-%m-%d %H:%M UTC", gmtime_r(&now, &utc));
    json_object_set_new(data, "heed", json_string(heed_version()));
    json_object_set_new(data, "made", json_string(stamp));
    column_set set = {0};
    add_ends(data, run, n);
    add_curves(data, run, n, &set);
    *failed = set.failed;
    return data;
}

static int write_page(const args *a, const text_string *text, int64_t curves) {
    const report_options *o = a->options;
    heed_error error;
    if (strcmp(o->output, "-") == 0) {
        fwrite(text->text, 1, text->length, stdout);
        return STATUS_DONE;
    }
    if (file_replace(o->output, text->text, text->length, &error) != HEED_OK) return args_fail(a, STATUS_SYSTEM, "%s", error.text);
    if (o->json)
        return output_json(a, json_pack("{s:o, s:I, s:i, s:I}", "file", json_text(o->output), "bytes", (json_int_t)text->length,
                                        "runs", a->n_positional, "curves", (json_int_t)curves));
    printf("report       %s: %d run%s, %lld curves, %s\n", o->output, a->n_positional, a->n_positional == 1 ? "" : "s",
           (long long)curves, output_bytes((double)text->length).text);
    return STATUS_DONE;
}

static int report(const args *a) {
    static const char *const styles[] = {embedded_page_css, embedded_charts_css, embedded_report_css, NULL};
    static const char *const scripts[] = {embedded_page_js, embedded_charts_js, embedded_report_js, NULL};
    const report_options *o = a->options;
    if (o->json && strcmp(o->output, "-") == 0)
        return args_fail(a, STATUS_USAGE, "--json has no effect here: --output - writes the page itself to standard output");
    run_record *records;
    int status = run_records_open(a, &records);
    if (status != STATUS_DONE) return status;
    bool failed;
    json_t *data = report_data(records, a->n_positional, &failed);
    const page p = {.title = "heed runs report", .styles = styles, .scripts = scripts, .data = data};
    text_string text = {0};
    page_write(&p, &text);
    if (failed || text.failed) status = args_fail(a, STATUS_SYSTEM, "out of memory");
    else status = write_page(a, &text, (int64_t)json_array_size(json_object_get(data, "curves")));
    run_records_free(records, a->n_positional);
    json_decref(data);
    free(text.text);
    return status;
}

const verb verb_runs_report = {
    .name = "runs report", .purpose = "one HTML page with the curves of runs over each other",
    .usage = "RUN... [-o FILE]",
    .about = "Every number that a run has logged becomes a chart, with all runs in it: smoothing, logarithmic scale, zoom, values "
             "under the pointer. Beside them what attention ran, the options that differ, and the results. The page holds "
             "everything and loads nothing.",
    .examples = "  heed runs report runs/mine\n"
                "  heed runs report runs/* -o runs.html\n"
                "  heed runs report runs/seed1 runs/seed2 --output -\n",
    .options = options, .n_options = sizeof options / sizeof *options, .struct_bytes = sizeof(report_options),
    .least_positional = 1, .most_positional = -1, .positional = "a run folder", .run = report,
};
