// SPDX-License-Identifier: Apache-2.0
#include "cli/verbs.h"

#include <string.h>

#include "base/error.h"
#include "base/text.h"

const verb *const verbs[] = {
    &verb_train, &verb_eval, &verb_generate, &verb_explain, &verb_check, &verb_bench, &verb_doctor, &verb_list, &verb_runs,
    &verb_compare, &verb_completion, &verb_man, NULL,
};

// A verb below another is called by its last word.
static const char *last_word(const verb *v) {
    const char *blank = strrchr(v->name, ' ');
    return blank != NULL ? blank + 1 : v->name;
}

static const verb *find(const verb *const *list, const char *name) {
    for (; *list != NULL; list++)
        if (strcmp(last_word(*list), name) == 0) return *list;
    return NULL;
}

enum { VERBS_MOST = 32 };

static const verb *unknown(const verb *const *list, const char *name, const char *above, heed_error *error) {
    const char *names[VERBS_MOST] = {NULL};
    size_t n = 0;
    for (; list[n] != NULL && n < VERBS_MOST; n++) names[n] = last_word(list[n]);
    const char *near = text_nearest(name, names, n), *blank = *above != 0 ? " " : "";
    if (near != NULL)
        error_set(error, HEED_INVALID, "unknown verb \"%s%s%.60s\"; the nearest is %s%s%s", above, blank, name, above, blank, near);
    else
        error_set(error, HEED_INVALID, "unknown verb \"%s%s%.60s\"; `heed%s%s --help` lists them", above, blank, name, blank,
                  above);
    return NULL;
}

const verb *verb_find(int n_words, char *const *words, int *taken, heed_error *error) {
    const verb *v = NULL;
    *taken = 0;
    for (const verb *const *list = verbs; list != NULL; list = v->below) {
        const char *word = *taken < n_words ? words[*taken] : "";
        if (v != NULL && (*word == 0 || *word == '-')) break;    // `heed runs --help`
        if (*word == 0) return error_set(error, HEED_INVALID, "a verb is missing; `heed --help` lists them"), NULL;
        const verb *next = find(list, word);
        if (next == NULL) return unknown(list, word, v != NULL ? v->name : "", error);
        v = next;
        ++*taken;
    }
    return v;
}
