// SPDX-License-Identifier: Apache-2.0
// What runs differ in, as one JSON object. The first run is what the others are held against where pairs are compared.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/output.h"
#include "cli/runs.h"

typedef struct { const run_record *run; int n; json_t *names; bool differs; } comparison;

static const char *name_of(const comparison *c, int run) { return json_string_value(json_array_get(c->names, (size_t)run)); }

// ---- facts by name ----

static bool same_value(const json_t *a, const json_t *b) {
    if (json_is_number(a) && json_is_number(b)) {    // 1 and 1.0 are one value
        const double x = json_number_value(a), y = json_number_value(b);
        return x == y;
    }
    const bool a_told = a != NULL && !json_is_null(a), b_told = b != NULL && !json_is_null(b);
    return a_told && b_told ? json_equal(a, b) : a_told == b_told;    // an older version did not know the option
}

static void keep_leaf(void *flat, const char *key, const json_t *value) {
    if (json_object_get(flat, key) == NULL) json_object_set(flat, key, (json_t *)value);
}

typedef bool skip_rule(const char *key);

// A row {"name", "values": by run} for each key, or for each in which the objects differ. objects: a list by run, null where not
// known.
typedef enum { ALL_ROWS, ROWS_THAT_DIFFER } row_choice;
static json_t *compare_objects(const json_t *objects, row_choice rows_wanted, skip_rule *skip) {
    const size_t n = json_array_size(objects);
    json_t *rows = json_array(), *flat = json_array(), *all = json_object(), *value;
    for (size_t i = 0; i < n; i++) {
        json_t *leaves = json_object();
        if (json_is_object(json_array_get(objects, i))) json_flatten(json_array_get(objects, i), keep_leaf, leaves);
        json_object_update_missing(all, leaves);
        json_array_append_new(flat, leaves);
    }
    const char *key;
    json_object_foreach(all, key, value) {
        const json_t *first = json_object_get(json_array_get(flat, 0), key);
        json_t *values = json_array();
        bool same = true;
        for (size_t i = 0; i < n; i++) {
            json_t *own = json_object_get(json_array_get(flat, i), key);
            same &= same_value(first, own);
            if (own != NULL) json_array_append(values, own);
            else json_array_append_new(values, json_null());
        }
        if ((!same || rows_wanted == ALL_ROWS) && (skip == NULL || !skip(key)))
            json_array_append_new(rows, json_pack("{s:s, s:O}", "name", key, "values", values));
        json_decref(values);
    }
    json_decref(flat);
    json_decref(all);
    return rows;
}

static json_t *borrow(json_t *value) { return value != NULL ? json_incref(value) : json_null(); }

// By run: run.json's object of that name.
static json_t *parts(const comparison *c, const char *name) {
    json_t *list = json_array();
    for (int i = 0; i < c->n; i++) json_array_append_new(list, borrow(json_object_get(c->run[i].run, name)));
    return list;
}

static json_t *compare_parts(comparison *c, const char *name) {
    json_t *objects = parts(c, name), *rows = compare_objects(objects, ROWS_THAT_DIFFER, NULL);
    json_decref(objects);
    c->differs |= json_array_size(rows) > 0;
    return rows;
}

// The options in which the runs differ: a list of {"name", "values", "given"}, the last two by run.
static json_t *compare_options(const run_record *run, int n) {
    json_t *objects = json_array(), *row;
    for (int i = 0; i < n; i++) json_array_append_new(objects, borrow(json_object_get(run_record_options(&run[i]), "effective")));
    json_t *rows = compare_objects(objects, ROWS_THAT_DIFFER, run_record_is_outward);
    json_decref(objects);
    size_t at;
    json_array_foreach(rows, at, row) {
        const char *name = json_string_value(json_object_get(row, "name"));
        json_t *given = json_array();
        for (int i = 0; i < n; i++) {
            const json_t *written = json_object_get(run_record_options(&run[i]), "given");
            json_array_append_new(given, json_boolean(json_object_get(written, name) != NULL));
        }
        json_object_set_new(row, "given", given);
    }
    return rows;
}

// ---- attention ----

static const char *const passes[] = {"training", "evaluation"};
enum { PASSES = 2 };

// "cpu.eager, cpu.flash" from a sorted list.
static void add_list(text_string *text, const json_t *list) {
    for (size_t i = 0; i < json_array_size(list); i++)
        text_format(text, "%s%s", i > 0 ? ", " : "", json_string_value(json_array_get(list, i)));
}

static void add_actual(text_string *text, const json_t *view) {
    add_list(text, json_object_get(view, "actual"));
    text_format(text, " (preset ");
    add_list(text, json_object_get(view, "preset"));
    const json_t *empty = json_object_get(view, "empty_rows");
    if (json_array_size(empty) != 1 || strcmp(json_string_value(json_array_get(empty, 0)), "zero") != 0) {
        text_format(text, ", empty rows ");
        add_list(text, empty);
    }
    text_format(text, ")");
}

static bool same_actual(const json_t *a, const json_t *b) {
    static const char *const keys[] = {"actual", "preset", "empty_rows"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!json_equal(json_object_get(a, keys[i]), json_object_get(b, keys[i]))) return false;
    return true;
}

