// SPDX-License-Identifier: Apache-2.0
#include "cli/output.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/utf8.h"
#include "cli/status.h"

bool output_is_terminal(void) {
    const char *kind = getenv("TERM");
    return isatty(STDOUT_FILENO) && kind != NULL && *kind != 0 && strcmp(kind, "dumb") != 0;
}

const char *output_colour(colour wanted) {
    static const char *const codes[] = {
        [COLOUR_NONE] = "\033[0m", [COLOUR_GOOD] = "\033[32m", [COLOUR_BAD] = "\033[31m", [COLOUR_STRONG] = "\033[1m",
    };
    const char *off = getenv("NO_COLOR");
    return output_is_terminal() && (off == NULL || *off == 0) ? codes[wanted] : "";
}

void output_add_shown(text_string *to, const char *bytes, size_t n, const char *keep) {
    const unsigned char *p = (const unsigned char *)bytes;
    for (size_t length; n > 0; p += length, n -= length) {
        length = utf8_length(p, n);
        const bool control = length == 0 || (length == 1 && (*p < ' ' || *p == 127) && (*p == 0 || strchr(keep, *p) == NULL)) ||
            (length == 2 && *p == 0xc2 && p[1] < 0xa0);    // U+0080 to U+009F: some terminals obey them
        if (length == 0) length = 1;
        if (!control) text_append(to, (const char *)p, length);
        else for (size_t i = 0; i < length; i++) text_format(to, "\\x%02x", p[i]);
    }
}

void output_shown(const char *bytes, size_t n) {
    text_string shown = {0};
    if (isatty(STDOUT_FILENO)) output_add_shown(&shown, bytes, n, "\n\t");
    else text_append(&shown, bytes, n);
    if (shown.text != NULL && !shown.failed) fwrite(shown.text, 1, shown.length, stdout);
    free(shown.text);
}

int output_columns(void) {
    struct winsize size;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

enum { WIDTH_LEAST = 30, WIDTH_MOST = 100 };    // below the first a wrapped paragraph is worse than lines that the terminal breaks

int output_width(void) {
    const int columns = output_columns();
    return columns <= 0 || columns > WIDTH_MOST ? WIDTH_MOST : columns < WIDTH_LEAST ? WIDTH_LEAST : columns;
}

void output_wrap(const char *text, int at, int indent) {
    const int width = output_width();
    for (const char *word = text; *word != 0;) {
        const size_t n = strcspn(word, " \n");
        if (at > indent && at + 1 + (int)n > width) {
            printf("\n%*s", indent, "");
            at = indent;
        } else if (at > indent) {
            putchar(' ');
            at++;
        }
        fwrite(word, 1, n, stdout);
        at += (int)n;
        word += n + strspn(word + n, " \n");
    }
    putchar('\n');
}

void output_paragraph(const char *label, const char *format, ...) {
    char text[2048];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    const int indent = (int)strlen(label) + 1;
    printf("%s ", label);
    output_wrap(text, indent, indent);
}

static int print_json(const args *a, json_t *object, size_t digits) {
    const bool written = object != NULL && json_dumpf(object, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(digits)) == 0;
    json_decref(object);
    if (!written && !ferror(stdout)) return args_fail(a, STATUS_SYSTEM, "out of memory");
    putchar('\n');
    return STATUS_DONE;
}

int output_json(const args *a, json_t *object) { return print_json(a, object, 9); }    // tells any two floats apart

int output_json_exact(const args *a, json_t *object) { return print_json(a, object, 17); }

json_t *output_real(double value) { return isfinite(value) ? json_real(value) : json_null(); }

output_text output_bytes(double bytes) {
    output_text t;
    if (bytes < 1e3) snprintf(t.text, sizeof t.text, "%.0f B", bytes);
    else if (bytes < 1e6) snprintf(t.text, sizeof t.text, "%.1f KB", bytes / 1e3);
    else if (bytes < 1e9) snprintf(t.text, sizeof t.text, "%.1f MB", bytes / 1e6);
    else snprintf(t.text, sizeof t.text, "%.2f GB", bytes / 1e9);
    return t;
}

output_text output_seconds(double seconds) {
    output_text t;
    if (seconds < 1e-6) snprintf(t.text, sizeof t.text, "%.0f ns", seconds * 1e9);
    else if (seconds < 1e-3) snprintf(t.text, sizeof t.text, "%.2f us", seconds * 1e6);
    else if (seconds < 1) snprintf(t.text, sizeof t.text, "%.3f ms", seconds * 1e3);
    else snprintf(t.text, sizeof t.text, "%.2f s", seconds);
    return t;
}
