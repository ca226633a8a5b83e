// SPDX-License-Identifier: Apache-2.0
// The steps. Which rows a step takes, its learning rate, and when it logs, evaluates and saves are functions of its number,
// so a run that goes on from a checkpoint does what one that never stopped does, bit for bit.
#include "train/run.h"

#include "base/clock.h"
#include "base/memory.h"
#include "io/file.h"
#include "io/json.h"
#include "nn/adamw.h"
#include "train/stop.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static double epoch_of(const train_run *r) { return (double)r->at.step / (double)r->at.steps_per_epoch; }

static bool on_schedule(const train_run *r, int strategy, int64_t every) {
    if (strategy == WHEN_STEPS) return r->at.step % every == 0;
    return strategy == WHEN_EPOCH && r->at.step % r->at.steps_per_epoch == 0;
}

// ---- one step ----

typedef struct { const int64_t *row; int64_t rows, scored, tokens; } step_rows;

// The rows of step `step` (from 0): the next batch_size * accumulation of its epoch's order; the last step of an epoch may
// have fewer.
static heed_status rows_of_step(train_run *r, int64_t step, step_rows *take, heed_error *error) {
    const int64_t epoch = step / r->at.steps_per_epoch, rows_a_step = r->o.batch_size * r->o.gradient_accumulation_steps;
    const int64_t first = step % r->at.steps_per_epoch * rows_a_step;
    if (r->order == NULL) r->order = malloc(size_mul((size_t)r->learn.rows, sizeof *r->order));
    if (r->order == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for the order of %lld rows", (long long)r->learn.rows);
    if (r->order_epoch != epoch) rows_order(r->order, r->learn.rows, (uint64_t)r->o.seed, epoch);
    r->order_epoch = epoch;
    *take = (step_rows){.row = r->order + first, .rows = int64_min(rows_a_step, r->learn.rows - first)};
    for (int64_t i = 0; i < take->rows; i++) {
        take->scored += rows_scored(&r->learn, take->row[i]);
        take->tokens += rows_tokens(&r->learn, take->row[i]);
    }
    return HEED_OK;
}

// Calls each batch of the step; stops at the first that does not return HEED_OK or clears *go_on.
static heed_status each_batch(train_run *r, const step_rows *take, heed_status (*body)(train_run *, const step_rows *, double *,
    bool *, heed_error *),
                              double *loss, heed_error *error) {
    const batch_padding padding = {tokenizer_eos(r->from.words), r->o.padding_side == PAD_LEFT};
    bool go_on = true;
    for (int64_t first = 0; go_on && first < take->rows; first += r->o.batch_size) {
        const int64_t n = int64_min(r->o.batch_size, take->rows - first);
        heed_status status = batch_fill(&r->batch, &r->learn, take->row + first, n, padding, error);
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

// The run ends here: names the first non-finite value of the step, in the log and in the sentence.
static heed_status stop_not_finite(train_run *r, const step_rows *take, run_fault *fault, heed_error *error) {
    heed_status status = each_batch(r, take, seek_origin, NULL, error);
    if (status != HEED_OK) return status;
    json_t *line = json_pack("{s:I, s:f, s:o}", "step", (json_int_t)(r->at.step + 1), "epoch", epoch_of(r), "non_finite",
                             nan_origin_json(&r->origin));
    status = run_log_metrics(&r->log, line, error);
    output_record(r->asked->out, line);
    json_decref(line);
    if (status != HEED_OK) return status;
    *fault = FAULT_NOT_FINITE;
    const char *what = r->origin.found ? r->origin.sentence
        : "every activation and gradient is finite, but the gradient's norm is not";
    return error_set(error, HEED_INVALID, "stopped at step %lld: %s", (long long)(r->at.step + 1), what);
}

static heed_status take_step(train_run *r, run_fault *fault, heed_error *error) {
    const double begin = clock_seconds();
    step_rows take = {0};
    double loss = 0;
    heed_status status = rows_of_step(r, r->at.step, &take, error);
    if (status != HEED_OK) return status;
    model_gradient_clear(r->from.model);
    status = each_batch(r, &take, add_gradient, &loss, error);
    if (status != HEED_OK) return status;
    int64_t count;
    const parameter *p = model_parameters(r->from.model, &count);
    const double norm = isfinite(loss) ? gradient_norm(&r->engine, p, count) : NAN;
    if (!isfinite(norm)) return stop_not_finite(r, &take, fault, error);
    const train_options *o = &r->o;
    const adamw rule = {schedule_rate(&r->schedule, r->at.step), o->adam_beta1, o->adam_beta2, o->adam_epsilon, o->weight_decay};
    adamw_step(&r->engine, &rule, r->at.step + 1, gradient_clip_scale(norm, o->max_grad_norm), p, count, r->moments.m,
               r->moments.v);
    r->at.step++;
    r->at.tokens += take.tokens;
    r->last = (step_facts){r->at.step, epoch_of(r), loss / (double)take.scored, rule.learning_rate, norm};
    r->at.loss_sum += r->last.loss;
    r->at.window_loss += r->last.loss;
    r->at.window_steps++;
    progress_step(&r->progress, clock_seconds() - begin, take.tokens);
    return HEED_OK;
}

// ---- after a step ----

static heed_status log_step(train_run *r, heed_error *error) {
    const bool window_ends = r->at.step % r->o.logging_steps == 0 || r->at.step == r->at.steps;
    json_t *line = json_pack("{s:I}", "step", (json_int_t)r->last.step);
    if (line == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for a line of metrics");
    json_file_set_real(line, "epoch", r->last.epoch);
    json_file_set_real(line, "loss", r->last.loss);
    json_file_set_real(line, "learning_rate", r->last.learning_rate);
    json_file_set_real(line, "grad_norm", r->last.grad_norm);
    json_file_set_real(line, "tokens_per_second", progress_rate(&r->progress));
    json_object_set_new(line, "tokens", json_integer(r->at.tokens));
    step_facts shown = r->last;
    if (window_ends) {
        shown.loss = r->at.window_loss / (double)r->at.window_steps;
        json_file_set_real(line, "mean_loss", shown.loss);
        json_file_set_real(line, "elapsed_seconds", clock_seconds() - r->progress.started);
    }
    const heed_status status = run_log_metrics(&r->log, line, error);
    output_record(r->asked->out, line);
    json_decref(line);
    if (!window_ends) return status;
    char text[256] = "";
    progress_text(&r->progress, &shown, 0, &(text_buffer){text, sizeof text, 0});
    output_line(r->asked->out, LINE_PROGRESS, "%s", text);
    r->at.window_loss = 0;
    r->at.window_steps = 0;
    progress_window(&r->progress);
    return status;
}

static void tick(void *context, int64_t done, int64_t of) {
    train_run *r = context;
    progress_live_evaluation(&r->progress, r->asked->out, done, of);
}

static heed_status log_evaluation(train_run *r, heed_error *error) {
    json_t *line = json_pack("{s:I, s:f}", "step", (json_int_t)r->at.step, "epoch", epoch_of(r));
    if (line == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for a line of metrics");
    if (r->judged.finite) evaluation_record(&r->judged, line);
    else json_object_set_new(line, "non_finite", nan_origin_json(&r->judged.origin));
    const heed_status status = run_log_metrics(&r->log, line, error);
    output_record(r->asked->out, line);
    json_decref(line);
    return status;
}

heed_status run_evaluate(train_run *r, run_fault *fault, heed_error *error) {
    const evaluate_settings settings = {
        .batch_size = r->o.batch_size, .max_batches = r->o.eval_max_batches, .token_bytes = r->from.token_bytes, .tick = tick,
            .context = r,
        .search = r->o.disable_mps_fix, .padding = {tokenizer_eos(r->from.words), r->o.padding_side == PAD_LEFT},
    };
    evaluation e;
    heed_status status = evaluate_rows(&e, r->from.model, &r->judge, &settings, error);
    if (status != HEED_OK) return status;
    r->at.evaluation_due = e.stopped;
    if (e.stopped) return HEED_OK;
    r->judged = e;
    r->judged_step = r->at.step;
    r->evaluated = true;
    status = log_evaluation(r, error);
    report_attention(r);
    if (status != HEED_OK) return status;
    if (!e.finite) {
        *fault = FAULT_NOT_FINITE;
        return error_set(error, HEED_INVALID, "the evaluation at step %lld stopped: %s", (long long)r->at.step, e.origin.sentence);
    }
    char text[256] = "";
    evaluation_text(&e, &(text_buffer){text, sizeof text, 0});
    output_line(r->asked->out, LINE_PROGRESS, "evaluation at step %lld: %s", (long long)r->at.step, text);
    return HEED_OK;
}

heed_status run_save(train_run *r, const char *name, heed_error *error) {
    char *folder = file_join(r->checkpoints, name);
    if (folder == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for a path");
    heed_status status = checkpoint_write(folder, r->from.model, r->from.words, &r->moments, &r->at, error);
    free(folder);
    if (status != HEED_OK) return status;
    r->saved = r->at.step;
    if (r->o.save_strategy != WHEN_NO) status = checkpoint_limit(r->checkpoints, r->o.save_total_limit, error);
    return status == HEED_OK ? run_log_attention(&r->log, r->from.model, error) : status;
}

static heed_status save_step(train_run *r, heed_error *error) {
    char name[32];
    snprintf(name, sizeof name, "step-%lld", (long long)r->at.step);
    return run_save(r, name, error);
}

// Evaluation before the checkpoint: a run that goes on from step N finds the evaluation of step N in the log.
static heed_status after_step(train_run *r, run_fault *fault, heed_error *error) {
    const bool last = r->at.step == r->at.steps, judged = r->judge.rows > 0 && r->o.eval_strategy != WHEN_NO;
    heed_status status = log_step(r, error);
    if (r->progress.first_step + 1 == r->at.step) report_attention(r);
    if (status == HEED_OK && judged && (last || on_schedule(r, r->o.eval_strategy, r->o.eval_steps))) status = run_evaluate(r,
        fault, error);
    if (status == HEED_OK && on_schedule(r, r->o.save_strategy, r->o.save_steps)) status = save_step(r, error);
    if (status == HEED_OK && last && stop_requested() == 0) status = run_save(r, "final", error);
    return status;
}

heed_status run_loop(train_run *r, run_fault *fault, heed_error *error) {
    const run_output *out = r->asked->out;
    const bool first_evaluation = r->judge.rows > 0 && (r->resume != NULL ? r->at.evaluation_due : r->o.eval_on_start);
    heed_status status = HEED_OK;
    progress_begin(&r->progress, r->at.step, r->at.steps);
    if (first_evaluation) status = run_evaluate(r, fault, error);
    while (status == HEED_OK && r->at.step < r->at.steps && stop_requested() == 0) {
        status = take_step(r, fault, error);
        if (status == HEED_OK) status = after_step(r, fault, error);
        if (status == HEED_OK) progress_live(&r->progress, out, &r->last);
    }
    if (status != HEED_OK || stop_requested() == 0) return status;
    if (r->saved != r->at.step || r->at.evaluation_due) status = save_step(r, error);
    if (status == HEED_OK) *fault = FAULT_SIGNAL;
    return status;
}
