// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"

#include "base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

// Names out of a file go into sentences: a control character in one (of ASCII, or U+0080 to U+009F) must not reach a terminal, and
// half of a character, where a name was cut, no reader that expects UTF-8.
static void make_printable(char *text) {
    for (size_t n = strlen(text), length = 1; n > 0; text += length, n -= length) {
        const unsigned char *at = (const unsigned char *)text;
        length = utf8_length(at, n);
        const bool control = *at < ' ' || *at == 127 || (length == 2 && at[0] == 0xc2 && at[1] < 0xa0);
        if (length == 0) length = 1;
        else if (!control) continue;
        memset(text, '?', length);
    }
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
