// SPDX-License-Identifier: Apache-2.0
// For fish: a `complete` line for each verb, option and list of words. __heed_at tells which verb the line is about.
#include <stdio.h>
#include <string.h>

#include "cli/completion.h"
#include "cli/verbs.h"
#include "cli/words.h"

static void print_quoted(const char *text) {
    putchar('\'');
    for (; *text != 0; text++) {
        if (*text == '\'' || *text == '\\') putchar('\\');
        putchar(*text == '\n' ? ' ' : *text);
    }
    putchar('\'');
}

static void print_place(words_place place) {
    if (place == WORDS_FILES) printf(" -F");
    if (place == WORDS_FOLDERS) printf(" -a '(__fish_complete_directories)'");
}

static void print_words(const option *o, const words *w) {
    const char *word = o != NULL ? words_at(o, 0) : w->word != NULL ? w->word(0) : NULL;
    if (word == NULL) return;
    printf(" -a '");
    for (int i = 0; word != NULL; word = o != NULL ? words_at(o, ++i) : w->word(++i)) printf("%s%s", i > 0 ? " " : "", word);
    putchar('\'');
}

static void print_option(const verb *v, const option *o) {
    printf("complete -c heed -n '__heed_at %s' -l %s", v->name, o->name + 2);
    if (o->letter != NULL) printf(" -s %s", o->letter + 1);
    if (o->kind != OPTION_FLAG) {
        printf(words_of_option(o)->place == WORDS_FILES ? " -r" : " -x");    // x: and no file
        print_words(o, words_of_option(o));
        print_place(words_of_option(o)->place);
    }
    printf(" -d ");
    print_quoted(o->help);
    putchar('\n');
}

static void print_verb(const verb *v) {
    for (int i = 0; i < v->n_options; i++)
        if (completion_offers(&v->options[i])) print_option(v, &v->options[i]);
    printf("complete -c heed -n '__heed_at %s' -l help -d 'options and examples'\n", v->name);
    for (const verb *const *below = v->below; below != NULL && *below != NULL; below++) {
        printf("complete -c heed -n '__heed_only %s' -a %s -d ", v->name, strrchr((*below)->name, ' ') + 1);
        print_quoted((*below)->purpose);
        putchar('\n');
    }
    const words *w = words_of_verb(v);
    if (v->most_positional == 0 || (w->word == NULL && w->place == WORDS_ONLY)) return;
    printf("complete -c heed -n '__heed_at %s'", v->name);
    print_words(NULL, w);
    print_place(w->place);
    putchar('\n');
}

void completion_fish(void) {
    printf("# fish completion for heed %s, made by `heed completion fish`\n"
           "# Do the words after heed begin with these verbs?\n"
           "function __heed_at\n"
           "    set -l words (commandline -opc)\n"
           "    set -l last (math (count $argv) + 1)\n"
           "    test (count $words) -ge $last; and test \"$words[2..$last]\" = \"$argv\"\n"
           "end\n"
           "# Are they these verbs and nothing else?\n"
           "function __heed_only\n"
           "    set -l words (commandline -opc)\n"
           "    test (count $words) -eq (math (count $argv) + 1); and test \"$words[2..-1]\" = \"$argv\"\n"
           "end\n"
           "function __heed_first\n"
           "    set -l words (commandline -opc)\n"
           "    test (count $words) -eq 1; or test \"$words[2..-1]\" = help\n"
           "end\n"
           "complete -c heed -f\n"
           "complete -c heed -n __heed_first -a help -d 'how a verb is used'\n"
           "complete -c heed -n __heed_first -l help -d 'verbs'\n"
           "complete -c heed -n __heed_first -l version -d 'this build'\n", heed_version());
    for (int i = 0; verbs[i] != NULL; i++) {
        if (verbs[i]->later != NULL) continue;
        printf("complete -c heed -n __heed_first -a %s -d ", verbs[i]->name);
        print_quoted(verbs[i]->purpose);
        putchar('\n');
    }
    completion_each(print_verb);
}
