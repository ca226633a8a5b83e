// SPDX-License-Identifier: Apache-2.0
// One sentence per failure: the field, its value, what is allowed.
#pragma once

#include "heed/heed.h"

// Fills *error (NULL is fine) and returns status, so that a failing function ends with `return error_set(...)`.
heed_status error_set(heed_error *error, heed_status status, const char *format, ...) __attribute__((format(printf, 3, 4)));

// Puts "context: " before the sentence that is there already, and returns its status.
heed_status error_within(heed_error *error, heed_status status, const char *format, ...) __attribute__((format(printf, 3, 4)));

// The form of every check at the boundary; expects `heed_error *error` in scope.
#define INVALID_UNLESS(condition, ...) do { if (!(condition)) return error_set(error, HEED_INVALID, __VA_ARGS__); } while (0)
