// SPDX-License-Identifier: Apache-2.0
#include "cli/train_output.h"

#include "cli/output.h"

#include <stdio.h>
#include <string.h>

// Flushed each time: a log that is followed, or cut off by a kill, has every line.
static void line(void *context, const char *text) {
    printf("%s\n", text);
    fflush(stdout);
}

static void live(void *context, const char *text) {
    static bool shown;
    if (shown || *text != 0) printf("\r%s\033[K", text);    // over the old text, then clear to the end of the line
    shown = *text != 0;
    fflush(stdout);
}

static int columns(void *context) {
    const int now = output_columns();
    return now > 0 ? now : 80;
}

run_output train_output_open(bool json, bool quiet) {
    const bool draws = !json && output_is_terminal();
    return (run_output){.line = line, .live = draws ? live : NULL, .record = json ? line : NULL, .columns = columns,
                        .quiet = quiet};
}

void print_attention(FILE *file, const char *label, const model *m, bool warnings) {
    int64_t count;
    const attention_record *r = model_attention_records(m, &count);
    for (int64_t i = 0; i < count; i++) {
        bool told = warnings && !r[i].substituted;
        for (int64_t j = 0; j < i && !told; j++)
            told = strcmp(r[j].actual, r[i].actual) == 0 && strcmp(r[j].reason, r[i].reason) == 0;
        if (!told) fprintf(file, "%srequested %s, ran %s: %s\n", label, r[i].requested, r[i].actual, r[i].reason);
    }
}
