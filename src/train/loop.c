// SPDX-License-Identifier: Apache-2.0
// The steps. Which rows a step takes, its learning rate, and when it logs, evaluates and saves are functions of its number,
// so a run that goes on from a checkpoint does what one that never stopped does, bit for bit.
#include "train/run.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/philox.h"
#include "io/json.h"
#include "nn/adamw.h"
#include "train/stop.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

double run_epoch(const train_run *r) { return (double)r->at.step / (double)r->at.steps_per_epoch; }

enum { SKIPS_IN_ROW = 10 };    // a passing fault is over by then; --on_nan skip must not go on for ever

// ---- one step ----

typedef struct { const row_pick *row; int64_t rows, scored, tokens; } step_rows;

// The rows of step `step` (from 0): the next batch_size * accumulation of its epoch's order; the last step of an epoch may
// have fewer.
static heed_status rows_of_step(train_run *r, int64_t step, step_rows *take, heed_error *error) {
    const int64_t epoch = step / r->at.steps_per_epoch, rows_a_step = r->o.batch_size * r->o.gradient_accumulation_steps;
    const int64_t first = step % r->at.steps_per_epoch * rows_a_step;
    if (r->order == NULL) r->order = malloc(size_mul((size_t)r->learn.rows, sizeof *r->order));
    if (r->order == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for the order of %lld rows", (long long)r->learn.rows);
    if (r->order_epoch != epoch) {
        const heed_status status = mixture_order(&r->learn, r->order, (uint64_t)r->o.seed, epoch, error);
        if (status != HEED_OK) return status;
    }
    r->order_epoch = epoch;
    *take = (step_rows){.row = r->order + first, .rows = int64_min(rows_a_step, r->learn.rows - first)};
    for (int64_t i = 0; i < take->rows; i++) {
        take->scored += rows_scored(take->row[i].set, take->row[i].row);
        take->tokens += rows_tokens(take->row[i].set, take->row[i].row);
    }
    return HEED_OK;
}

// Of batch `number` of this step: a function of the run's seed, so that a resumed run drops what one that never stopped does.
static uint64_t dropout_seed(const train_run *r, int64_t number) {
    enum { DROPOUT_SEEDS = 0x64726f70 };
    const uint64_t step = (uint64_t)r->at.step;
    const philox_block words = philox((uint64_t)r->o.seed, (uint32_t)step, (uint32_t)(step >> 32), (uint32_t)number, DROPOUT_SEEDS);
    return (uint64_t)words.word[1] << 32 | words.word[0];
}

// Calls each batch of the step; stops at the first that does not return HEED_OK or clears *go_on.
static heed_status each_batch(train_run *r, const step_rows *take, heed_status (*body)(train_run *, const step_rows *, double *,
    bool *, heed_error *),
                              double *loss, heed_error *error) {
    const batch_padding padding = {tokenizer_eos(r->from.words), r->o.padding_side == PAD_LEFT};
    bool go_on = true;
    for (int64_t first = 0; go_on && first < take->rows; first += r->o.batch_size) {
        const int64_t n = int64_min(r->o.batch_size, take->rows - first);
        heed_status status = batch_fill(&r->batch, take->row + first, n, padding, error);
        r->batch.view.seed = dropout_seed(r, first / r->o.batch_size);
        if (status == HEED_OK) status = body(r, take, loss, &go_on, error);
        if (status != HEED_OK) return status;
    }
    return HEED_OK;
}

// The gradient of the mean loss over all scored tokens of the step, whatever batches they come in.
static heed_status add_gradient(train_run *r, const step_rows *take, double *loss, bool *go_on, heed_error *error) {
    double sum = 0;
    int64_t scored = 0;
    const heed_status status = model_gradient(r->from.model, &r->batch.view, 1 / (double)take->scored, &sum, &scored, error);
    *loss += sum;
    *go_on = isfinite(sum);
    return status;
}

static heed_status seek_origin(train_run *r, const step_rows *take, double *loss, bool *go_on, heed_error *error) {
    const heed_status status = model_nan_origin(r->from.model, &r->batch.view, false, &r->origin, error);
    *go_on = !r->origin.found;
    return status;
}

// A step whose loss or gradient is not finite: names the first such value, and skips the step where that was asked for and can
// help. It cannot where a parameter itself is not finite, nor, it must be assumed, after many in a row.
static heed_status meet_not_finite(train_run *r, const step_rows *take, run_fault *fault, heed_error *error) {
    heed_status status = each_batch(r, take, seek_origin, NULL, error);
    if (status != HEED_OK) return status;
    if (!r->origin.found)
        snprintf(r->origin.sentence, sizeof r->origin.sentence,
                 "every activation and gradient is finite, but the gradient's norm is not");
    trainer_state *at = &r->at;
    const bool lost = r->origin.parameter != NULL, skips = r->o.on_nan == ON_NAN_SKIP && !lost && at->skipped_in_row < SKIPS_IN_ROW;
    at->step++;
    if (skips) {
        at->skipped++;
        at->skipped_in_row++;
        r->last.step = at->step;
        r->last.epoch = run_epoch(r);
        r->skipped = true;
        return HEED_OK;
    }
    json_t *line = json_pack("{s:I, s:f, s:o}", "step", (json_int_t)at->step, "epoch", run_epoch(r), "non_finite",
                             nan_origin_json(&r->origin));
    at->step--;
    status = run_log_metrics(&r->log, line, error);
    output_record(r->asked->out, line);
    json_decref(line);
    if (status != HEED_OK) return status;
    *fault = FAULT_NOT_FINITE;
    const char *why = r->o.on_nan != ON_NAN_SKIP ? "" : lost ? "; to skip the step would not help"
        : "; --on_nan skip has skipped ten in a row, and skips no more";
    return error_set(error, HEED_INVALID, "stopped at step %lld: %s%s", (long long)(at->step + 1), r->origin.sentence, why);
}

static heed_status take_step(train_run *r, run_fault *fault, heed_error *error) {
    const double begin = clock_seconds();
    step_rows take = {0};
    r->skipped = false;
    double loss = 0;
    heed_status status = rows_of_step(r, r->at.step, &take, error);
    if (status != HEED_OK) return status;
    model_gradient_clear(r->from.model);
    status = each_batch(r, &take, add_gradient, &loss, error);
    if (status != HEED_OK) return status;
    int64_t count;
    const parameter *p = model_parameters(r->from.model, &count);
    const double norm = isfinite(loss) ? gradient_norm(&r->engine, p, count) : NAN;
    if (!isfinite(norm)) return meet_not_finite(r, &take, fault, error);
    const train_options *o = &r->o;
    const adamw rule = {schedule_rate(&r->schedule, r->at.step), o->adam_beta1, o->adam_beta2, o->adam_epsilon, o->weight_decay};
    adamw_step(&r->engine, &rule, r->at.step - r->at.skipped + 1, gradient_clip_scale(norm, o->max_grad_norm), p, count,
               r->moments.m, r->moments.v);
    r->at.step++;
    r->at.skipped_in_row = 0;
    r->learned++;
    r->at.tokens += take.tokens;
    r->last = (step_facts){r->at.step, run_epoch(r), loss / (double)take.scored, rule.learning_rate, norm};
    r->at.loss_sum += r->last.loss;
    r->at.window_loss += r->last.loss;
    r->at.window_steps++;
    progress_step(&r->progress, clock_seconds() - begin, take.tokens);
    return HEED_OK;
}

// ---- after a step ----

static json_t *step_line(const train_run *r) {
    json_t *line = json_pack("{s:I}", "step", (json_int_t)r->last.step);
    if (line == NULL) return NULL;
    json_file_set_real(line, "epoch", r->last.epoch);
    if (r->skipped) {
        json_object_set_new(line, "skipped_steps", json_integer(r->at.skipped));
        json_object_set_new(line, "non_finite", nan_origin_json(&r->origin));
        return line;
    }
    json_file_set_real(line, "loss", r->last.loss);
    json_file_set_real(line, "learning_rate", r->last.learning_rate);
    json_file_set_real(line, "grad_norm", r->last.grad_norm);
    json_file_set_real(line, "tokens_per_second", progress_rate(&r->progress));
    json_object_set_new(line, "tokens", json_integer(r->at.tokens));
    return line;
}

static heed_status log_step(train_run *r, heed_error *error) {
    const run_output *out = r->asked->out;
    const bool window_ends = (r->at.step % r->o.logging_steps == 0 || r->at.step == r->at.steps) && r->at.window_steps > 0;
    json_t *line = step_line(r);
    if (line == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for a line of metrics");
    step_facts shown = r->last;
    if (window_ends) {
        shown.loss = r->at.window_loss / (double)r->at.window_steps;
        json_file_set_real(line, "mean_loss", shown.loss);
        json_file_set_real(line, "elapsed_seconds", clock_seconds() - r->progress.started);
    }
    const heed_status status = run_log_metrics(&r->log, line, error);
    output_record(out, line);
    json_decref(line);
    if (r->skipped) output_line(out, LINE_NOTE, "step %lld skipped, %lld so far: %s", (long long)r->at.step,
                                (long long)r->at.skipped, r->origin.sentence);
    if (!window_ends) return status;
    char text[256] = "";
    progress_text(&r->progress, &shown, 0, &(text_buffer){text, sizeof text, 0});
    output_line(out, LINE_PROGRESS, "%s", text);
    r->at.window_loss = 0;
    r->at.window_steps = 0;
    progress_window(&r->progress);
    return status;
}

heed_status run_loop(train_run *r, run_fault *fault, heed_error *error) {
    const run_output *out = r->asked->out;
    const bool starts = r->at.step == 0 && r->judge.count > 0 && r->o.eval_on_start;
    heed_status status = HEED_OK;
    progress_begin(&r->progress, r->at.step, r->at.steps);
    // The evaluation of step 0 neither moves the schedule nor becomes the best; one that a signal kept from happening does.
    r->at.evaluation_due = r->at.evaluation_due && r->judge.count > 0;
    if (starts && (r->resume == NULL || r->at.evaluation_due)) status = run_evaluate(r, fault, error);
    else if (r->at.evaluation_due || run_final_is_due(r)) status = run_milestone(r, r->at.evaluation_due, fault, error);
    while (status == HEED_OK && r->at.step < r->at.steps && stop_requested() == 0) {
        status = take_step(r, fault, error);
        if (status == HEED_OK) status = log_step(r, error);
        const bool first = r->progress.first_step + 1 == r->at.step;
        if (first) report_attention(r);
        if (status == HEED_OK && first) status = run_log_attention(&r->log, r->from.model, error);
        if (status == HEED_OK) status = run_milestone(r, run_evaluates(r), fault, error);
        if (status == HEED_OK && r->learned > 0) progress_live(&r->progress, out, &r->last);
    }
    if (status != HEED_OK || stop_requested() == 0) return status;
    if (r->saved != r->at.step || r->at.evaluation_due) status = run_save_step(r, error);
    if (status == HEED_OK) *fault = FAULT_SIGNAL;
    return status;
}
