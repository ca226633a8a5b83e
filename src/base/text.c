// SPDX-License-Identifier: Apache-2.0
#include "base/text.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void text_add(text_buffer *b, const char *format, ...) {
    const size_t at = b->length < b->bytes ? b->length : b->bytes;
    va_list arguments;
    va_start(arguments, format);
    const int n = vsnprintf(b->text == NULL ? NULL : b->text + at, b->bytes - at, format, arguments);
    va_end(arguments);
    if (n > 0) b->length += (size_t)n;
}

static bool make_room(text_string *s, size_t extra) {
    if (s->failed || extra > SIZE_MAX / 2 - s->length - 1) return !(s->failed = true);
    const size_t needed = s->length + extra + 1;
    if (needed <= s->room) return true;
    const size_t room = needed > 2 * s->room ? needed : 2 * s->room;
    char *text = realloc(s->text, room);
    if (text == NULL) return !(s->failed = true);
    s->text = text;
    s->room = room;
    return true;
}

void text_append(text_string *s, const char *bytes, size_t n) {
    if (!make_room(s, n)) return;
    memcpy(s->text + s->length, bytes, n);
    s->text[s->length += n] = 0;
}

void text_format(text_string *s, const char *format, ...) {
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    const int n = vsnprintf(NULL, 0, format, arguments);
    if (n >= 0 && make_room(s, (size_t)n)) {
        vsnprintf(s->text + s->length, (size_t)n + 1, format, again);
        s->length += (size_t)n;
    }
    va_end(again);
    va_end(arguments);
}

bool text_to_int64(const char *text, int64_t *value) {
    const char *digits = text + (*text == '-');
    if (*digits < '0' || *digits > '9') return false;
    char *end;
    errno = 0;
    const long long x = strtoll(text, &end, 10);
    if (errno != 0 || *end != 0) return false;
    *value = x;
    return true;
}

bool text_to_double(const char *text, double *value) {
    if (*text == 0 || strchr("+-.0123456789", *text) == NULL || strpbrk(text, "xX") != NULL) return false;
    char *end;
    const double x = strtod(text, &end);
    if (end == text || *end != 0 || !isfinite(x)) return false;
    *value = x;
    return true;
}

enum { WORD_MAX = 64 };

static size_t edits_between(const char *a, const char *b) {
    size_t row[WORD_MAX + 1];
    const size_t n = strlen(b);
    for (size_t j = 0; j <= n; j++) row[j] = j;
    for (size_t i = 0; a[i] != 0; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < n; j++) {
            const size_t replaced = diagonal + (a[i] != b[j]);
            diagonal = row[j + 1];
            const size_t shorter = row[j] < diagonal ? row[j] : diagonal;
            row[j + 1] = replaced <= shorter ? replaced : shorter + 1;
        }
    }
    return row[n];
}

const char *text_nearest(const char *word, const char *const *candidates, size_t n) {
    const size_t length = strlen(word);
    if (length > WORD_MAX) return NULL;
    const char *best = NULL;
    size_t fewest = 1 + (length + 1) / 3;    // further off than a third of its letters is another word
    for (size_t i = 0; i < n; i++) {
        if (strlen(candidates[i]) > WORD_MAX) continue;
        const size_t edits = edits_between(word, candidates[i]);
        if (edits < fewest) best = candidates[i], fewest = edits;
    }
    return best;
}
