// SPDX-License-Identifier: Apache-2.0
// The tables of verbs and options: every verb has examples, each example is a command line that its own parser takes, and what
// completion knows of values is about options that exist.
#include "cli/args.h"
#include "cli/status.h"
#include "cli/verbs.h"
#include "cli/words.h"
#include "io/file.h"

#include <stdlib.h>
#include <string.h>

#include "../test.h"

enum { WORDS = 64 };

// Words of a shell's line, in place: blanks separate, quotes keep together. It ends at '#', '|' or '>'.
static int split(char *line, char **word) {
    int n = 0;
    for (char *from = line; n < WORDS;) {
        from += strspn(from, " ");
        if (*from == 0 || strchr("#|>", *from) != NULL) break;
        char *to = from, quote = 0;
        word[n++] = from;
        for (; *from != 0 && (quote != 0 || *from != ' '); from++) {
            if (quote == 0 && (*from == '"' || *from == '\'')) quote = *from;
            else if (*from == quote) quote = 0;
            else *to++ = *from;
        }
        const bool more = *from != 0;
        *to = 0;
        if (!more) break;
        from++;
    }
    return n;
}

static void check_example(const verb *v, const char *text, size_t n) {
    char *line = strndup(text, n), *word[WORDS];
    const int words_found = split(line, word);
    CHECK(words_found >= 2 && strcmp(word[0], "heed") == 0, "%s: an example is no command of heed: %.*s", v->name, (int)n, text);
    if (words_found < 2) return free(line);
    int taken;
    heed_error error = {0};
    const verb *named = verb_find(words_found - 1, word + 1, &taken, &error);
    CHECK(named == v || (v->below != NULL && named != NULL), "%s: an example is of another verb: %.*s", v->name, (int)n, text);
    if (named != NULL) {
        args a;
        const int status = args_parse(&a, named, words_found - 1 - taken, word + 1 + taken, &error);
        CHECK(status == STATUS_DONE, "%s: its example does not parse: %.*s: %s", v->name, (int)n, text, error.text);
        args_free(&a);
    }
    free(line);
}

static void check_verb(const verb *v) {
    CHECK(v->purpose != NULL && *v->purpose != 0 && strchr(v->purpose, '\n') == NULL, "%s: its purpose is one line", v->name);
    CHECK((v->run != NULL) + (v->later != NULL) + (v->below != NULL) == 1, "%s: it runs, is later, or consists of others", v->name);
    CHECK(v->later != NULL || v->examples != NULL, "%s has no example", v->name);
    for (const char *line = v->examples; line != NULL && *line != 0;) {
        const size_t n = strcspn(line, "\n");
        CHECK(line[n] == '\n' && strncmp(line, "  heed ", 7) == 0, "%s: an example begins with two blanks and ends its line: %.*s",
              v->name, (int)n, line);
        check_example(v, line, n);
        line += n + (line[n] == '\n');
    }
    for (int i = 0; i < v->n_options; i++) {
        const option *o = &v->options[i];
        CHECK(strncmp(o->name, "--", 2) == 0 && o->help != NULL && *o->help != 0, "%s %s has no help", v->name, o->name);
        CHECK((o->kind == OPTION_CHOICE) == (o->choices != NULL), "%s %s: choices belong to a choice", v->name, o->name);
        for (int j = 0; j < i; j++) CHECK(strcmp(o->name, v->options[j].name) != 0, "%s has %s twice", v->name, o->name);
        bool left = false;    // a group's options follow one another, since help prints its title when it changes
        for (int j = i - 1; j >= 0; j--) {
            if (strcmp(v->options[j].group, o->group) != 0) left = true;
            else CHECK(!left, "%s %s stands apart from its group \"%s\"", v->name, o->name, o->group);
        }
    }
}

static bool known(const char *name, const verb *const *list) {
    for (; *list != NULL; list++) {
        if (strcmp(name, (*list)->name) == 0) return true;
        for (int i = 0; i < (*list)->n_options; i++)
            if ((*list)->options[i].kind == OPTION_TEXT && strcmp(name, (*list)->options[i].name) == 0) return true;
        if ((*list)->below != NULL && known(name, (*list)->below)) return true;
    }
    return false;
}

static void check_verbs(const verb *const *list) {
    for (; *list != NULL; list++) {
        check_verb(*list);
        if ((*list)->below != NULL) check_verbs((*list)->below);
    }
}

int main(void) {
    check_verbs(verbs);
    for (const words *w = words_table; w->name != NULL; w++)
        CHECK(known(w->name, verbs), "words.c has a row for %s, which is neither a verb nor an option with a text", w->name);
    return test_end();
}
