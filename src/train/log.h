// SPDX-License-Identifier: Apache-2.0
// The records of a run folder: run.json, attention.json, metrics.jsonl, final_metrics.json, tensorboard/.
#pragma once

#include "io/json.h"
#include "io/tfevents.h"
#include "model/model.h"

typedef struct {
    char *folder, *metrics_path;
    int metrics;              // a file descriptor, -1: closed
    tfevents *board;
    int64_t step;             // of the last line
    int64_t damaged;          // lines that run_log_open found to be no records, and removed
    json_t *earlier;          // what attention did before a resume, as attention.json has it
    char *attention_told;     // the text TensorBoard has
} run_log;

// Opens metrics.jsonl for appending. Lines of later steps than `keep_to_step`, and an unfinished last line, are removed first:
// they belong to steps that will be taken again.
heed_status run_log_open(run_log *, const char *folder, int64_t keep_to_step, heed_error *);
// What of metrics.jsonl's text is kept then, moved to its beginning: the whole records of steps up to last_step. Its length;
// *damaged counts the lines that are no record, but for an unfinished last one.
size_t run_log_keep(char *text, size_t n, int64_t last_step, int64_t *damaged);
void run_log_close(run_log *);    // a zeroed one is fine

// One line, written whole, and its numbers for TensorBoard. A full disk is an error that names the file.
heed_status run_log_metrics(run_log *, const json_t *, heed_error *);
// Before a checkpoint: what was logged so far will be there when a run goes on from it.
heed_status run_log_flush(run_log *, heed_error *);

heed_status run_log_write(const run_log *, const char *name, const json_t *, heed_error *);    // atomic
heed_status run_log_attention(run_log *, const model *, heed_error *);
// The list in attention.json: of this process and what it goes on from. NULL without memory.
json_t *run_log_attention_list(const run_log *, const model *);

// One distinct problem as attention.json has it; NULL without memory.
json_t *attention_record_json(const attention_record *);

// Where a NaN came from, as an object.
json_t *nan_origin_json(const nan_origin *);

// What this process computes with: version, commit, libraries, compiler, CPU features, kernels, threads. NULL without memory.
json_t *machine_json(int64_t n_threads);
