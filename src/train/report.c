// SPDX-License-Identifier: Apache-2.0
// How a run ends: final_metrics.json and the closing lines, of which the last is about attention.
#include "train/run.h"

#include "base/clock.h"
#include "base/memory.h"
#include "io/json.h"
#include "train/stop.h"

#include <string.h>

void report_attention(train_run *r) {
    int64_t count = 0;
    const attention_record *records = model_attention_records(r->from.model, &count);
    for (; r->announced < count; r->announced++) {
        const attention_record *now = &records[r->announced];
        bool told = !now->substituted;
        for (int64_t i = 0; i < r->announced && !told; i++) told = strcmp(records[i].reason, now->reason) == 0;
        if (!told) output_line(r->asked->out, LINE_NOTE, "attention: asked for %s, %s runs: %s", now->requested, now->actual,
                               now->reason);
    }
}

typedef struct { char actual[160], reason[640], preset[64]; const char *requested; bool substituted; } attention_summary;

static const char *text_of(const json_t *entry, const char *key) {
    const char *text = json_string_value(json_object_get(entry, key));
    return text != NULL ? text : "";
}

// The distinct implementations that ran, and why the first of the substitutes (else the first of all) did; before a resume too.
static attention_summary summarise(const train_run *r) {
    attention_summary s = {.requested = r->o.attn_implementation};
    json_t *list = run_log_attention_list(&r->log, r->from.model);
    const json_t *told = NULL;
    text_buffer actual = {s.actual, sizeof s.actual, 0}, reason = {s.reason, sizeof s.reason, 0};
    text_buffer preset = {s.preset, sizeof s.preset, 0};
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *entry = json_array_get(list, i);
        bool named = false;
        for (size_t j = 0; j < i && !named; j++) named = strcmp(text_of(json_array_get(list, j), "actual"), text_of(entry,
            "actual")) == 0;
        if (!named) text_add(&actual, "%s%s", actual.length > 0 ? " and " : "", text_of(entry, "actual"));
        const bool substituted = json_is_true(json_object_get(entry, "substituted"));
        if (told == NULL || (substituted && !s.substituted)) told = entry, s.substituted = substituted;
    }
    if (told == NULL) text_add(&actual, "nothing");
    text_add(&reason, "%s", told != NULL ? text_of(told, "reason") : "no step was taken");
    text_add(&preset, "%s", told != NULL ? text_of(told, "preset") : "");
    json_decref(list);
    return s;
}

static const char *fault_name(run_fault fault) {
    switch (fault) {
    case FAULT_NONE: return "done";
    case FAULT_SIGNAL: return "stopped by a signal";
    case FAULT_NOT_FINITE: return "stopped: not finite";
    default: return "failed";
    }
}

static json_t *final_json(const train_run *r, run_fault fault, const attention_summary *a) {
    const double elapsed = clock_seconds() - r->progress.started;
    json_t *j = json_pack("{s:s, s:I, s:I, s:I}", "status", fault_name(fault), "step", (json_int_t)r->at.step, "steps",
                          (json_int_t)r->at.steps,
                          "tokens", (json_int_t)r->at.tokens);
    json_file_set_real(j, "epoch", (double)r->at.step / (double)r->at.steps_per_epoch);
    json_object_set_new(j, "skipped_steps", json_integer(r->at.skipped));
    if (r->at.step > r->at.skipped) json_file_set_real(j, "train_loss", r->at.loss_sum / (double)(r->at.step - r->at.skipped));
    if (r->learned > 0) json_file_set_real(j, "last_loss", r->last.loss);
    if (r->judged) {
        judge_record(&r->judge, j);
        json_object_set_new(j, "eval_step", json_integer(r->judged_step));
    }
    if (r->at.best_step >= 0) {
        json_object_set_new(j, "metric_for_best_model", json_string(r->at.metric));
        json_file_set_real(j, "best_metric", r->at.best_metric);
        json_object_set_new(j, "best_step", json_integer(r->at.best_step));
        json_object_set_new(j, "final_is_best", json_boolean(r->o.load_best_model_at_end));
    }
    json_file_set_real(j, "seconds", elapsed);
    if (r->progress.step_seconds > 0) json_file_set_real(j, "tokens_per_second",
                                                         (double)r->progress.tokens / r->progress.step_seconds);
    json_object_set_new(j, "peak_memory_bytes", json_integer(memory_peak_bytes()));
    json_object_set_new(j, "attention", json_pack("{s:o, s:s, s:s, s:s, s:b}", "requested", json_text(a->requested), "actual",
                                                  a->actual, "reason",
                                                  a->reason, "preset", a->preset, "substituted", a->substituted));
    json_object_set_new(j, "run", json_text(r->o.output_dir));
    return j;
}

static void say_steps(const train_run *r, run_fault fault) {
    const run_output *out = r->asked->out;
    const int64_t taken = r->at.step - r->progress.first_step;
    if (fault == FAULT_SIGNAL)
        output_line(out, LINE_CLOSING, "signal %d: stopped after step %lld of %lld and saved checkpoints/step-%lld; go on with "
                    "--resume_from_checkpoint latest --output_dir %s", stop_requested(), (long long)r->at.step,
                        (long long)r->at.steps,
                    (long long)r->at.step, r->o.output_dir);
    if (taken == 0 && fault == FAULT_NONE)
        output_line(out, LINE_CLOSING, "nothing to do: the run has taken its %lld steps already", (long long)r->at.steps);
    if (r->learned > 0)
        output_line(out, LINE_CLOSING, "trained      %lld step%s in %.1f s, %.0f tokens/s; last loss %.4f", (long long)r->learned,
                    r->learned == 1 ? "" : "s",
                    clock_seconds() - r->progress.started, r->progress.step_seconds > 0
                    ? (double)r->progress.tokens / r->progress.step_seconds : 0, r->last.loss);
    if (r->at.skipped > 0)
        output_line(out, LINE_CLOSING, "skipped      %lld step%s not finite; metrics.jsonl names each origin",
                    (long long)r->at.skipped, r->at.skipped == 1 ? " was" : "s were");
}

static void say_best(const train_run *r, run_fault fault) {
    if (r->at.best_step < 0 || !options_keep_best(&r->o)) return;
    const bool loaded = fault == FAULT_NONE && r->o.load_best_model_at_end;
    output_line(r->asked->out, LINE_CLOSING, "best         step %lld: %s %.6g%s", (long long)r->at.best_step, r->at.metric,
                r->at.best_metric, loaded ? "; checkpoints/final holds it" : "");
}

heed_status report_end(train_run *r, run_fault fault, heed_error *error) {
    const run_output *out = r->asked->out;
    const attention_summary a = summarise(r);
    json_t *final = final_json(r, fault, &a);
    heed_status status = run_log_write(&r->log, "final_metrics.json", final, error);
    if (status == HEED_OK) status = run_log_attention(&r->log, r->from.model, error);
    json_t *record = json_pack("{s:o}", "final", final);
    output_record(out, record);
    json_decref(record);
    say_steps(r, fault);
    if (r->judged) {
        char text[256] = "";
        judge_text(&r->judge, &(text_buffer){text, sizeof text, 0});
        output_line(out, LINE_CLOSING, "evaluation   at step %lld: %s", (long long)r->judged_step, text);
    }
    say_best(r, fault);
    output_line(out, LINE_CLOSING, "run folder   %s", r->o.output_dir);
    output_line(out, LINE_CLOSING, "attention    requested %s, ran %s: %s", a.requested, a.actual, a.reason);
    return status;
}
