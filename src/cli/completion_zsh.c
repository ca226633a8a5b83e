// SPDX-License-Identifier: Apache-2.0
// For zsh: a function for each verb, whose options are specifications of _arguments.
#include <stdio.h>
#include <string.h>

#include "cli/completion.h"
#include "cli/verbs.h"
#include "cli/words.h"

// Inside '...[...]...:...' of a specification: quotes, brackets, colons and backslashes are escaped.
static void print_escaped(const char *text) {
    for (; *text != 0; text++) {
        if (*text == '\'') printf("'\\''");
        else if (*text == '[' || *text == ']' || *text == ':' || *text == '\\') printf("\\%c", *text);
        else putchar(*text == '\n' ? ' ' : *text);
    }
}

static void print_place(words_place place) {
    if (place == WORDS_FILES) printf("_files");
    if (place == WORDS_FOLDERS) printf("_files -/");
}

// :name:(words), or the action that offers words and files.
static void print_action(const char *first, const option *o, const words *w) {
    const char *word = first;
    if (word == NULL) {
        print_place(w->place);
        return;
    }
    if (w->place != WORDS_ONLY) printf("_alternative \"words\\:word\\:(");
    else putchar('(');
    for (int i = 0; word != NULL; word = o != NULL ? words_at(o, ++i) : w->word(++i)) printf("%s%s", i > 0 ? " " : "", word);
    putchar(')');
    if (w->place == WORDS_ONLY) return;
    printf("\" \"files\\:file\\:");
    print_place(w->place);
    putchar('"');
}

static void print_option(const char *name, const option *o) {
    printf(" \\\n        '%s%s[", name, o->kind != OPTION_FLAG && name[1] == '-' ? "=" : "");
    print_escaped(o->help);
    putchar(']');
    if (o->kind != OPTION_FLAG) {
        printf(":value:");
        print_action(words_at(o, 0), o, words_of_option(o));
    }
    putchar('\'');
}

static void print_below(const verb *v) {
    printf("_heed_%s() {\n    local -a verbs\n    verbs=(\n", completion_identifier(v->name).text);
    for (const verb *const *below = v->below; *below != NULL; below++) {
        printf("        '%s:", strrchr((*below)->name, ' ') + 1);
        print_escaped((*below)->purpose);
        printf("'\n");
    }
    printf("    )\n"
           "    if (( CURRENT == 2 )); then _describe verb verbs; return; fi\n"
           "    local next=_heed_%s_${words[2]}\n"
           "    shift words; (( CURRENT-- ))\n"
           "    (( $+functions[$next] )) && $next\n}\n\n", completion_identifier(v->name).text);
}

static void print_verb(const verb *v) {
    if (v->below != NULL) {
        print_below(v);
        return;
    }
    printf("_heed_%s() {\n    _arguments", completion_identifier(v->name).text);
    for (int i = 0; i < v->n_options; i++) {
        const option *o = &v->options[i];
        if (!completion_offers(o)) continue;
        print_option(o->name, o);
        if (o->letter != NULL) print_option(o->letter, o);
    }
    printf(" \\\n        '--help[options and examples]'");
    if (v->most_positional != 0) {
        const words *w = words_of_verb(v);
        printf(" \\\n        '*:");
        print_escaped(v->positional);
        putchar(':');
        print_action(w->word != NULL ? w->word(0) : NULL, NULL, w);
        putchar('\'');
    }
    printf("\n}\n\n");
}

void completion_zsh(void) {
    printf("#compdef heed\n# zsh completion for heed %s, made by `heed completion zsh`\n\n", heed_version());
    completion_each(print_verb);
    printf("_heed() {\n    local -a verbs\n    verbs=(\n        'help:how a verb is used'\n");
    for (int i = 0; verbs[i] != NULL; i++) {
        if (verbs[i]->later != NULL) continue;
        printf("        '%s:", verbs[i]->name);
        print_escaped(verbs[i]->purpose);
        printf("'\n");
    }
    printf("    )\n"
           "    if (( CURRENT == 2 )); then\n"
           "        _describe verb verbs\n"
           "        [[ $PREFIX == -* ]] && _arguments '--help[verbs]' '--version[this build]'\n"
           "        return\n"
           "    fi\n"
           "    if [[ $words[2] == help ]]; then\n"
           "        (( CURRENT == 3 )) && _describe verb verbs\n"
           "        return\n"
           "    fi\n"
           "    local next=_heed_${words[2]}\n"
           "    shift words; (( CURRENT-- ))\n"
           "    (( $+functions[$next] )) && $next\n"
           "}\n\n"
           "if [ \"$funcstack[1]\" = _heed ]; then _heed \"$@\"; else compdef _heed heed; fi\n");
}
