// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Appends to a buffer of fixed size as snprintf does: `length` is what it would need, nothing is written past `bytes`.
typedef struct { char *text; size_t bytes, length; } text_buffer;
void text_add(text_buffer *, const char *format, ...) __attribute__((format(printf, 2, 3)));

// A string that grows. `text` is NULL or ends in zero; free(text) when done. Memory that cannot be had sets `failed`.
typedef struct { char *text; size_t length, room; bool failed; } text_string;
void text_append(text_string *, const char *bytes, size_t n);
void text_format(text_string *, const char *format, ...) __attribute__((format(printf, 2, 3)));

// Whole decimal numbers only: no blanks, no rest. False when it is none or does not fit.
bool text_to_int64(const char *text, int64_t *value);
bool text_to_double(const char *text, double *value);    // finite

// The candidate closest to word by edits (Levenshtein), or NULL when none is near enough to suggest.
const char *text_nearest(const char *word, const char *const *candidates, size_t n);
