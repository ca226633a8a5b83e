// SPDX-License-Identifier: Apache-2.0
#include "train/series.h"

#include "io/file.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { METRICS_BYTES = 1 << 30 };    // as log.c writes at most

// ---- notes ----

void record_note(record_notes *notes, const char *format, ...) {
    if (notes->count == NOTES_MOST) {
        notes->left_out++;
        return;
    }
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    notes->text[notes->count] = strdup(text);
    if (notes->text[notes->count] != NULL) notes->count++;
}

void record_notes_free(record_notes *notes) {
    for (int i = 0; i < notes->count; i++) free(notes->text[i]);
    *notes = (record_notes){0};
}

// ---- one line ----

typedef struct {
    metrics *to;
    int last;                          // lines hold the same keys in the same order: the next key follows the last one found
    series_point point;
    bool failed, full;
} line_reader;

static series *series_of(line_reader *r, const char *key) {
    metrics *m = r->to;
    for (int i = 0; i < m->n; i++) {
        const int at = (r->last + 1 + i) % m->n;
        if (strcmp(m->of[at].key, key) == 0) return &m->of[r->last = at];
    }
    if (m->n == SERIES_MOST) {
        r->full = true;
        return NULL;
    }
    char *name = strdup(key);
    series *more = name == NULL ? NULL : realloc(m->of, ((size_t)m->n + 1) * sizeof *more);
    r->failed |= more == NULL;
    if (more == NULL) {
        free(name);
        return NULL;
    }
    m->of = more;
    m->of[r->last = m->n++] = (series){.key = name};
    return &m->of[r->last];
}

static void add_number(void *context, const char *key, const json_t *value) {
    line_reader *r = context;
    if (!json_is_number(value) || strcmp(key, "step") == 0 || strncmp(key, "non_finite", 10) == 0) return;
    series *s = series_of(r, key);
    if (s == NULL) return;
    if (s->n == s->room) {
        const size_t room = s->room == 0 ? 64 : 2 * s->room;
        series_point *more = realloc(s->point, room * sizeof *more);
        r->failed |= more == NULL;
        if (more == NULL) return;
        s->point = more;
        s->room = room;
    }
    r->point.value = json_number_value(value);
    s->point[s->n++] = r->point;
}

static void add_fault(line_reader *r, const json_t *origin) {
    const char *sentence = json_string_value(json_object_get(origin, "sentence"));
    series_fault *more = realloc(r->to->fault, ((size_t)r->to->n_faults + 1) * sizeof *more);
    r->failed |= more == NULL;
    if (more == NULL) return;
    r->to->fault = more;
    more[r->to->n_faults].step = r->point.step;
    more[r->to->n_faults++].sentence = strdup(sentence != NULL ? sentence : "not finite");
}

static void read_line(line_reader *r, const char *bytes, size_t n, const char *path, int64_t line, record_notes *notes) {
    json_t *object = NULL;
    heed_error error;
    if (json_line_parse(&object, bytes, n, path, (size_t)line, &error) != HEED_OK) {
        record_note(notes, "%s; the line is left out", error.text);
        r->to->damaged++;
        return;
    }
    const json_t *step = json_object_get(object, "step"), *origin = json_object_get(object, "non_finite");
    if (!json_is_integer(step) || json_integer_value(step) < 0) {
        record_note(notes, "%s, line %lld: no step; the line is left out", file_shown(path), (long long)line);
        r->to->damaged++;
    } else {
        r->to->lines++;
        r->point = (series_point){.step = json_integer_value(step), .order = line,
                                  .truncated = json_is_true(json_object_get(object, "truncated"))};
        json_flatten(object, add_number, r);
        if (json_is_object(origin)) add_fault(r, origin);
    }
    json_decref(object);
}

// ---- all of them ----

static int by_step(const void *a, const void *b) {
    const series_point *x = a, *y = b;
    if (x->step != y->step) return x->step < y->step ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

// Of two lines for one step the later one counts, as when a step is taken again. True when steps went back.
static bool put_in_order(series *s) {
    bool ordered = true;
    for (size_t i = 1; i < s->n && ordered; i++) ordered = s->point[i - 1].step <= s->point[i].step;
    if (!ordered) qsort(s->point, s->n, sizeof *s->point, by_step);
    size_t kept = 0;
    for (size_t i = 0; i < s->n; i++)
        if (i + 1 == s->n || s->point[i + 1].step != s->point[i].step) s->point[kept++] = s->point[i];
    s->n = kept;
    return !ordered;
}

static void read_lines(line_reader *r, const char *text, size_t length, const char *path, record_notes *notes) {
    int64_t line = 1;
    for (size_t at = 0; at < length && !r->failed; line++) {
        const char *end = memchr(text + at, '\n', length - at);
        const size_t n = end == NULL ? length - at : (size_t)(end - (text + at));
        if (end == NULL) {
            record_note(notes, "%s, line %lld has no end: the run was killed, or is writing; the line is left out",
                        file_shown(path), (long long)line);
        } else if (n > 0) {
            read_line(r, text + at, n, path, line, notes);
        }
        at += n + 1;
    }
}

heed_status metrics_read(metrics *m, const char *path, record_notes *notes, heed_error *error) {
    *m = (metrics){0};
    if (!file_exists(path)) {
        record_note(notes, "%s does not exist: no step is known", file_shown(path));
        return HEED_OK;
    }
    char *text = NULL;
    size_t length = 0;
    const heed_status status = file_read(&text, &length, path, METRICS_BYTES, error);
    if (status != HEED_OK) return status;
    line_reader r = {.to = m, .last = -1};
    read_lines(&r, text, length, path, notes);
    free(text);
    bool mixed = false;
    for (int i = 0; i < m->n; i++) mixed |= put_in_order(&m->of[i]);
    if (mixed) record_note(notes, "%s: steps are out of order; of several lines for one step the last counts", file_shown(path));
    if (r.full) record_note(notes, "%s has more than %d different keys; the rest is left out", file_shown(path), SERIES_MOST);
    if (length == 0) record_note(notes, "%s is empty: no step was taken", file_shown(path));
    return r.failed ? error_set(error, HEED_NO_MEMORY, "no memory for the curves of %s", file_shown(path)) : HEED_OK;
}

void metrics_free(metrics *m) {
    for (int i = 0; i < m->n; i++) {
        free(m->of[i].key);
        free(m->of[i].point);
    }
    for (int i = 0; i < m->n_faults; i++) free(m->fault[i].sentence);
    free(m->of);
    free(m->fault);
    *m = (metrics){0};
}

const series *metrics_find(const metrics *m, const char *key) {
    for (int i = 0; i < m->n; i++)
        if (strcmp(m->of[i].key, key) == 0) return &m->of[i];
    return NULL;
}

bool metrics_is_speed(const char *key) { return strstr(key, "second") != NULL || strstr(key, "memory") != NULL; }

bool metrics_is_evaluation(const char *key) {
    if (metrics_is_speed(key) || strstr(key, "step") != NULL) return false;
    return strstr(key, "eval") != NULL || strstr(key, "perplexity") != NULL || strstr(key, "bits_per_byte") != NULL;
}
