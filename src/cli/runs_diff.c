// SPDX-License-Identifier: Apache-2.0
// heed runs diff: the comparison of runs_compare.c as a table or as JSON.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/output.h"
#include "cli/runs.h"
#include "cli/status.h"

typedef struct { double relative; bool json; } diff_options;

static const option options[] = {
    {.name = "--relative", .kind = OPTION_REAL, .offset = offsetof(diff_options, relative), .standard = "1e-3", .least = 0,
     .most = 1, .group = "", .help = "also tell the first step where curves are further apart than this share of their value"},
    {.name = "--json", .kind = OPTION_FLAG, .offset = offsetof(diff_options, json), .group = "", .help = "one JSON object"},
};

// ---- a table of facts, a column for each run ----

enum { CELL_LEAST = 16, NAME_LEAST = 20, NAME_MOST = 48 };

// A value as people read it; free it. Control bytes are shown, never sent to the terminal.
static char *cell_text(const json_t *value, const char *remark) {
    text_string raw = {0}, shown = {0};
    if (json_is_string(value)) text_format(&raw, "%s", json_string_value(value));
    else if (json_is_real(value)) text_format(&raw, "%.9g", json_real_value(value));
    else if (value == NULL || json_is_null(value)) text_format(&raw, "-");
    else json_file_print(value, false, &raw, NULL);
    text_append(&shown, "", 0);
    if (raw.text != NULL) output_add_shown(&shown, raw.text, raw.length, "");
    text_append(&shown, remark, strlen(remark));
    free(raw.text);
    return shown.text;
}

static int characters(const char *text) {
    int n = 0;
    for (; *text != 0; text++) n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

// At most `most` characters of the text, the middle left out, and blanks up to `width`.
static void print_cell(const char *text, int width, int most) {
    const int n = characters(text), head = n > most ? (most - 3) / 2 : n, tail = n > most ? most - 3 - head : 0;
    int at = -1, printed = 0;
    for (const char *p = text; *p != 0; p++) {
        at += ((unsigned char)*p & 0xc0) != 0x80;
        if (at == head && at < n - tail && ((unsigned char)*p & 0xc0) != 0x80) printed += printf("...");
        if (at >= head && at < n - tail) continue;
        printed += ((unsigned char)*p & 0xc0) != 0x80;
        putchar(*p);
    }
    printf("%*s", width > printed ? width - printed : 0, "");
}

typedef struct { int name, cell, most, runs; } layout;

// What a row says of one run's value besides the value.
static const char *remark(const json_t *row, size_t run) {
    if (json_is_true(json_array_get(json_object_get(row, "given"), run))) return " (given)";
    return json_is_true(json_array_get(json_object_get(row, "truncated"), run)) ? " (truncated)" : "";
}

static void measure(layout *l, const json_t *rows) {
    size_t i, run;
    json_t *row, *value;
    json_array_foreach(rows, i, row) {
        char *name = cell_text(json_object_get(row, "name"), "");
        const int wide = name != NULL ? characters(name) : 0;
        if (wide > l->name) l->name = wide < NAME_MOST ? wide : NAME_MOST;
        free(name);
        json_array_foreach(json_object_get(row, "values"), run, value) {
            char *text = cell_text(value, remark(row, run));
            const int n = text != NULL ? characters(text) : 0;
            if (n > l->cell) l->cell = n;
            free(text);
        }
    }
}

static void print_row(const layout *l, const json_t *row) {
    const json_t *values = json_object_get(row, "values");
    char *name = cell_text(json_object_get(row, "name"), "");
    printf("  ");
    print_cell(name != NULL ? name : "?", l->name, l->name);
    free(name);
    size_t run;
    json_t *value;
    json_array_foreach(values, run, value) {
        char *text = cell_text(value, remark(row, run));
        const bool last = run + 1 == json_array_size(values);
        printf("  ");
        print_cell(text != NULL ? text : "?", last ? 0 : l->cell, l->most);
        free(text);
    }
    putchar('\n');
}

static void title(const char *text) { printf("%s%s%s\n", output_colour(COLOUR_STRONG), text, output_colour(COLOUR_NONE)); }

static void print_facts(const layout *l, const char *heading, const json_t *rows) {
    size_t i;
    json_t *row;
    if (json_array_size(rows) == 0) return;
    title(heading);
    json_array_foreach(rows, i, row) print_row(l, row);
}

// ---- attention ----

// [{"training": {"actual": [...]}}...] as rows of facts: "training", "preset", "asked for", where anything ran.
static json_t *attention_rows(const json_t *views) {
    static const struct { const char *pass, *key, *name; } rows[] = {
        {"training", "requested", "training: asked for"}, {"training", "actual", "training: ran"},
        {"training", "preset", "training: preset"}, {"training", "empty_rows", "training: empty rows"},
        {"training", "reason", "training: because"},
        {"evaluation", "requested", "evaluation: asked for"}, {"evaluation", "actual", "evaluation: ran"},
        {"evaluation", "preset", "evaluation: preset"}, {"evaluation", "empty_rows", "evaluation: empty rows"},
        {"evaluation", "reason", "evaluation: because"},
    };
    json_t *table = json_array();
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        json_t *values = json_array();
        bool differ = false;
        for (size_t i = 0; i < json_array_size(views); i++) {
            const json_t *list = json_object_get(json_object_get(json_array_get(views, i), rows[r].pass), rows[r].key);
            text_string text = {0};
            for (size_t k = 0; k < json_array_size(list); k++)
                text_format(&text, "%s%s", k > 0 ? ", " : "", json_string_value(json_array_get(list, k)));
            json_array_append_new(values, text.text != NULL ? json_string(text.text) : json_null());
            free(text.text);
            differ |= !json_equal(json_array_get(values, 0), json_array_get(values, i));
        }
        if (differ) json_array_append_new(table, json_pack("{s:s, s:O}", "name", rows[r].name, "values", values));
        json_decref(values);
    }
    return table;
}

