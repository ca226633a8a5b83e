// SPDX-License-Identifier: Apache-2.0
// heed completion: a script that completes verbs, options and values in a shell.
#include "cli/completion.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "cli/status.h"
#include "cli/verbs.h"

static const struct { const char *name; void (*print)(void); } shells[] = {
    {"bash", completion_bash}, {"zsh", completion_zsh}, {"fish", completion_fish},
};
enum { SHELLS = sizeof shells / sizeof *shells };

const char *completion_shell(int i) { return i < SHELLS ? shells[i].name : NULL; }

static void each(const verb *const *list, void (*body)(const verb *)) {
    for (; *list != NULL; list++) {
        if ((*list)->later != NULL) continue;
        body(*list);
        if ((*list)->below != NULL) each((*list)->below, body);
    }
}

void completion_each(void (*body)(const verb *)) { each(verbs, body); }

bool completion_offers(const option *o) { return o->later == NULL; }

completion_name completion_identifier(const char *words) {
    completion_name name;
    text_add(&(text_buffer){name.text, sizeof name.text, 0}, "%s", words);
    for (char *c = name.text; *c != 0; c++)
        if (*c == ' ' || *c == '-') *c = '_';
    return name;
}

static int completion(const args *a) {
    const char *wanted = a->positional[0], *names[SHELLS];
    for (int i = 0; i < SHELLS; i++) {
        names[i] = shells[i].name;
        if (strcmp(wanted, names[i]) != 0) continue;
        shells[i].print();
        return STATUS_DONE;
    }
    const char *near = text_nearest(wanted, names, SHELLS);
    return args_fail(a, STATUS_USAGE, "the shell is \"%.40s\"; it must be one of: bash, zsh, fish%s%s", wanted,
                     near != NULL ? "; the nearest is " : "", near != NULL ? near : "");
}

const verb verb_completion = {
    .name = "completion", .purpose = "a script that completes heed's command lines in a shell", .usage = "bash|zsh|fish",
    .about = "Completes verbs, options, their values and file names. `make install` puts the scripts where the shells look for "
             "them; without it, the examples say what to do once.",
    .examples = "  heed completion bash > ~/.local/share/bash-completion/completions/heed\n"
                "  heed completion zsh > ~/.zfunc/_heed    # with fpath+=(~/.zfunc) before compinit in ~/.zshrc\n"
                "  heed completion fish > ~/.config/fish/completions/heed.fish\n",
    .least_positional = 1, .most_positional = 1, .positional = "a shell (bash, zsh or fish)", .run = completion,
};
