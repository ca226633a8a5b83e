// SPDX-License-Identifier: Apache-2.0
// A verb's help text, from the same table that parses its options.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/args.h"
#include "cli/output.h"
#include "cli/words.h"

// Where the words about an option begin; on a narrow terminal below it.
static int help_column(void) { return output_width() >= 72 ? 32 : 8; }

const char *args_value_name(const option *o) {
    static const char *const values[] = {[OPTION_FLAG] = NULL, [OPTION_INT] = "N", [OPTION_REAL] = "X", [OPTION_TEXT] = "TEXT",
                                         [OPTION_CHOICE] = "NAME"};
    if (o->value != NULL || o->kind != OPTION_TEXT) return o->value != NULL ? o->value : values[o->kind];
    const words *w = words_of_option(o);
    if (w->name == NULL || (w->place == WORDS_ONLY && w->word == NULL)) return values[o->kind];
    return w->place == WORDS_FILES ? "FILE" : w->place == WORDS_FOLDERS ? "FOLDER" : "NAME";
}

const char *args_usage(const verb *v) {
    if (v->usage != NULL) return v->usage;
    return v->below != NULL ? "VERB ..." : "[options]";
}

void args_option_words(const option *o, text_string *to) {
    const char *standard = o->standard_words != NULL ? o->standard_words : o->standard;
    text_format(to, "%s", o->help);
    for (int i = 0; o->kind == OPTION_CHOICE && o->choices[i] != NULL; i++)
        text_format(to, "%s%s", i == 0 ? ": " : ", ", o->choices[i]);
    if (standard != NULL) text_format(to, " [%s]", standard);
    if (o->later != NULL) text_format(to, " (not built yet)");
}

static void print_option(const option *o) {
    char left[96];
    const char *value = args_value_name(o);
    text_add(&(text_buffer){left, sizeof left, 0}, "  %s%s%s%s%s", o->letter != NULL ? o->letter : "",
             o->letter != NULL ? ", " : "", o->name, value != NULL ? " " : "", value != NULL ? value : "");
    const int column = help_column();
    if ((int)strlen(left) + 2 > column) printf("%s\n%*s", left, column, "");
    else printf("%-*s", column, left);
    text_string help = {0};
    args_option_words(o, &help);
    output_wrap(help.failed ? "" : help.text, column, column);
    free(help.text);
}

enum { BELOW_COLUMN = 14 };

void args_help(const verb *v) {
    printf("heed %s: %s\n\nusage: heed %s %s\n", v->name, v->purpose, v->name, args_usage(v));
    if (v->later != NULL) printf("\n%s\n", v->later);
    if (v->about != NULL) {
        putchar('\n');
        output_wrap(v->about, 0, 0);
    }
    for (const verb *const *below = v->below; below != NULL && *below != NULL; below++)
        printf("%s  %-*s%s\n", below == v->below ? "\n" : "", BELOW_COLUMN, (*below)->name, (*below)->purpose);
    const char *group = NULL;
    for (int i = 0; i < v->n_options; i++) {
        const option *o = &v->options[i];
        if (group == NULL || strcmp(group, o->group) != 0) printf("\n%s%s", o->group, o->group[0] != 0 ? ":\n" : "");
        group = o->group;
        print_option(o);
    }
    printf("%s  %-*s%s\n", v->n_options == 0 ? "\n" : "", v->below != NULL ? BELOW_COLUMN : help_column() - 2, "--help  ",
           "this text");
    if (v->examples != NULL) printf("\nexamples:\n%s", v->examples);
}
