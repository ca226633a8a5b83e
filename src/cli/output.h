// SPDX-License-Identifier: Apache-2.0
// What verbs print with: colour only where someone looks, one JSON object, problems and numbers in words.
#pragma once

#include "cli/args.h"
#include "io/json.h"

// Is stdout a terminal that can move its cursor? Not with TERM=dumb or without TERM.
bool output_is_terminal(void);

// Escape sequences when stdout is such a terminal and NO_COLOR is not set, else "".
typedef enum { COLOUR_NONE, COLOUR_GOOD, COLOUR_BAD, COLOUR_STRONG } colour;
const char *output_colour(colour);

// Appends text of others so that it cannot command a terminal: control characters but those in `keep`, and what is no UTF-8,
// as \xNN.
void output_add_shown(text_string *, const char *bytes, size_t n, const char *keep);
// To stdout: so where it is a terminal (new lines and tabs stay), and as it is elsewhere.
void output_shown(const char *bytes, size_t n);

// Columns of the terminal that stdout is now; 0: it is none, or does not tell.
int output_columns(void);
// At how many columns a paragraph is wrapped: what one reads easily, on a terminal no more than it has.
int output_width(void);

// Prints words from column `at` on, wrapped at output_width and indented to `indent`.
void output_wrap(const char *text, int at, int indent);
// The same, formatted: a paragraph behind a label such as "1.".
void output_paragraph(const char *label, const char *format, ...) __attribute__((format(printf, 2, 3)));

// Prints the object to stdout, indented, and drops the reference. STATUS_DONE, or STATUS_SYSTEM without memory.
int output_json(const args *, json_t *object);
int output_json_exact(const args *, json_t *object);    // reals with 17 digits, which read back as the same bits
// NaN and infinities become null, which is what JSON has for them.
json_t *output_real(double value);

// "18.3 KB", "4.00 MB".
typedef struct { char text[24]; } output_text;
output_text output_bytes(double bytes);
// "412 ns", "3.4 us", "12.1 ms", "2.31 s".
output_text output_seconds(double seconds);