static const json_t *view_of(const json_t *views, int run, const char *pass) {
    return json_object_get(json_array_get(views, (size_t)run), pass);
}

// "cpu.flash (preset heed) in a and b, cpu.eager (preset heed) in c"; without names where all are the same. NULL: nothing ran.
static char *say_actual(const comparison *c, const json_t *views, const char *pass, bool named) {
    text_string text = {0};
    for (int i = 0; i < c->n; i++) {
        const json_t *view = view_of(views, i, pass);
        bool told = view == NULL;
        for (int j = 0; j < i && !told; j++) told = same_actual(view, view_of(views, j, pass));
        if (told) continue;
        if (text.length > 0) text_format(&text, ", ");
        add_actual(&text, view);
        for (int j = i; j < c->n && named; j++)
            if (same_actual(view, view_of(views, j, pass))) text_format(&text, "%s%s", j == i ? " in " : " and ", name_of(c, j));
    }
    return text.text;
}

typedef enum { NOT_KNOWN, SAME, ASKED_OTHERWISE, OTHER } likeness;

// Of one pass, over all runs in which it ran.
static likeness compare_pass(const comparison *c, const json_t *views, const char *pass) {
    const json_t *first = NULL;
    likeness found = NOT_KNOWN;
    for (int i = 0; i < c->n; i++) {
        const json_t *view = view_of(views, i, pass);
        if (view == NULL) continue;
        if (first == NULL) {
            first = view;
            continue;
        }
        likeness now = SAME;
        if (!same_actual(first, view)) now = OTHER;
        else if (!json_equal(json_object_get(first, "requested"), json_object_get(view, "requested"))) now = ASKED_OTHERWISE;
        if (now > found) found = now;
    }
    return found;
}

static void judge_attention(comparison *c, json_t *object, const json_t *views) {
    static const char *const verdicts[] = {
        [NOT_KNOWN] = "it is not known whether the runs are comparable by attention: ", [SAME] = "comparable by attention: ",
        [ASKED_OTHERWISE] = "comparable by attention, asked for by different names: ", [OTHER] = "not comparable by attention: ",
    };
    likeness found = NOT_KNOWN, of[PASSES];
    char *ran[PASSES] = {NULL, NULL};
    for (int p = 0; p < PASSES; p++) {
        of[p] = compare_pass(c, views, passes[p]);
        if (of[p] > found) found = of[p];
    }
    for (int p = 0; p < PASSES && found != NOT_KNOWN; p++)
        if (of[p] == found) ran[p] = say_actual(c, views, passes[p], found == OTHER);
    text_string why = {0};
    if (found == NOT_KNOWN) text_format(&why, "fewer than two of them have recorded what ran");
    else if (ran[0] != NULL && ran[1] != NULL && strcmp(ran[0], ran[1]) == 0)
        text_format(&why, "training and evaluation ran %s", ran[0]);
    else for (int p = 0; p < PASSES; p++)
        if (ran[p] != NULL) text_format(&why, "%s%s ran %s", why.length > 0 ? "; " : "", passes[p], ran[p]);
    c->differs |= found == OTHER;
    json_object_set_new(object, "comparable_by_attention", found == NOT_KNOWN ? json_null() : json_boolean(found != OTHER));
    json_object_set_new(object, "verdict", json_sprintf("%s%s", verdicts[found], why.text != NULL ? why.text : ""));
    free(why.text);
    free(ran[0]);
    free(ran[1]);
}

static void compare_attention(comparison *c, json_t *object) {
    json_t *views = json_array();
    for (int i = 0; i < c->n; i++) {
        json_t *view = run_record_attention(&c->run[i]);
        json_array_append_new(views, view != NULL ? view : json_null());
    }
    judge_attention(c, object, views);
    json_object_set_new(object, "attention", views);
}

// ---- curves ----

typedef struct { int64_t step; double a, b; bool a_truncated, b_truncated; } parting;

static double apart(double a, double b) {
    if (a == b || (isnan(a) && isnan(b))) return 0;
    return fabs(a - b) / fmax(fabs(a), fabs(b));
}

static json_t *parting_json(const parting *p) {
    return json_pack("{s:I, s:[o, o], s:o, s:[b, b]}", "step", (json_int_t)p->step, "values", output_real(p->a), output_real(p->b),
                     "relative", output_real(apart(p->a, p->b)), "truncated", p->a_truncated, p->b_truncated);
}