// ---- curves ----

static void print_parting(const char *words, const json_t *parting) {
    const json_t *values = json_object_get(parting, "values"), *relative = json_object_get(parting, "relative");
    const double a = json_number_value(json_array_get(values, 0)), b = json_number_value(json_array_get(values, 1));
    char text[2][40];
    for (int digits = 9; digits <= 17; digits += 8) {    // 17 where 9 would not show the difference
        snprintf(text[0], sizeof text[0], "%.*g", digits, a);
        snprintf(text[1], sizeof text[1], "%.*g", digits, b);
        if (strcmp(text[0], text[1]) != 0) break;
    }
    printf("%s step %lld: %s%s and %s%s", words, (long long)json_integer_value(json_object_get(parting, "step")), text[0],
           remark(parting, 0), text[1], remark(parting, 1));
    if (json_is_number(relative)) printf(" (%.1e apart)", json_number_value(relative));
}

static void print_curve(const layout *l, const json_t *row, double relative) {
    const json_t *parts = json_object_get(row, "parts"), *beyond = json_object_get(row, "beyond");
    const long long common = json_integer_value(json_object_get(row, "steps_in_common"));
    char *name = cell_text(json_object_get(row, "name"), ""), *run = cell_text(json_object_get(row, "run"), "");
    printf("  ");
    print_cell(name != NULL ? name : "?", l->name, l->name);
    printf("  ");
    if (l->runs > 2) printf("%s: ", run != NULL ? run : "?");
    free(name);
    free(run);
    if (common == 0) printf("no step in common\n");
    else if (json_is_null(parts)) printf("the same to the last bit at %lld step%s in common\n", common, common == 1 ? "" : "s");
    else {
        print_parting("parts at", parts);
        if (json_is_null(beyond)) printf("; never beyond %g", relative);
        else if (!json_equal(beyond, parts)) print_parting("; beyond the limit from", beyond);
        putchar('\n');
    }
}

static void print_curves(const layout *l, const json_t *rows, double relative) {
    size_t i;
    json_t *row;
    if (json_array_size(rows) == 0) return;
    title("curves, step by step");
    json_array_foreach(rows, i, row) print_curve(l, row, relative);
}

// ---- all of it ----

