// SPDX-License-Identifier: Apache-2.0
// A run folder, read back: by whatever version it was written, finished or not.
#pragma once

#include "train/series.h"

typedef struct {
    char *folder;                      // as it was named, without slashes at the end
    json_t *run, *attention, *final;   // of the .json files; NULL: not there or damaged, which a note tells
    metrics metrics;
    record_notes notes;
    bool damaged;                      // something in it could not be read
} run_record;

// Fails when there is no such folder, or when it holds no run at all.
heed_status run_record_read(run_record *, const char *folder, heed_error *);
void run_record_free(run_record *);

// What attention ran: {"training": {"requested": [...], "actual": [...], "preset": [...], "empty_rows": [...], "reason": [...],
// "substituted"}, "evaluation": {...}}, each list sorted, with more than one text where problems got different answers. A pass
// that never ran is absent; NULL: not known.
json_t *run_record_attention(const run_record *);

// {"given", "effective"}: options by name, those of the last resume where there was one. Borrowed; NULL: not known.
const json_t *run_record_options(const run_record *);

// Is it an option of where a run writes and what it prints, which cannot change what it computes?
bool run_record_is_outward(const char *option);
