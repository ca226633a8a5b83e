// SPDX-License-Identifier: Apache-2.0
// heed man: the manual's pages, made from the same tables as parser and help. In the language of man(7).
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/args.h"
#include "cli/completion.h"
#include "cli/status.h"
#include "cli/verbs.h"
#include "io/file.h"
#include "io/folder.h"

typedef struct { const char *write; } man_options;

static const option options[] = {
    {.name = "--write", .kind = OPTION_TEXT, .offset = offsetof(man_options, write), .value = "FOLDER", .group = "",
     .help = "write every page into this folder, as heed.1, heed-train.1, ...; how the build makes what is installed"},
};

// ---- the language ----

// Text in which nothing is a command: no line begins with a dot or a quote, hyphens can be copied, quotes stay what they are.
static void add_escaped(text_string *to, const char *text) {
    for (; *text != 0; text++) {
        const bool first = to->length == 0 || to->text[to->length - 1] == '\n';
        if (first && (*text == '.' || *text == '\'')) text_append(to, "\\&", 2);
        switch (*text) {
        case '\\': text_append(to, "\\e", 2); break;
        case '-': text_append(to, "\\-", 2); break;
        case '\'': text_append(to, "\\(aq", 4); break;
        case '"': text_append(to, "\\(dq", 4); break;
        case '`': text_append(to, "\\(ga", 4); break;
        case '^': text_append(to, "\\(ha", 4); break;
        case '~': text_append(to, "\\(ti", 4); break;
        default: text_append(to, text, 1);
        }
    }
}

static void add_line(text_string *to, const char *text) {
    add_escaped(to, text);
    text_append(to, "\n", 1);
}

static void section(text_string *to, const char *name) { text_format(to, ".SH %s\n", name); }

// ".TP" with its head in bold and, behind it, what a value is called in italics.
static void add_head(text_string *to, const char *head, const char *value) {
    text_format(to, ".TP\n\\fB");
    add_escaped(to, head);
    text_append(to, "\\fR", 3);
    if (value != NULL) {
        text_append(to, " \\fI", 4);
        add_escaped(to, value);
        text_append(to, "\\fR", 3);
    }
    text_append(to, "\n", 1);
}

// ---- parts of a page ----

// "heed-runs-diff" of "runs diff"; "heed" of "".
static completion_name page_name(const char *of) {
    completion_name name;
    text_add(&(text_buffer){name.text, sizeof name.text, 0}, "heed%s%s", *of != 0 ? "-" : "", of);
    for (char *c = name.text; *c != 0; c++)
        if (*c == ' ') *c = '-';
    return name;
}

static void add_title(text_string *to, const char *of, const char *purpose) {
    const completion_name name = page_name(of);
    text_format(to, ".\\\" SPDX-License-Identifier: Apache-2.0\n.\\\" Made by `heed man`.\n.TH \"");
    for (const char *c = name.text; *c != 0; c++) text_format(to, "%c", *c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c);
    text_format(to, "\" 1 \"\" \"heed %s\" \"heed\"\n", heed_version());
    section(to, "NAME");
    add_escaped(to, name.text);
    text_append(to, " \\- ", 4);
    add_line(to, purpose);
}

static void add_option(text_string *to, const option *o) {
    char head[96];
    text_add(&(text_buffer){head, sizeof head, 0}, "%s%s%s", o->letter != NULL ? o->letter : "", o->letter != NULL ? ", " : "",
             o->name);
    add_head(to, head, args_value_name(o));
    text_string words = {0};
    args_option_words(o, &words);
    if (!words.failed) add_line(to, words.text);
    free(words.text);
}

static void add_options(text_string *to, const verb *v) {
    section(to, "OPTIONS");
    const char *group = "";
    for (int i = 0; i < v->n_options; i++) {
        const option *o = &v->options[i];
        if (strcmp(group, o->group) != 0) {
            text_format(to, ".SS ");
            add_line(to, o->group);
        }
        group = o->group;
        add_option(to, o);
    }
    add_head(to, "--help", NULL);
    add_line(to, "The same, shorter, on the terminal.");
}

static void add_examples(text_string *to, const char *examples) {
    if (examples == NULL) return;
    section(to, "EXAMPLES");
    text_format(to, ".nf\n");
    for (const char *line = examples; *line != 0;) {
        const size_t n = strcspn(line, "\n"), blanks = strspn(line, " ");
        char *one = strndup(line + blanks, n > blanks ? n - blanks : 0);
        if (one == NULL) to->failed = true;
        else add_line(to, one);
        free(one);
        line += n + (line[n] == '\n');
    }
    text_format(to, ".fi\n");
}

static void add_statuses(text_string *to) {
    section(to, "EXIT STATUS");
    for (const status_line *s = status_lines; s->brief != NULL; s++) {
        char head[16];
        text_add(&(text_buffer){head, sizeof head, 0}, "%d", s->status);
        add_head(to, head, NULL);
        add_line(to, s->meaning);
    }
}

static void add_verbs(text_string *to, const verb *const *list) {
    for (; *list != NULL; list++) {
        char head[80];
        text_add(&(text_buffer){head, sizeof head, 0}, "heed %s", (*list)->name);
        add_head(to, head, NULL);
        add_line(to, (*list)->purpose);
    }
}

