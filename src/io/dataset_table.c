// SPDX-License-Identifier: Apache-2.0
// .csv and .tsv, as RFC 4180 quotes them: the texts of one column of a table with a header.
#include "io/dataset_builder.h"

#include "base/text.h"
#include "io/file.h"

#include <math.h>

enum { NO_COLUMN = -1 };

// Where the reader is. Fields are unquoted in place: what they hold is never longer than how it was written.
typedef struct {
    char *text;
    size_t n, at;
    char separator;
    size_t line, line_start;    // of `at`: counted from 1; its first byte
    const char *path;
} table;

typedef struct { char *text; size_t n; bool last; } field;    // last: of its record

static bool ends_line(char c) { return c == '\n' || c == '\r'; }

static void line_end(table *t) {
    t->at += t->text[t->at] == '\r' && t->at + 1 < t->n && t->text[t->at + 1] == '\n' ? 2 : 1;
    t->line++;
    t->line_start = t->at;
}

// After a field: a separator (more follow), the end of the record, or the end of the file.
static void field_end(table *t, field *f) {
    f->last = t->at >= t->n || ends_line(t->text[t->at]);
    if (t->at >= t->n) return;
    if (f->last) line_end(t);
    else t->at++;
}

static heed_status field_quoted(table *t, field *f, heed_error *error) {
    const size_t first_line = t->line, first_column = t->at - t->line_start + 1;
    f->text = t->text + ++t->at;
    for (f->n = 0; t->at < t->n; f->n++) {
        const char c = t->text[t->at];
        const bool twice = c == '"' && t->at + 1 < t->n && t->text[t->at + 1] == '"';
        if (c == '"' && !twice) break;
        f->text[f->n] = c;
        t->at += twice ? 2 : 1;
        const bool newline = c == '\n' || (c == '\r' && (t->at == t->n || t->text[t->at] != '\n'));
        if (newline) t->line++;
        if (newline) t->line_start = t->at;
    }
    if (t->at >= t->n)
        return error_set(error, HEED_INVALID, "%s, line %zu, column %zu: the quote that opens here is never closed",
                         file_shown(t->path), first_line, first_column);
    t->at++;
    if (t->at < t->n && t->text[t->at] != t->separator && !ends_line(t->text[t->at]))
        return error_set(error, HEED_INVALID, "%s, line %zu, column %zu: after a closing quote %s or the end of the line is "
                         "needed (a quote inside of a quoted text is written twice)", file_shown(t->path), t->line,
                         t->at - t->line_start + 1, t->separator == ',' ? "a comma" : "a tab");
    return HEED_OK;
}

static heed_status field_next(table *t, field *f, heed_error *error) {
    *f = (field){.text = t->text + t->at};
    if (t->at < t->n && t->text[t->at] == '"') {
        const heed_status status = field_quoted(t, f, error);
        if (status != HEED_OK) return status;
    } else {
        while (t->at < t->n && t->text[t->at] != t->separator && !ends_line(t->text[t->at])) t->at++;
        f->n = (size_t)(t->text + t->at - f->text);
    }
    field_end(t, f);
    return HEED_OK;
}

static void skip_empty_lines(table *t) {
    while (t->at < t->n && ends_line(t->text[t->at])) line_end(t);
}

static bool is_named(const field *f, const char *name) { return f->n == strlen(name) && memcmp(f->text, name, f->n) == 0; }

// *column: that of the texts, *columns: how many there are.
static heed_status read_header(table *t, int64_t *column, int64_t *columns, heed_error *error) {
    const size_t line = t->line;
    char names[100] = "";
    text_buffer list = {names, sizeof names, 0};
    bool prompt = false, answer = false;
    *column = NO_COLUMN;
    *columns = 0;
    for (field f = {0}; !f.last; ++*columns) {
        const heed_status status = field_next(t, &f, error);
        if (status != HEED_OK) return status;
        if (*column != NO_COLUMN && is_named(&f, "text"))
            return error_set(error, HEED_INVALID, "%s, line %zu: two columns are named \"text\"; one is needed",
                             file_shown(t->path), line);
        if (is_named(&f, "text")) *column = *columns;
        prompt = prompt || is_named(&f, "prompt");
        answer = answer || is_named(&f, "answer");
        text_add(&list, "%s%.*s", *columns > 0 ? ", " : "", f.n > 40 ? 40 : (int)f.n, f.text);
    }
    if (*column != NO_COLUMN) return HEED_OK;
    if (prompt && answer)
        return error_set(error, HEED_REFUSED, "%s: prompt and answer columns are not built yet; a column \"text\" is",
                         file_shown(t->path));
    return error_set(error, HEED_INVALID, "%s, line %zu: a header with a column \"text\" is needed; this line has: %s",
                     file_shown(t->path), line, names);
}

static heed_status read_record(table *t, dataset_builder *b, int64_t column, int64_t columns, heed_error *error) {
    const size_t line = t->line;
    field text = {0};
    int64_t count = 0;
    for (field f = {0}; !f.last; count++) {
        const heed_status status = field_next(t, &f, error);
        if (status != HEED_OK) return status;
        if (count == column) text = f;
    }
    if (count != columns)
        return error_set(error, HEED_INVALID, "%s, line %zu: %lld fields, but the header has %lld columns", file_shown(t->path),
                         line, (long long)count, (long long)columns);
    return dataset_add(b, text.text, text.n, NAN, error);
}

static heed_status read_table(dataset_builder *b, char *text, size_t n, char separator, heed_error *error) {
    table t = {.text = text, .n = n, .separator = separator, .line = 1, .path = b->path};
    t.at = t.line_start = dataset_mark(text, n);
    skip_empty_lines(&t);
    if (t.at >= n) return HEED_OK;
    int64_t column, columns;
    heed_status status = read_header(&t, &column, &columns, error);
    for (skip_empty_lines(&t); status == HEED_OK && t.at < n; skip_empty_lines(&t))
        status = read_record(&t, b, column, columns, error);
    return status;
}

heed_status dataset_read_csv(dataset_builder *b, char *text, size_t n, heed_error *error) {
    return read_table(b, text, n, ',', error);
}

heed_status dataset_read_tsv(dataset_builder *b, char *text, size_t n, heed_error *error) {
    return read_table(b, text, n, '\t', error);
}
