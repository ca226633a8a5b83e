// SPDX-License-Identifier: Apache-2.0
// GPT-2's cut of a text into the pieces inside which merges happen: contractions, words, numbers, other characters, space.
#pragma once

#include "base/error.h"

typedef struct tokenizer_split tokenizer_split;
heed_status tokenizer_split_create(tokenizer_split **, heed_error *);
void tokenizer_split_free(tokenizer_split *);    // NULL is fine

// The length of the piece of text[0..n) that begins at `at` < n. The text is valid UTF-8, `at` a character's start.
heed_status tokenizer_split_next(tokenizer_split *, const char *text, size_t n, size_t at, size_t *length, heed_error *);