static void add_see(text_string *to, const verb *const *list, const char *of) {
    section(to, "SEE ALSO");
    const char *comma = "";
    if (*of != 0) {
        text_format(to, "\\fBheed\\fR(1)");
        comma = ",\n";
    }
    for (; list != NULL && *list != NULL; list++) {
        if ((*list)->later != NULL || strcmp((*list)->name, of) == 0) continue;
        text_format(to, "%s\\fB", comma);
        add_escaped(to, page_name((*list)->name).text);
        text_format(to, "\\fR(1)");
        comma = ",\n";
    }
    text_append(to, "\n", 1);
}

// ---- pages ----

static void verb_page(text_string *to, const verb *v) {
    add_title(to, v->name, v->purpose);
    section(to, "SYNOPSIS");
    text_append(to, "\\fBheed ", 8);
    add_escaped(to, v->name);
    text_append(to, "\\fR ", 4);
    add_line(to, args_usage(v));
    section(to, "DESCRIPTION");
    add_line(to, v->about != NULL ? v->about : v->purpose);
    if (v->later != NULL) add_line(to, v->later);
    if (v->below != NULL) add_verbs(to, v->below);
    if (v->below == NULL) add_options(to, v);
    add_examples(to, v->examples);
    add_statuses(to);
    add_see(to, v->below, v->name);
}

static void overview_page(text_string *to) {
    add_title(to, "", "attention that is fast, never silently wrong, and explains itself");
    section(to, "SYNOPSIS");
    text_format(to, "\\fBheed\\fR \\fIVERB\\fR [\\fIoptions\\fR]\n.br\n\\fBheed help\\fR \\fIVERB\\fR\n.br\n");
    text_format(to, "\\fBheed \\-\\-version\\fR\n");
    section(to, "DESCRIPTION");
    add_line(to, "Trains and evaluates GPT-2 on a CPU, with a choice of attention that is honoured, recorded and comparable; "
                 "explains who would run an attention problem and why, checks implementations against their definition, and "
                 "times them.");
    section(to, "VERBS");
    add_verbs(to, verbs);
    section(to, "ENVIRONMENT");
    add_head(to, "HEED_CPU", NULL);
    add_line(to, "The instruction set whose kernels run, as `heed list` names them; the best that runs here otherwise.");
    add_head(to, "NO_COLOR", NULL);
    add_line(to, "When set and not empty, nothing is printed in colour. Where the output is no terminal nothing is anyway.");
    add_head(to, "HF_HOME, HF_HUB_CACHE", NULL);
    add_line(to, "Where the Hugging Face cache is, in which models and data sets are looked for. Nothing is ever fetched.");
    add_head(to, "OMP_WAIT_POLICY, GOMP_SPINCOUNT", NULL);
    add_line(to, "How waiting threads wait. Unless one is set, long jobs let them spin briefly.");
    add_statuses(to);
    add_see(to, verbs, "");
}

static void write_page(const char *folder, const char *of, const text_string *text, heed_status *status, heed_error *error) {
    char file[96];
    text_add(&(text_buffer){file, sizeof file, 0}, "%s.1", page_name(of).text);
    char *path = file_join(folder, file);
    if (*status != HEED_OK || path == NULL) return free(path);
    *status = file_put(path, text->text, text->length, error);
    free(path);
}

// A page of each verb and of those below it.
static void write_verbs(const char *folder, const verb *const *list, heed_status *status, heed_error *error) {
    for (; *list != NULL; list++) {
        text_string text = {0};
        verb_page(&text, *list);
        if ((*list)->later == NULL) write_page(folder, (*list)->name, &text, status, error);
        free(text.text);
        if ((*list)->below != NULL) write_verbs(folder, (*list)->below, status, error);
    }
}

static int write_all(const args *a, const char *folder) {
    heed_error error;
    text_string text = {0};
    overview_page(&text);
    heed_status status = folder_make(folder, &error);
    write_page(folder, "", &text, &status, &error);
    free(text.text);
    write_verbs(folder, verbs, &status, &error);
    return status == HEED_OK ? STATUS_DONE : args_fail(a, STATUS_SYSTEM, "%s", error.text);
}

static int man(const args *a) {
    const man_options *o = a->options;
    if (o->write != NULL && a->n_positional > 0)
        return args_fail(a, STATUS_USAGE, "\"%.60s\" has no effect here: --write writes every page", a->positional[0]);
    if (o->write != NULL) return write_all(a, o->write);
    text_string text = {0};
    if (a->n_positional == 0) {
        overview_page(&text);
    } else {
        int taken;
        heed_error error;
        const verb *v = verb_find(a->n_positional, (char *const *)a->positional, &taken, &error);
        if (v == NULL) return args_fail(a, STATUS_USAGE, "%s", error.text);
        if (taken < a->n_positional)
            return args_fail(a, STATUS_USAGE, "\"%.60s\" is no verb below %s", a->positional[taken], v->name);
        verb_page(&text, v);
    }
    if (!text.failed) fputs(text.text, stdout);
    free(text.text);
    return text.failed ? args_fail(a, STATUS_SYSTEM, "out of memory") : STATUS_DONE;
}

const verb verb_man = {
    .name = "man", .purpose = "the manual's page of a verb, for man(1)", .usage = "[VERB] [--write FOLDER]",
    .about = "Without a verb: the page of heed itself. `make install` installs them all, so that `man heed-train` finds them.",
    .examples = "  heed man train | man -l -\n  heed man runs diff > heed-runs-diff.1\n  heed man --write man1\n",
    .options = options, .n_options = sizeof options / sizeof *options, .struct_bytes = sizeof(man_options), .most_positional = 2,
    .positional = "a verb", .run = man,
};
