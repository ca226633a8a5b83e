// SPDX-License-Identifier: Apache-2.0
// How a run begins: everything is opened and checked before the run folder is touched.
#include "train/run.h"

#include "base/cpu_features.h"
#include "base/memory.h"
#include "base/threads.h"
#include "io/file.h"
#include "io/json.h"
#include "train/stop.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- what the run computes with ----

static heed_status open_sources(train_run *r, heed_error *error) {
    heed_status status = sources_open_model(&r->from, &r->o, r->resume, error);
    if (status == HEED_OK) status = sources_open_data(&r->from, &r->o, error);
    return status;
}

static row_layout layout_of(const train_options *o) {
    return (row_layout){.length = o->use_packing ? o->packing_max_length : o->max_length, .piece = o->max_length,
                        .packed = o->use_packing, .leak = o->packing_leak};
}

// Evaluation that is only the default is dropped, with a line; evaluation that was asked for is an error.
static heed_status without_evaluation(train_run *r, heed_error *error) {
    static const char *const asking[] = {"eval_strategy", "eval_steps", "eval_on_start", "eval_max_batches",
                                         "metric_for_best_model", "greater_is_better", "load_best_model_at_end"};
    for (size_t i = 0; i < sizeof asking / sizeof *asking; i++)
        if (json_object_get(r->asked->given, asking[i]) != NULL)
            return error_set(error, HEED_INVALID,
                             "--%s: data set \"%s\" has no second document that could be held out for evaluation; "
                             "give --eval_dataset, or separate documents by blank lines", asking[i], r->from.data[0].label);
    if (r->o.lr_scheduler_type == SCHEDULE_REDUCE_LR_ON_PLATEAU || r->o.save_strategy == WHEN_BEST)
        return error_set(error, HEED_INVALID, "%s follows the evaluations, but data set \"%s\" has no second document that could "
                         "be held out; give --eval_dataset", r->o.save_strategy == WHEN_BEST ? "--save_strategy best"
                         : "--lr_scheduler_type reduce_lr_on_plateau", r->from.data[0].label);
    output_line(r->asked->out, LINE_NOTE, "nothing is evaluated: data set \"%s\" has no second document that could be held out; "
                "--eval_dataset can name another file", r->from.data[0].label);
    r->o.eval_strategy = WHEN_NO;
    return HEED_OK;
}

// What is trained on: a mixture, of one member where there is one data set.
static heed_status make_mixture(train_run *r, heed_error *error) {
    const sources *from = &r->from;
    const char *label[MEMBERS_MOST];
    const dataset *data[MEMBERS_MOST];
    for (int64_t i = 0; i < from->members.count; i++) {
        label[i] = from->data[i].label;
        data[i] = from->data[i].learn;
    }
    const heed_status status = mixture_create(&r->learn, from->members.count, label, data, from->members.rate, layout_of(&r->o),
                                              error);
    for (int64_t i = 0; status == HEED_OK && r->learn.count > 1 && i < r->learn.count; i++) {
        const mixture_member *m = &r->learn.member[i];
        output_line(r->asked->out, LINE_NOTE, "mixture: %s gives %lld of an epoch's %lld rows, %.3g times its own %lld", m->label,
                    (long long)m->quota, (long long)r->learn.rows, (double)m->quota / (double)m->rows.rows,
                    (long long)m->rows.rows);
    }
    return status;
}

// What is evaluated: the named data set, or each member's own part, as far as it has any.
static heed_status make_judge(train_run *r, heed_error *error) {
    const sources *from = &r->from;
    heed_status status = judge_create(&r->judge, from->members.count, error);
    if (status != HEED_OK) return status;
    if (from->judge_named) return judge_add(&r->judge, r->o.eval_dataset, &from->judge, layout_of(&r->o), error);
    for (int64_t i = 0; i < from->members.count; i++) {
        const source_data *d = &from->data[i];
        if (d->judged && judge_add(&r->judge, d->label, &d->held, layout_of(&r->o), NULL) == HEED_OK) continue;
        if (from->members.count > 1)
            output_line(r->asked->out, LINE_NOTE, "%s is not evaluated: it has no second document that could be held out",
                        d->label);
    }
    return r->judge.count > 0 ? HEED_OK : without_evaluation(r, error);
}

static heed_status make_rows(train_run *r, heed_error *error) {
    const heed_status status = make_mixture(r, error);
    const bool wanted = r->o.eval_strategy != WHEN_NO || r->o.eval_on_start;
    return status != HEED_OK || !wanted ? status : make_judge(r, error);
}

