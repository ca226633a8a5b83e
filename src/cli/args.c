// SPDX-License-Identifier: Apache-2.0
// Words of a command line into a verb's struct, by its table. The help text of the same table is args_help.c.
#include "cli/args.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "cli/status.h"

// "--batch-size" is "--batch_size"; the first n characters of word against the whole of name.
static bool same_name(const char *name, const char *word, size_t n) {
    if (strlen(name) != n) return false;
    for (size_t i = 0; i < n; i++) {
        const char c = i >= 2 && word[i] == '-' ? '_' : word[i];
        if (c != name[i]) return false;
    }
    return true;
}

static int find(const verb *v, const char *word, size_t n) {
    for (int i = 0; i < v->n_options; i++) {
        const char *letter = v->options[i].letter;
        if (same_name(v->options[i].name, word, n)) return i;
        if (letter != NULL && strlen(letter) == n && strncmp(letter, word, n) == 0) return i;
    }
    return -1;
}

static int unknown(const verb *v, const char *word, size_t n, heed_error *error) {
    char name[64];    // as long as text_nearest compares; a longer word is near to nothing
    snprintf(name, sizeof name, "%.*s", (int)n, word);
    const char **names = malloc(((size_t)v->n_options + 1) * sizeof *names);
    if (names == NULL) return error_set(error, HEED_NO_MEMORY, "out of memory"), STATUS_SYSTEM;
    for (int i = 0; i < v->n_options; i++) names[i] = v->options[i].name;
    names[v->n_options] = "--help";
    for (char *c = name; *c != 0; c++)
        if (*c == '-' && c >= name + 2) *c = '_';
    const char *near = n < sizeof name ? text_nearest(name, names, (size_t)v->n_options + 1) : NULL;
    free(names);
    if (near != NULL)
        error_set(error, HEED_INVALID, "unknown option %.*s; the nearest is %s", (int)(n < 64 ? n : 64), word, near);
    else
        error_set(error, HEED_INVALID, "unknown option %.*s; `heed %s --help` lists them", (int)(n < 64 ? n : 64), word,
            v->name);
    return STATUS_USAGE;
}

static bool in_bounds(const option *o, double x) { return (o->least == 0 && o->most == 0) || (x >= o->least && x <= o->most); }

static int bad_value(const option *o, const char *value, const char *kind, heed_error *error) {
    if (o->least == 0 && o->most == 0)
        error_set(error, HEED_INVALID, "%s is \"%.40s\"; it must be %s", o->name, value, kind);
    else
        error_set(error, HEED_INVALID, "%s is \"%.40s\"; it must be %s from %.15g to %.15g", o->name, value, kind, o->least,
                  o->most);
    return STATUS_USAGE;
}

static int set_choice(const option *o, int *field, const char *value, heed_error *error) {
    text_string all = {0};
    size_t n = 0;
    for (; o->choices[n] != NULL; n++) {
        if (strcmp(o->choices[n], value) == 0) { *field = (int)n; free(all.text); return STATUS_DONE; }
        text_format(&all, "%s%s", n > 0 ? ", " : "", o->choices[n]);
    }
    const char *near = text_nearest(value, o->choices, n);
    error_set(error, HEED_INVALID, "%s is \"%.40s\"; it must be one of: %s%s%s", o->name, value,
        all.text == NULL ? "" : all.text, near != NULL ? "; the nearest is " : "", near != NULL ? near : "");
    free(all.text);
    return STATUS_USAGE;
}

static int set(const option *o, void *options, const char *value, heed_error *error) {
    void *field = (char *)options + o->offset;
    int64_t n;
    double x;
    switch (o->kind) {
    case OPTION_FLAG: *(bool *)field = true; return STATUS_DONE;
    case OPTION_INT:
        if (!text_to_int64(value, &n) || !in_bounds(o, (double)n)) return bad_value(o, value, "a whole number", error);
        *(int64_t *)field = n;
        return STATUS_DONE;
    case OPTION_REAL:
        if (!text_to_double(value, &x) || !in_bounds(o, x)) return bad_value(o, value, "a number", error);
        *(double *)field = x;
        return STATUS_DONE;
    case OPTION_TEXT:
        *(const char **)field = value;
        return STATUS_DONE;
    case OPTION_CHOICE: return set_choice(o, field, value, error);
    }
    return STATUS_USAGE;
}

static int set_standards(args *a, heed_error *error) {
    const verb *v = a->verb;
    a->options = calloc(1, v->struct_bytes > 0 ? v->struct_bytes : 1);
    a->given = calloc((size_t)v->n_options + 1, sizeof *a->given);
    if (a->options == NULL || a->given == NULL) {
        error_set(error, HEED_NO_MEMORY, "out of memory");
        return STATUS_SYSTEM;
    }
    for (int i = 0; i < v->n_options; i++) {
        const option *o = &v->options[i];
        if (o->standard == NULL || o->kind == OPTION_FLAG) continue;
        const int status = set(o, a->options, o->standard, error);
        assert(status == STATUS_DONE && "a table's own default must be valid");
        (void)status;
    }
    return STATUS_DONE;
}

