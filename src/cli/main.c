// SPDX-License-Identifier: Apache-2.0
// heed VERB: find the verb, parse its options by its table, run it. Every verb is a file of its own.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/output.h"
#include "cli/status.h"
#include "cli/verbs.h"
#include "cli/version.h"

static int overview(void) {
    printf("heed %s: attention that is fast, never silently wrong, and explains itself\n\n"
           "usage: heed VERB [options]\n\n", heed_version());
    for (int i = 0; verbs[i] != NULL; i++) printf("  %-12s%s\n", verbs[i]->name, verbs[i]->purpose);
    putchar('\n');
    output_wrap("`heed VERB --help` has the options and examples; `heed --version` the build.", 0, 0);
    text_string all = {0};
    for (const status_line *s = status_lines; s->brief != NULL; s++)
        text_format(&all, "%s%d %s", s == status_lines ? "Exit status: " : ", ", s->status, s->brief);
    text_format(&all, ".");
    if (!all.failed) output_wrap(all.text, 0, 0);
    free(all.text);
    return STATUS_DONE;
}

static bool asks_help(int n_words, char **words) {
    for (int i = 0; i < n_words && strcmp(words[i], "--") != 0; i++)
        if (strcmp(words[i], "--help") == 0 || strcmp(words[i], "-h") == 0) return true;
    return false;
}

static int unknown_option(const char *name) {
    const char *near = text_nearest(name, (const char *const[]){"--help", "--version"}, 2);
    fprintf(stderr, "heed: unknown option %.60s; %s%s\n", name, near != NULL ? "the nearest is " : "`heed --help` lists them",
            near != NULL ? near : "");
    return STATUS_USAGE;
}

static int run_verb(const verb *v, int n_words, char **words) {
    args a = {.verb = v};
    if (v->later != NULL) return args_fail(&a, STATUS_REFUSED, "%s", v->later);
    heed_error error;
    int status = args_parse(&a, v, n_words, words, &error);
    if (status != STATUS_DONE) args_fail(&a, status, "%s", error.text);
    else if (v->run == NULL) status = args_fail(&a, STATUS_USAGE, "a verb is missing; `heed %s --help` lists them", v->name);
    else status = v->run(&a);
    args_free(&a);
    return status;
}

static int run(int n_words, char **words) {
    const char *name = n_words > 0 ? words[0] : "";
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) return overview();
    if (strcmp(name, "--version") == 0) return version_print(), STATUS_DONE;
    const bool help = strcmp(name, "help") == 0;
    if (help && n_words == 1) return overview();
    int taken;
    heed_error error;
    words += help;
    n_words -= help;
    const verb *v = verb_find(n_words, words, &taken, &error);
    if (v == NULL && !help && name[0] == '-') return unknown_option(name);
    if (v == NULL) {
        fprintf(stderr, "heed: %s\n", error.text);
        return STATUS_USAGE;
    }
    if (help || asks_help(n_words - taken, words + taken)) return args_help(v), STATUS_DONE;
    return run_verb(v, n_words - taken, words + taken);
}

// A reader that has gone (a closed pipe) is no failure; a full disk is.
static int finish_output(int status) {
    struct stat file;
    if (fflush(stdout) == 0 && !ferror(stdout)) return status;
    if (fstat(STDOUT_FILENO, &file) == 0 && (S_ISFIFO(file.st_mode) || S_ISSOCK(file.st_mode))) return status;
    fprintf(stderr, "heed: the output cannot be written%s%s\n", errno != 0 ? ": " : "", errno != 0 ? strerror(errno) : "");
    return status == STATUS_DONE ? STATUS_SYSTEM : status;
}

// Between parallel regions gcc's OpenMP spins for milliseconds: nothing on an idle machine, but where anything else wants the
// cores a spinning thread keeps off the one it waits for (measured: 2 to 10 times slower, against nothing lost with 1000 turns).
// The setting is read when the runtime is loaded, so a long job begins itself anew with it; where that fails it runs as it is.
static void spin_briefly(int argc, char **argv) {
    int taken;
    const verb *v = argc > 1 ? verb_find(argc - 1, argv + 1, &taken, NULL) : NULL;
    if (v == NULL || !v->long_job || getenv("OMP_WAIT_POLICY") != NULL || getenv("GOMP_SPINCOUNT") != NULL) return;
    if (setenv("GOMP_SPINCOUNT", "1000", 1) == 0) execv("/proc/self/exe", argv);
}

int main(int argc, char **argv) {
    spin_briefly(argc, argv);
    signal(SIGPIPE, SIG_IGN);    // `heed list | head -1` ends quietly, and a run goes on when its reader has gone
    signal(SIGXFSZ, SIG_IGN);    // a limit on file sizes is then an error of the write, which is reported
    int status = run(argc > 0 ? argc - 1 : 0, argv + (argc > 0));
    return finish_output(status);
}