// Steps of the run and the schedule over them.
static heed_status plan_steps(train_run *r, heed_error *error) {
    const train_options *o = &r->o;
    int64_t rows_a_step;
    if (!int64_mul(o->batch_size, o->gradient_accumulation_steps, &rows_a_step))
        return error_set(error, HEED_INVALID,
                         "--batch_size %lld times --gradient_accumulation_steps %lld is more than a count can hold",
                         (long long)o->batch_size, (long long)o->gradient_accumulation_steps);
    r->at.steps_per_epoch = 1 + (r->learn.rows - 1) / rows_a_step;
    const double wanted = ceil(o->num_train_epochs * (double)r->at.steps_per_epoch);
    if (o->max_steps <= 0 && !(wanted < 1e15))
        return error_set(error, HEED_INVALID, "--num_train_epochs %g is more steps than can be counted", o->num_train_epochs);
    r->at.steps = o->max_steps > 0 ? o->max_steps : (int64_t)wanted;
    return schedule_create(&r->schedule, o, r->at.steps, error);
}

static void describe_state(train_run *r) {
    trainer_state *s = &r->at;
    s->seed = r->o.seed;
    s->batch_size = r->o.batch_size;
    s->accumulation = r->o.gradient_accumulation_steps;
    s->rows = r->learn.rows;
    s->threads = r->o.threads;
    s->data = mixture_hash(&r->learn);
    s->learning_rate = r->o.learning_rate;
    s->bf16 = r->o.bf16;
    s->best_step = -1;
    s->plateau = r->schedule.plateau;
    snprintf(s->metric, sizeof s->metric, "%s", r->o.metric_for_best_model);
    snprintf(s->schedule, sizeof s->schedule, "%s", schedule_names[r->o.lr_scheduler_type]);
}

// The best so far and the plateau, where the checkpoint's are of the same metric and schedule. A number that it does not hold
// stays what a new run begins with.
static void take_judgements(train_run *r, const trainer_state *old) {
    const bool same_metric = strcmp(old->metric, r->at.metric) == 0;
    if (old->best_step >= 0 && same_metric) {
        r->at.best_step = old->best_step;
        r->at.best_metric = old->best_metric;
    } else if (old->best_step >= 0)
        output_line(r->asked->out, LINE_NOTE, "resumed with --metric_for_best_model %s instead of %s: the best is sought anew",
                    r->at.metric, old->metric);
    plateau *now = &r->schedule.plateau;
    if (strcmp(old->schedule, r->at.schedule) != 0 || old->plateau.rate <= 0) return;
    const double none = now->best;
    *now = old->plateau;
    if (isnan(now->best)) now->best = none;
}

// Takes over what a checkpoint says, after checking that this run can go on exactly where that one was.
static heed_status take_state(train_run *r, run_fault *fault, heed_error *error) {
    trainer_state old;
    heed_status status = checkpoint_read_state(r->resume, &old, error);
    if (status != HEED_OK) return status;
    trainer_state *now = &r->at;
    *fault = FAULT_USAGE;
    const struct { const char *name; int64_t was, is; } same[] = {
        {"--seed", old.seed, now->seed}, {"--batch_size", old.batch_size, now->batch_size},
        {"--gradient_accumulation_steps", old.accumulation, now->accumulation},
    };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        if (same[i].was != same[i].is)
            return error_set(error, HEED_INVALID, "%s is %lld, but the run to resume had %lld; a resumed run takes the same steps",
                             same[i].name,
                             (long long)same[i].is, (long long)same[i].was);
    if (old.data != now->data || old.rows != now->rows)
        return error_set(error, HEED_INVALID,
                         "the rows differ from those of the run to resume (it had %lld, now there are %lld): the data sets, "
                         "their rates, the tokenizer, --max_length and packing must be the same", (long long)old.rows,
                         (long long)now->rows);
    const run_output *out = r->asked->out;
    if (old.threads != now->threads)
        output_line(out, LINE_NOTE, "resumed with --threads %lld instead of %lld: losses may differ in their last bits",
                    (long long)now->threads,
                    (long long)old.threads);
    if (old.bf16 != now->bf16)
        output_line(out, LINE_NOTE, "resumed in %s, it was %s: from here on it differs", now->bf16 ? "bf16" : "f32",
                    old.bf16 ? "bf16" : "f32");
    if (old.steps != now->steps || old.learning_rate != now->learning_rate || strcmp(old.schedule, now->schedule) != 0)
        output_line(out, LINE_NOTE,
                    "resumed with another learning rate, schedule or length (%lld steps, it had %lld): from here on it differs",
                    (long long)now->steps, (long long)old.steps);
    *fault = FAULT_FILE;
    now->step = old.step;
    now->tokens = old.tokens;
    now->loss_sum = old.loss_sum;
    now->window_loss = old.window_loss;
    now->window_steps = old.window_steps;
    now->evaluation_due = old.evaluation_due;
    now->skipped = old.skipped;
    now->skipped_in_row = old.skipped_in_row;
    take_judgements(r, &old);
    return checkpoint_read_moments(r->resume, r->from.model, &r->moments, error);
}

static void say_dropout(const train_run *r) {
    const model_config *c = model_config_of(r->from.model);
    if (c->dropout_embedding == 0 && c->dropout_attention == 0 && c->dropout_residual == 0) return;
    output_line(r->asked->out, LINE_NOTE,
                "dropout as the model's config has it: embd_pdrop %g, attn_pdrop %g, resid_pdrop %g; none in evaluation",
                c->dropout_embedding, c->dropout_attention, c->dropout_residual);
}

