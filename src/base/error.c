// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

// Names out of a file go into sentences: a control character in one must not reach a terminal.
static void make_printable(char *text) {
    for (; *text != 0; text++)
        if ((unsigned char)*text < ' ' || *text == 127) *text = '?';
}

heed_status error_set(heed_error *error, heed_status status, const char *format, ...) {
    if (error == NULL) return status;
    error->status = status;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    make_printable(error->text);
    return status;
}

heed_status error_within(heed_error *error, heed_status status, const char *format, ...) {
    if (error == NULL) return status;
    char sentence[sizeof error->text];
    memcpy(sentence, error->text, sizeof sentence);
    va_list arguments;
    va_start(arguments, format);
    const int n = vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    if (n >= 0 && (size_t)n + 2 < sizeof error->text)
        snprintf(error->text + n, sizeof error->text - (size_t)n, ": %s", sentence);
    error->status = status;
    make_printable(error->text);
    return status;
}
