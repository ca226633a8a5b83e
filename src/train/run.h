// SPDX-License-Identifier: Apache-2.0
// A training run: what it holds, how it begins (run.c), goes on (loop.c) and ends (report.c).
#pragma once

#include "io/folder.h"
#include "train/checkpoint.h"
#include "train/judge.h"
#include "train/log.h"
#include "train/mixture.h"
#include "train/progress.h"
#include "train/schedule.h"
#include "train/sources.h"

// What kind of fault ended a run, which decides the exit status.
typedef enum { FAULT_NONE, FAULT_USAGE, FAULT_FILE, FAULT_REFUSED, FAULT_NOT_FINITE, FAULT_SIGNAL } run_fault;

typedef struct {
    train_options options;             // settled
    const json_t *given;               // options as given, for run.json
    json_t *(*effective)(const train_options *);    // all options with their values
    const option_notes *notes;
    const run_output *out;
} run_request;

typedef struct {
    const run_request *asked;
    train_options o;                   // with the output folder filled in
    attention_choice attention;
    sources from;
    mixture learn;
    judge judge;
    moments moments;
    schedule schedule;
    engine engine;
    trainer_state at;
    char *resume;                      // the checkpoint it goes on from; NULL: from the beginning
    char *checkpoints, *owned_folder;  // RUN/checkpoints; what o.output_dir points to when the options did not name it
    folder_lock *lock;
    run_log log;
    progress progress;
    row_pick *order;
    int64_t order_epoch;       // of the rows in one epoch; -1: none yet
    int64_t announced;                 // attention records the user has been told of
    int64_t saved;                     // step of the last checkpoint; -1: none
    bool evaluated;
    bool judged;                       // ... and it was finite
    int64_t judged_step;
    step_facts last;
    nan_origin origin;
    bool skipped;                      // the last step, by --on_nan skip: origin says why
    int64_t learned;                   // steps of this process that were not skipped
    batch batch;
} train_run;

// Does everything: opens, trains, saves, reports. *fault tells what the sentence in *error is about; FAULT_SIGNAL is no
// failure: the run was saved, and stop_requested() tells the signal.
run_fault run_train(const run_request *, heed_error *);

// ---- between the files of this folder ----

// run_folder.c. What to go on from, by --resume_from_checkpoint; whether the folder is free; the folder, made and locked, its log
// opened, run.json written.
heed_status run_find_resume(train_run *, heed_error *);
heed_status run_check_folder(const train_run *, heed_error *);
heed_status run_open_folder(train_run *, run_fault *, heed_error *);

heed_status run_loop(train_run *, run_fault *, heed_error *);    // all steps, from at.step on
double run_epoch(const train_run *);                             // at.step in epochs

// milestone.c
heed_status run_evaluate(train_run *, run_fault *, heed_error *);
bool run_evaluates(const train_run *);       // the options ask for an evaluation after step at.step
// After step at.step: the evaluation, when it is wanted, and what follows from it; the checkpoints that are due.
heed_status run_milestone(train_run *, bool evaluates, run_fault *, heed_error *);
heed_status run_save_step(train_run *, heed_error *);    // checkpoints/step-N
bool run_final_is_due(const train_run *);    // all steps are taken, but checkpoints/final is missing or older
heed_status run_bring_best(train_run *, heed_error *);

// Sentences about implementations that stood in for the one asked for, each once.
void report_attention(train_run *);
// final_metrics.json, attention.json, and the closing lines; the last says what attention was asked for, what ran, and why.
heed_status report_end(train_run *, run_fault, heed_error *);
