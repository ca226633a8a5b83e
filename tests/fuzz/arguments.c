// SPDX-License-Identifier: Apache-2.0
// Command lines: the first byte names the verb, each line is a word. What a training run would make of its options is asked too.
#include "fuzz.h"

#include "cli/args.h"
#include "cli/status.h"
#include "cli/verbs.h"
#include "train/options.h"

enum { WORDS = 64 };

static bool was_given(const void *context, const char *name) { return args_given(context, name); }

static void settle(const args *a) {
    train_options o = *(const train_options *)a->options;
    option_notes notes;
    heed_error e;
    fuzz_sentence(options_settle(&o, &(options_given){a, was_given}, &notes, &e), &e, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    if (n == 0) return 0;
    int count = 0, n_words = 0;
    while (verbs[count] != NULL) count++;
    const verb *v = verbs[data[0] % count];
    if (v->below != NULL) v = v->below[0];    // a verb of verbs has no options of its own
    char *text = malloc(n), *word[WORDS];
    REQUIRE(text != NULL, "no memory");
    memcpy(text, data + 1, n - 1);
    text[n - 1] = 0;
    for (char *rest = text; rest != NULL && n_words < WORDS;) word[n_words++] = strsep(&rest, "\n");
    args a;
    heed_error e;
    const int status = args_parse(&a, v, n_words, word, &e);
    REQUIRE(status == STATUS_DONE || status == STATUS_USAGE || status == STATUS_REFUSED, "exit status %d", status);
    if (status != STATUS_DONE) fuzz_sentence(e.status, &e, NULL);
    else if (v == &verb_train) settle(&a);
    args_free(&a);
    free(text);
    return 0;
}
