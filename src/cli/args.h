// SPDX-License-Identifier: Apache-2.0
// One table per verb is the parser and the help text. '-' and '_' are the same in names; --name value, --name=value.
#pragma once

#include "base/text.h"
#include "heed/heed.h"

typedef enum {
    OPTION_FLAG,      // bool; takes no value
    OPTION_INT,       // int64_t
    OPTION_REAL,      // double, finite
    OPTION_TEXT,      // const char *, into argv; NULL when not given and without a default
    OPTION_CHOICE     // int, an index into choices
} option_kind;

typedef struct {
    const char *name;                // "--batch_size"
    const char *letter;              // "-o", the same in short; NULL: none
    option_kind kind;
    size_t offset;                   // offsetof the field in the verb's struct of options
    const char *standard;            // the default, as one would write it; NULL: false, 0, NULL
    const char *standard_words;      // what the help shows as default, where that is no value ("the model's own")
    const char *const *choices;      // OPTION_CHOICE: ends with NULL
    double least, most;              // bounds of a number, inclusive; both 0: none
    const char *value;               // what the help calls the value; NULL: N, X or TEXT
    const char *group, *help;        // options of one group follow one another; "" is the first, untitled one
    const char *later;               // not NULL: known but not built; using it is this sentence, and STATUS_REFUSED
} option;

typedef struct verb verb;

// A parsed command line.
typedef struct {
    const verb *verb;
    void *options;                   // the verb's struct
    bool *given;                     // by index of the option
    const char **positional;         // everything that is no option, in order
    int n_positional;
} args;

struct verb {
    const char *name, *purpose;      // "check", "run a problem against ref": one line
    const verb *const *below;        // the verbs it consists of, named "runs diff", ending in NULL; then nothing else is its own
    const char *usage;               // after "heed NAME "; NULL: "[options]"
    const char *about;               // a paragraph of the help; NULL: none
    const char *examples;            // lines, each a command; NULL: none
    const option *options;
    int n_options;
    size_t struct_bytes;
    int least_positional, most_positional;    // most -1: any number
    const char *positional;          // what one is, for sentences: "a problem text"
    int (*run)(const args *);        // returns the exit status; prints its own errors by args_fail
    const char *later;               // the whole verb is known but not built: the sentence
    bool long_job;                   // runs for minutes beside other work: main.c lets its idle threads spin briefly
};

// Fills *args (free with args_free, also after a failure). Returns STATUS_DONE, STATUS_USAGE or STATUS_REFUSED (an option for
// later), the last two with the sentence in *error.
int args_parse(args *, const verb *, int n_words, char *const *words, heed_error *error);
void args_free(args *);

// Was the option written (rather than left at its default)? The name must be one of the table's.
bool args_given(const args *, const char *name);
bool args_has(const void *args, const char *name);    // the same for options that only some verbs have, false else

// Prints "heed VERB: sentence" to stderr and returns status, so that a verb ends with `return args_fail(...)`.
int args_fail(const args *, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));
// The same with the library's sentence: INVALID is STATUS_USAGE, REFUSED and DEVICE are STATUS_REFUSED, else STATUS_SYSTEM.
int args_fail_error(const args *, const heed_error *);
// The same where the place of the failure says what it is: a refusal is STATUS_REFUSED, anything else `otherwise`.
int args_fail_here(const args *, heed_status, int otherwise, const heed_error *);

// For an option that means nothing in this combination: when it was given, prints "--name has no effect here: why" and returns
// true; the verb then returns STATUS_USAGE.
bool args_without_effect(const args *, const char *name, const char *why);

// The help text of a verb, as text_format builds it, to stdout.
void args_help(const verb *);

// What help and manual say of an option: what its value is called (NULL: it takes none); and what it does, its choices and default.
const char *args_value_name(const option *);
void args_option_words(const option *, text_string *);
const char *args_usage(const verb *);    // what follows "heed NAME "