// Never chosen silently: runs on two machines must be comparable.
static void suggest_bf16(const train_run *r) {
    enum { WORTH_IT = 10 << 20 };    // parameters; products of smaller models take a smaller share of a step
    int64_t count, elements = 0;
    const parameter *p = model_parameters(r->from.model, &count);
    for (int64_t i = 0; i < count; i++) elements += parameter_count(&p[i]);
    if (r->o.bf16 || elements < WORTH_IT || (cpu_features() & CPU_BF16) == 0) return;
    if (json_object_get(r->asked->given, "fp32") != NULL) return;
    output_line(r->asked->out, LINE_NOTE, "this CPU multiplies bf16 about twice as fast as f32: --bf16 trains with f32 weights and "
                "bf16 products");
}

static heed_status prepare_model(train_run *r, heed_error *error) {
    const int n_threads = (int)r->o.threads;
    heed_status status = model_set_threads(r->from.model, n_threads, error);
    if (status == HEED_OK) status = model_set_attention(r->from.model, &r->attention, true, error);
    if (status == HEED_OK) status = model_set_precision(r->from.model, r->o.bf16 ? HEED_BF16 : HEED_F32, error);
    model_set_recompute(r->from.model, r->o.gradient_checkpointing);
    if (status == HEED_OK) status = engine_create(&r->engine, n_threads, NULL, error);
    if (status == HEED_OK) status = moments_create(&r->moments, r->from.model, error);
    return status;
}

// ---- all together ----

static heed_status open_run(train_run *r, run_fault *fault, heed_error *error) {
    *fault = FAULT_USAGE;
    heed_status status = attention_choice_check(&r->attention, true, error);
    if (status != HEED_OK) return status;
    *fault = FAULT_FILE;
    status = run_find_resume(r, error);
    if (status != HEED_OK) return status;
    *fault = FAULT_USAGE;
    status = run_check_folder(r, error);
    if (status != HEED_OK) return status;
    status = sources_check_splits(&r->o, error);
    if (status != HEED_OK) return status;
    *fault = FAULT_FILE;
    if (r->resume != NULL) status = checkpoint_check(r->resume, error);
    if (status == HEED_OK) status = open_sources(r, error);
    if (status != HEED_OK) return status;
    *fault = FAULT_USAGE;
    status = sources_check_length(&r->from, &r->o, error);
    if (status != HEED_OK) return status;
    *fault = FAULT_FILE;
    status = make_rows(r, error);
    if (status == HEED_OK) status = prepare_model(r, error);
    if (status != HEED_OK) return status;
    *fault = FAULT_USAGE;
    status = plan_steps(r, error);
    if (status != HEED_OK) return status;
    describe_state(r);
    say_dropout(r);
    suggest_bf16(r);
    *fault = FAULT_FILE;
    if (r->resume != NULL) status = take_state(r, fault, error);
    if (status == HEED_OK) status = run_open_folder(r, fault, error);
    return status;
}

static void close_run(train_run *r) {
    batch_free(&r->batch);
    run_log_close(&r->log);
    folder_lock_drop(r->lock);
    moments_free(&r->moments);
    engine_destroy(&r->engine);
    mixture_free(&r->learn);
    judge_free(&r->judge);
    sources_close(&r->from);
    free(r->order);
    free(r->resume);
    free(r->checkpoints);
    free(r->owned_folder);
}

run_fault run_train(const run_request *asked, heed_error *error) {
    train_run r = {.asked = asked, .o = asked->options, .order_epoch = -1, .saved = -1, .log = {.metrics = -1}};
    if (r.o.threads == 0) r.o.threads = threads_available();
    r.attention = (attention_choice){.name = r.o.attn_implementation, .preset = r.o.attn_preset, .threads = (int)r.o.threads,
                                     .fallback_refuse = r.o.attn_fallback == FALLBACK_REFUSE,
                                         .disable_mps_fix = r.o.disable_mps_fix};
    for (int i = 0; i < asked->notes->count; i++) output_line(asked->out, LINE_NOTE, "%s", asked->notes->text[i]);
    run_fault fault = FAULT_FILE;
    heed_status status = stop_watch(error);
    if (status == HEED_OK) status = open_run(&r, &fault, error);
    if (status == HEED_OK) {
        fault = FAULT_NONE;
        status = run_loop(&r, &fault, error);
        if (status != HEED_OK && fault == FAULT_NONE) fault = FAULT_FILE;
        heed_error second;
        const heed_status told = report_end(&r, fault, &second);
        if (status == HEED_OK && told != HEED_OK) {
            if (error != NULL) *error = second;
            fault = FAULT_FILE;
        }
    }
    if (status == HEED_REFUSED && fault != FAULT_NOT_FINITE) fault = FAULT_REFUSED;
    output_live_clear(asked->out);
    close_run(&r);
    return fault;
}
