// SPDX-License-Identifier: Apache-2.0
// What happens between two steps: evaluation, the best so far, checkpoints. The meaning is the Hugging Face Trainer's, but for one
// point: where the best model is to be kept, only evaluations whose step is saved can become the best, so that it always exists.
#include "train/run.h"

#include "io/file.h"
#include "io/json.h"
#include "train/stop.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static bool on_schedule(const train_run *r, int strategy, int64_t every) {
    if (strategy == WHEN_STEPS) return r->at.step % every == 0;
    return strategy == WHEN_EPOCH && r->at.step % r->at.steps_per_epoch == 0;
}

// ---- evaluation ----

static void tick(void *context, int64_t done, int64_t of) {
    train_run *r = context;
    progress_live_evaluation(&r->progress, r->asked->out, done, of);
}

static heed_status log_evaluation(train_run *r, heed_error *error) {
    json_t *line = json_pack("{s:I, s:f}", "step", (json_int_t)r->at.step, "epoch", run_epoch(r));
    if (line == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for a line of metrics");
    if (r->judged) judge_record(&r->judge, line);
    else json_object_set_new(line, "non_finite", nan_origin_json(&r->judge.all.origin));
    const heed_status status = run_log_metrics(&r->log, line, error);
    output_record(r->asked->out, line);
    json_decref(line);
    return status;
}

// One line, and for several members one each.
static void say_evaluation(const train_run *r) {
    char text[256] = "";
    judge_text(&r->judge, &(text_buffer){text, sizeof text, 0});
    output_line(r->asked->out, LINE_PROGRESS, "evaluation at step %lld: %s", (long long)r->at.step, text);
    for (int64_t i = 0; r->judge.count > 1 && i < r->judge.count; i++) {
        text[0] = 0;
        evaluation_text(&r->judge.member[i].last, &(text_buffer){text, sizeof text, 0});
        output_line(r->asked->out, LINE_PROGRESS, "  %s: %s", r->judge.member[i].label, text);
    }
}

heed_status run_evaluate(train_run *r, run_fault *fault, heed_error *error) {
    const evaluate_settings settings = {
        .batch_size = r->o.batch_size, .max_batches = r->o.eval_max_batches, .token_bytes = r->from.token_bytes, .tick = tick,
        .context = r, .search = r->o.disable_mps_fix,
        .padding = {tokenizer_eos(r->from.words), r->o.padding_side == PAD_LEFT},
    };
    heed_status status = judge_evaluate(&r->judge, r->from.model, &settings, error);
    if (status != HEED_OK) return status;
    const evaluation *all = &r->judge.all;
    r->at.evaluation_due = all->stopped;
    if (all->stopped) return HEED_OK;
    r->judged = all->finite;
    r->judged_step = r->at.step;
    r->evaluated = true;
    status = log_evaluation(r, error);
    report_attention(r);
    if (status != HEED_OK) return status;
    if (!all->finite) {
        *fault = FAULT_NOT_FINITE;
        return error_set(error, HEED_INVALID, "the evaluation at step %lld stopped: %s", (long long)r->at.step,
                         all->origin.sentence);
    }
    say_evaluation(r);
    return HEED_OK;
}

// ---- the best so far ----

// The evaluation just made, for the schedule and the best; true: it is the best so far.
static bool weigh(train_run *r, bool saved) {
    double value = NAN;
    evaluation_metric(&r->judge.all, r->o.metric_for_best_model, &value);
    schedule_evaluated(&r->schedule, value);
    trainer_state *at = &r->at;
    const bool first = at->best_step < 0, better = r->o.greater_is_better ? value > at->best_metric : value < at->best_metric;
    if ((options_keep_best(&r->o) && !saved) || !(first || better)) return false;
    at->best_step = at->step;
    at->best_metric = value;
    return true;
}

// A run that goes on in another folder takes the best checkpoint of the former one along. Where it is gone, the best is sought
// anew.
heed_status run_bring_best(train_run *r, heed_error *error) {
    if (r->resume == NULL || !options_keep_best(&r->o) || r->at.best_step < 0) return HEED_OK;
    char name[32];
    snprintf(name, sizeof name, "step-%lld", (long long)r->at.best_step);
    char *beside = file_join(r->resume, ".."), *from = beside == NULL ? NULL : file_join(beside, name);
    char *to = file_join(r->checkpoints, name);
    heed_status status = HEED_OK;
    if (from == NULL || to == NULL) status = error_set(error, HEED_NO_MEMORY, "no memory for a path");
    else if (!file_is_folder(to) && file_is_folder(from)) status = checkpoint_copy(from, to, error);
    if (status == HEED_OK && !file_is_folder(to)) {
        output_line(r->asked->out, LINE_NOTE, "the checkpoint of step %lld, the best so far, is gone: the best is sought anew",
                    (long long)r->at.best_step);
        r->at.best_step = -1;
    }
    free(beside);
    free(from);
    free(to);
    return status;
}

// ---- checkpoints ----

static heed_status save(train_run *r, const char *name, heed_error *error) {
    char *folder = file_join(r->checkpoints, name);
    if (folder == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for a path");
    r->at.plateau = r->schedule.plateau;
    r->at.attention = run_log_attention_list(&r->log, r->from.model);
    heed_status status = run_log_flush(&r->log, error);
    if (status == HEED_OK) status = checkpoint_write(folder, r->from.model, r->from.words, &r->moments, &r->at, error);
    json_decref(r->at.attention);
    r->at.attention = NULL;
    free(folder);
    if (status != HEED_OK) return status;
    r->saved = r->at.step;
    const int64_t kept = options_keep_best(&r->o) ? r->at.best_step : -1;
    if (r->o.save_strategy != WHEN_NO) status = checkpoint_limit(r->checkpoints, r->o.save_total_limit, kept, error);
    return status == HEED_OK ? run_log_attention(&r->log, r->from.model, error) : status;
}

heed_status run_save_step(train_run *r, heed_error *error) {
    char name[32];
    snprintf(name, sizeof name, "step-%lld", (long long)r->at.step);
    return save(r, name, error);
}

static const char final_name[] = "final";

// checkpoints/final is the last step, or with --load_best_model_at_end a copy of the best one.
static heed_status save_final(train_run *r, heed_error *error) {
    if (!r->o.load_best_model_at_end || r->at.best_step < 0) return save(r, final_name, error);
    char name[32];
    snprintf(name, sizeof name, "step-%lld", (long long)r->at.best_step);
    char *from = file_join(r->checkpoints, name), *to = file_join(r->checkpoints, final_name);
    heed_status status;
    if (from == NULL || to == NULL) status = error_set(error, HEED_NO_MEMORY, "no memory for a path");
    else if (!file_is_folder(from))
        status = error_set(error, HEED_INVALID, "--load_best_model_at_end: step %lld was the best, but %s is not there any more",
                           (long long)r->at.best_step, file_shown(from));
    else status = checkpoint_copy(from, to, error);
    free(from);
    free(to);
    return status;
}

bool run_final_is_due(const train_run *r) {
    if (r->at.step < r->at.steps) return false;
    char *final = file_join(r->checkpoints, final_name);
    trainer_state state;
    const bool there = final != NULL && checkpoint_read_state(final, &state, NULL) == HEED_OK;
    free(final);
    return !there || state.step != (r->o.load_best_model_at_end && r->at.best_step >= 0 ? r->at.best_step : r->at.step);
}

// ---- all together ----

bool run_evaluates(const train_run *r) {
    const bool last = r->at.step == r->at.steps, judged = r->judge.count > 0 && r->o.eval_strategy != WHEN_NO;
    return judged && (last || on_schedule(r, r->o.eval_strategy, r->o.eval_steps));
}

// Evaluation before the checkpoint: a run that goes on from step N finds the evaluation of step N in the log.
heed_status run_milestone(train_run *r, bool evaluates, run_fault *fault, heed_error *error) {
    const bool last = r->at.step == r->at.steps;
    bool saves = on_schedule(r, r->o.save_strategy, r->o.save_steps) || (last && r->o.load_best_model_at_end);
    heed_status status = evaluates ? run_evaluate(r, fault, error) : HEED_OK;
    if (status != HEED_OK || r->at.evaluation_due) return status;
    if (evaluates && weigh(r, saves || last || r->o.save_strategy == WHEN_BEST)) saves = saves || r->o.save_strategy == WHEN_BEST;
    if (saves) status = run_save_step(r, error);
    if (status == HEED_OK && last && stop_requested() == 0) status = save_final(r, error);
    return status;
}
