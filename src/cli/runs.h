// SPDX-License-Identifier: Apache-2.0
// What the verbs below `heed runs` share.
#pragma once

#include "cli/args.h"
#include "train/record.h"

extern const verb verb_runs_diff, verb_runs_report;

// The runs that the command line names, all of them or none: run_records_free them. STATUS_DONE, else the sentence was printed.
int run_records_open(const args *, run_record **);
void run_records_free(run_record *, int count);

// A name for each run that tells it from the others: the folder's last part, or the folder where two have the same. A list of
// texts, by run.
json_t *run_records_names(const run_record *, int count);

// What two or more runs differ in, as `heed runs diff --json` prints it; see docs/runs.md.
json_t *runs_compare(const run_record *, int count, double relative);

// What final_metrics.json says, all of it: a list of {"name", "values", "truncated"}, the last two by run.
json_t *runs_results(const run_record *, int count);
