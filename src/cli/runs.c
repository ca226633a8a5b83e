// SPDX-License-Identifier: Apache-2.0
// heed runs: what differs between runs (runs_diff.c), and their curves (runs_report.c).
#include "cli/runs.h"

#include <stdlib.h>
#include <string.h>

#include "cli/status.h"
#include "cli/verbs.h"

int run_records_open(const args *a, run_record **records) {
    heed_error error;
    *records = calloc((size_t)a->n_positional, sizeof **records);
    if (*records == NULL) return args_fail(a, STATUS_SYSTEM, "out of memory");
    for (int i = 0; i < a->n_positional; i++) {
        if (run_record_read(&(*records)[i], a->positional[i], &error) == HEED_OK) continue;
        run_records_free(*records, a->n_positional);
        *records = NULL;
        return args_fail(a, STATUS_SYSTEM, "%s", error.text);
    }
    return STATUS_DONE;
}

void run_records_free(run_record *records, int count) {
    for (int i = 0; i < count && records != NULL; i++) run_record_free(&records[i]);
    free(records);
}

static const char *last_part(const char *folder) {
    const char *slash = strrchr(folder, '/');
    return slash != NULL && slash[1] != 0 ? slash + 1 : folder;
}

json_t *run_records_names(const run_record *records, int count) {
    bool distinct = true;
    for (int i = 0; i < count; i++)
        for (int j = 0; j < i; j++) distinct &= strcmp(last_part(records[i].folder), last_part(records[j].folder)) != 0;
    json_t *names = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(names, json_text(distinct ? last_part(records[i].folder) : records[i].folder));
    return names;
}

static const verb *const below[] = {&verb_runs_diff, &verb_runs_report, NULL};

const verb verb_runs = {
    .name = "runs", .purpose = "what differs between runs, and their curves", .below = below,
    .about = "A run folder is what `heed train` leaves: finished, killed or still writing, of this version or an older one.",
    .examples = "  heed runs diff runs/mine runs/other\n  heed runs report runs/* -o runs.html\n",
};