// One option at words[*at]; *at moves past its value.
static int take_option(args *a, int n_words, char *const *words, int *at, heed_error *error) {
    const char *word = words[*at], *equals = strchr(word, '=');
    const size_t n = equals != NULL ? (size_t)(equals - word) : strlen(word);
    const int i = find(a->verb, word, n);
    if (i < 0) return unknown(a->verb, word, n, error);
    const option *o = &a->verb->options[i];
    if (a->given[i]) {
        error_set(error, HEED_INVALID, "%s is given twice; give it once", o->name);
        return STATUS_USAGE;
    }
    a->given[i] = true;
    if (o->kind == OPTION_FLAG) {
        if (equals == NULL) return set(o, a->options, NULL, error);
        error_set(error, HEED_INVALID, "%s is a switch and takes no value, but has \"%.40s\"", o->name, equals + 1);
        return STATUS_USAGE;
    }
    const char *value = equals != NULL ? equals + 1 : NULL;
    if (value == NULL && *at + 1 < n_words && strncmp(words[*at + 1], "--", 2) != 0) value = words[++*at];
    if (value == NULL || *value == 0) {
        error_set(error, HEED_INVALID, "%s needs a value", o->name);
        return STATUS_USAGE;
    }
    return set(o, a->options, value, error);
}

static int take_positionals(const args *a, heed_error *error) {
    const verb *v = a->verb;
    if (v->most_positional >= 0 && a->n_positional > v->most_positional) {
        const char *stray = a->positional[v->most_positional];
        if (v->most_positional == 0)
            error_set(error, HEED_INVALID, "\"%.60s\" is no option, and %s takes nothing else", stray, v->name);
        else
            error_set(error, HEED_INVALID, "\"%.60s\" is one too many: %s takes %s%s", stray, v->name, v->positional,
                v->most_positional > 1 ? "s, but not so many" : " (quote a text that has blanks)");
        return STATUS_USAGE;
    }
    if (a->n_positional < v->least_positional) {
        error_set(error, HEED_INVALID, "%s is missing; the form is: heed %s %s", v->positional, v->name, v->usage);
        return STATUS_USAGE;
    }
    return STATUS_DONE;
}

int args_parse(args *a, const verb *v, int n_words, char *const *words, heed_error *error) {
    *a = (args){.verb = v};
    int status = set_standards(a, error);
    if (status != STATUS_DONE) return status;
    a->positional = calloc((size_t)n_words + 1, sizeof *a->positional);
    if (a->positional == NULL) return error_set(error, HEED_NO_MEMORY, "out of memory"), STATUS_SYSTEM;
    bool options_end = false;
    for (int at = 0; at < n_words && status == STATUS_DONE; at++) {
        const char *word = words[at];
        if (!options_end && strcmp(word, "--") == 0) options_end = true;
        else if (!options_end && word[0] == '-' && word[1] != 0) status = take_option(a, n_words, words, &at, error);
        else a->positional[a->n_positional++] = word;
    }
    if (status == STATUS_DONE) status = take_positionals(a, error);
    // Only now: a line that has no meaning is a usage error, whatever is not built yet.
    for (int i = 0; i < v->n_options && status == STATUS_DONE; i++) {
        if (!a->given[i] || v->options[i].later == NULL) continue;
        error_set(error, HEED_REFUSED, "%s: %s", v->options[i].name, v->options[i].later);
        status = STATUS_REFUSED;
    }
    return status;
}

void args_free(args *a) {
    free(a->options);
    free(a->given);
    free(a->positional);
    *a = (args){0};
}

bool args_given(const args *a, const char *name) {
    const int i = find(a->verb, name, strlen(name));
    assert(i >= 0);
    return a->given[i];
}

bool args_has(const void *words, const char *name) {
    const args *a = words;
    const int i = find(a->verb, name, strlen(name));
    return i >= 0 && a->given[i];
}

int args_fail(const args *a, int status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fflush(stdout);
    fprintf(stderr, "heed %s: ", a->verb->name);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    return status;
}

int args_fail_error(const args *a, const heed_error *error) {
    static const int by_status[] = {
        [HEED_INVALID] = STATUS_USAGE, [HEED_REFUSED] = STATUS_REFUSED, [HEED_DEVICE] = STATUS_REFUSED,
        [HEED_NO_MEMORY] = STATUS_SYSTEM,
    };
    return args_fail(a, by_status[error->status], "%s", error->text);
}

int args_fail_here(const args *a, heed_status status, int otherwise, const heed_error *error) {
    return args_fail(a, status == HEED_REFUSED ? STATUS_REFUSED : otherwise, "%s", error->text);
}

bool args_without_effect(const args *a, const char *name, const char *why) {
    if (!args_given(a, name)) return false;
    args_fail(a, STATUS_USAGE, "%s has no effect here: %s", name, why);
    return true;
}
