// SPDX-License-Identifier: Apache-2.0
// GPT-2's cut of a text into the pieces inside which merges happen: contractions, words, numbers, other characters, space.
#pragma once

#include "base/error.h"

typedef struct pre_split pre_split;
heed_status pre_split_create(pre_split **, heed_error *);
void pre_split_free(pre_split *);    // NULL is fine

// The length of the piece of text[0..n) that begins at `at` < n. The text is valid UTF-8, `at` a character's start.
heed_status pre_split_next(pre_split *, const char *text, size_t n, size_t at, size_t *length, heed_error *);
