// SPDX-License-Identifier: Apache-2.0
// What a value can be, for the completion of a shell: it suggests, the parser decides.
#pragma once

#include "cli/args.h"

typedef enum { WORDS_ONLY, WORDS_FILES, WORDS_FOLDERS } words_place;    // besides the words: also names of files, of folders
typedef struct {
    const char *name;                  // an option's, or a verb's: then of what is no option
    words_place place;
    const char *(*word)(int i);        // NULL past the last; no pointer: no words
} words;

// Of an option that takes a value; of what follows a verb. Never NULL.
const words *words_of_option(const option *);
const words *words_of_verb(const verb *);

// The i-th word: of the choices where the option has them. NULL past the last.
const char *words_at(const option *, int i);

extern const words words_table[];      // ends with a row without a name
