// SPDX-License-Identifier: Apache-2.0
// A verb's help text, from the same table that parses its options.
#include <stdio.h>
#include <string.h>

#include "cli/args.h"
#include "cli/output.h"

enum { HELP_COLUMN = 32 };

static void print_option(const option *o) {
    static const char *const values[] = {[OPTION_INT] = "N", [OPTION_REAL] = "X", [OPTION_TEXT] = "TEXT", [OPTION_CHOICE] = "NAME"};
    char left[96], help[1024];
    const char *letter = o->letter != NULL ? o->letter : "", *comma = o->letter != NULL ? ", " : "";
    if (o->kind == OPTION_FLAG) snprintf(left, sizeof left, "  %s%s%s", letter, comma, o->name);
    else snprintf(left, sizeof left, "  %s%s%s %s", letter, comma, o->name, o->value != NULL ? o->value : values[o->kind]);
    const char *standard = o->standard_words != NULL ? o->standard_words : o->standard;
    int n = snprintf(help, sizeof help, "%s", o->help);
    if (o->kind == OPTION_CHOICE)
        for (int i = 0; o->choices[i] != NULL && n < (int)sizeof help; i++)
            n += snprintf(help + n, sizeof help - (size_t)n, "%s%s", i == 0 ? ": " : ", ", o->choices[i]);
    if (standard != NULL && n < (int)sizeof help) n += snprintf(help + n, sizeof help - (size_t)n, " [%s]", standard);
    if (o->later != NULL && n < (int)sizeof help) snprintf(help + n, sizeof help - (size_t)n, " (not built yet)");
    const int width = (int)strlen(left);
    if (width + 2 > HELP_COLUMN) printf("%s\n%*s", left, HELP_COLUMN, "");
    else printf("%-*s", HELP_COLUMN, left);
    output_wrap(help, HELP_COLUMN, HELP_COLUMN);
}

void args_help(const verb *v) {
    const char *standard = v->below != NULL ? "VERB ..." : "[options]";
    printf("heed %s: %s\n\nusage: heed %s %s\n", v->name, v->purpose, v->name, v->usage != NULL ? v->usage : standard);
    if (v->later != NULL) printf("\n%s\n", v->later);
    if (v->about != NULL) {
        putchar('\n');
        output_wrap(v->about, 0, 0);
    }
    for (const verb *const *below = v->below; below != NULL && *below != NULL; below++)
        printf("%s  %-*s%s\n", below == v->below ? "\n" : "", HELP_COLUMN - 2, (*below)->name, (*below)->purpose);
    const char *group = NULL;
    for (int i = 0; i < v->n_options; i++) {
        const option *o = &v->options[i];
        if (group == NULL || strcmp(group, o->group) != 0) printf("\n%s%s", o->group, o->group[0] != 0 ? ":\n" : "");
        group = o->group;
        print_option(o);
    }
    printf("%s  %-*s%s\n", v->n_options == 0 ? "\n" : "", HELP_COLUMN - 2, "--help", "this text");
    if (v->examples != NULL) printf("\nexamples:\n%s", v->examples);
}