static void print_notes(const json_t *runs) {
    size_t i, k;
    json_t *run, *note;
    json_array_foreach(runs, i, run) {
        json_array_foreach(json_object_get(run, "notes"), k, note) {
            char *text = cell_text(note, "");
            printf("note: %s\n", text != NULL ? text : "?");
            free(text);
        }
    }
}

static const struct { const char *key, *heading; } sections[] = {
    {"options", "options"}, {"machine", "version and machine"}, {"model", "model"}, {"data", "data"}, {"final", "results"},
    {"speed", "speed and memory (no difference by themselves)"},
};
enum { SECTIONS = sizeof sections / sizeof *sections, AFTER_CURVES = 4 };

static void print_comparison(const json_t *c) {
    json_t *runs = json_object_get(c, "runs"), *attention = attention_rows(json_object_get(c, "attention")), *names = json_array();
    const int n = (int)json_array_size(runs);
    layout l = {.name = NAME_LEAST, .runs = n};
    for (int i = 0; i < n; i++) json_array_append(names, json_object_get(json_array_get(runs, (size_t)i), "name"));
    json_t *header = json_pack("[{s:s, s:O}]", "name", "", "values", names);
    measure(&l, header);
    measure(&l, attention);
    for (int s = 0; s < SECTIONS; s++) measure(&l, json_object_get(c, sections[s].key));
    const int columns = output_columns(), room = ((columns > output_width() ? columns : output_width()) - l.name - 2) / n - 2;
    l.most = room > CELL_LEAST ? room : CELL_LEAST;
    if (l.cell > l.most) l.cell = l.most;
    char *verdict = cell_text(json_object_get(c, "verdict"), "");
    const bool comparable = json_is_true(json_object_get(c, "comparable_by_attention"));
    printf("%s%s%s\n", output_colour(comparable ? COLOUR_GOOD : COLOUR_BAD), verdict != NULL ? verdict : "?",
           output_colour(COLOUR_NONE));
    free(verdict);
    print_notes(runs);
    putchar('\n');
    print_row(&l, json_array_get(header, 0));
    print_facts(&l, "attention", attention);
    for (int s = 0; s < SECTIONS; s++) {
        if (s == AFTER_CURVES)
            print_curves(&l, json_object_get(c, "metrics"), json_number_value(json_object_get(c, "relative")));
        print_facts(&l, sections[s].heading, json_object_get(c, sections[s].key));
    }
    if (json_is_false(json_object_get(c, "differ"))) printf("\nThe runs do not differ.\n");
    json_decref(header);
    json_decref(names);
    json_decref(attention);
}

static int diff(const args *a) {
    const diff_options *o = a->options;
    run_record *records;
    int status = run_records_open(a, &records);
    if (status != STATUS_DONE) return status;
    json_t *comparison = runs_compare(records, a->n_positional, o->relative);
    const bool differ = json_is_true(json_object_get(comparison, "differ"));
    bool damaged = false;
    for (int i = 0; i < a->n_positional; i++) damaged |= records[i].damaged;
    run_records_free(records, a->n_positional);
    if (o->json) {
        status = output_json_exact(a, comparison);
    } else {
        print_comparison(comparison);
        json_decref(comparison);
    }
    if (status != STATUS_DONE) return status;
    if (differ) return STATUS_FAILED;
    if (!damaged) return STATUS_DONE;
    return args_fail(a, STATUS_SYSTEM, "what could be read does not differ, but a file is damaged: see the notes");
}

const verb verb_runs_diff = {
    .name = "runs diff", .purpose = "what differs between runs: attention, options, data, losses",
    .usage = "RUN RUN... [options]",
    .about = "The first line says whether the runs are comparable by attention: what really ran, not what was asked for. Then "
             "options, versions and data that differ, the first step where losses part, and the results. Where a run writes and "
             "what it prints is no difference, nor is its speed. Exit status 1 when the runs differ, 0 when they do not.",
    .examples = "  heed runs diff runs/mine runs/other\n"
                "  heed runs diff runs/seed1 runs/seed2 runs/seed3 --relative 0.01\n"
                "  heed runs diff runs/mine runs/other --json\n",
    .options = options, .n_options = sizeof options / sizeof *options, .struct_bytes = sizeof(diff_options),
    .least_positional = 2, .most_positional = -1, .positional = "a run folder", .run = diff,
};