// Step by step where both have one.
static json_t *compare_curves(const comparison *c, int run, const series *a, const series *b, double relative, bool *part) {
    parting first = {.step = -1}, beyond = {.step = -1}, widest = {.step = -1};
    int64_t common = 0;
    for (size_t i = 0, j = 0; i < a->n && j < b->n;) {
        const series_point *x = &a->point[i], *y = &b->point[j];
        i += x->step <= y->step;
        j += y->step <= x->step;
        if (x->step != y->step) continue;
        common++;
        const double distance = apart(x->value, y->value);
        const parting here = {x->step, x->value, y->value, x->truncated, y->truncated};
        if (distance > 0 && first.step < 0) first = here;
        if (distance > relative && beyond.step < 0) beyond = here;
        if (distance > 0 && (widest.step < 0 || distance > apart(widest.a, widest.b))) widest = here;
    }
    *part = first.step >= 0;
    json_t *row = json_pack("{s:s, s:s, s:s, s:I}", "name", a->key, "run", name_of(c, run), "against", name_of(c, 0),
                            "steps_in_common", (json_int_t)common);
    json_object_set_new(row, "parts", *part ? parting_json(&first) : json_null());
    json_object_set_new(row, "beyond", beyond.step >= 0 ? parting_json(&beyond) : json_null());
    json_object_set_new(row, "widest", *part ? parting_json(&widest) : json_null());
    return row;
}

static bool is_loss(const char *key) { return strstr(key, "loss") != NULL; }

// The curves that are losses, or those that are not, of one run against the first.
static void add_curves(comparison *c, json_t *rows, int run, bool losses, double relative) {
    const metrics *first = &c->run[0].metrics;
    for (int k = 0; k < first->n; k++) {
        const char *key = first->of[k].key;
        const series *other = metrics_find(&c->run[run].metrics, key);
        if (other == NULL || metrics_is_speed(key) || is_loss(key) != losses) continue;
        bool part;
        json_t *row = compare_curves(c, run, &first->of[k], other, relative, &part);
        if (part || losses) json_array_append(rows, row);
        c->differs |= part;
        json_decref(row);
    }
}

// Losses always, so that one sees how long they agree; then the other curves that part.
static json_t *compare_metrics(comparison *c, double relative) {
    json_t *rows = json_array();
    for (int run = 1; run < c->n; run++) {
        add_curves(c, rows, run, true, relative);
        add_curves(c, rows, run, false, relative);
    }
    return rows;
}

// ---- the end ----

static bool is_no_fact(const char *key) { return strncmp(key, "attention", 9) == 0 || strcmp(key, "run") == 0; }

static bool is_no_result(const char *key) {
    return metrics_is_speed(key) || is_no_fact(key);
}

static bool is_no_speed(const char *key) { return !metrics_is_speed(key); }

static json_t *finals(const run_record *run, int n, row_choice wanted, skip_rule *skip) {
    json_t *objects = json_array();
    for (int i = 0; i < n; i++) {
        const json_t *last = run[i].final;
        // An unfinished run has this to say, beside how far it came.
        json_array_append_new(objects, last != NULL ? json_incref((json_t *)last) : json_pack("{s:s}", "status", "not finished"));
    }
    json_t *rows = compare_objects(objects, wanted, skip), *row;
    json_decref(objects);
    size_t at;
    json_array_foreach(rows, at, row) {    // what a truncated evaluation says is called so wherever it appears
        const char *name = json_string_value(json_object_get(row, "name"));
        json_t *truncated = json_array();
        for (int i = 0; i < n; i++)
            json_array_append_new(truncated, json_boolean(metrics_is_evaluation(name) &&
                                                          json_is_true(json_object_get(run[i].final, "truncated"))));
        json_object_set_new(row, "truncated", truncated);
    }
    return rows;
}

json_t *runs_results(const run_record *run, int n) { return finals(run, n, ALL_ROWS, is_no_fact); }

static json_t *about_runs(const comparison *c) {
    json_t *list = json_array();
    for (int i = 0; i < c->n; i++) {
        const run_record *r = &c->run[i];
        json_t *notes = json_array();
        for (int k = 0; k < r->notes.count; k++) json_array_append_new(notes, json_text(r->notes.text[k]));
        if (r->notes.left_out > 0) json_array_append_new(notes, json_sprintf("... and %d more", r->notes.left_out));
        json_array_append_new(list, json_pack("{s:s, s:o, s:b, s:o}", "name", name_of(c, i), "folder", json_text(r->folder),
                                              "damaged", r->damaged, "notes", notes));
    }
    return list;
}

json_t *runs_compare(const run_record *run, int n, double relative) {
    comparison c = {.run = run, .n = n, .names = run_records_names(run, n)};
    json_t *object = json_object();
    compare_attention(&c, object);
    json_object_set_new(object, "runs", about_runs(&c));
    json_t *options = compare_options(run, n), *ends;
    c.differs |= json_array_size(options) > 0;
    json_object_set_new(object, "options", options);
    json_object_set_new(object, "machine", compare_parts(&c, "machine"));
    json_object_set_new(object, "model", compare_parts(&c, "model"));
    json_object_set_new(object, "data", compare_parts(&c, "data"));
    json_object_set_new(object, "relative", json_real(relative));
    json_object_set_new(object, "metrics", compare_metrics(&c, relative));
    json_object_set_new(object, "final", ends = finals(run, n, ROWS_THAT_DIFFER, is_no_result));
    c.differs |= json_array_size(ends) > 0;
    json_object_set_new(object, "speed", finals(run, n, ROWS_THAT_DIFFER, is_no_speed));
    json_object_set_new(object, "differ", json_boolean(c.differs));
    json_decref(c.names);
    return object;
}
