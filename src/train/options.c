// SPDX-License-Identifier: Apache-2.0
#include "train/options.h"

#include "base/text.h"
#include "train/evaluate.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const train_modes[] = {"pretrain", "sft", "rl", NULL};
const char *const when_names[] = {"no", "steps", "epoch", NULL};
const char *const save_names[] = {"no", "steps", "epoch", "best", NULL};
const char *const truth_names[] = {"false", "true", NULL};
const char *const schedule_names[] = {"linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup",
                                      "inverse_sqrt", "reduce_lr_on_plateau", "cosine_with_min_lr", NULL};
const char *const padding_sides[] = {"left", "right", NULL};
const char *const on_nan_names[] = {"stop", "skip", NULL};
const char *const fallback_names[] = {"warn", "refuse", NULL};

static void note(option_notes *notes, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void note(option_notes *notes, const char *format, ...) {
    if (notes->count == OPTION_NOTES) return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(notes->text[notes->count++], sizeof notes->text[0], format, arguments);
    va_end(arguments);
}

// An option that was given though nothing would look at it.
typedef struct { bool idle; const char *name, *why; } idle_option;

static heed_status refuse_idle(const idle_option *list, size_t n, const options_given *given, heed_error *error) {
    for (size_t i = 0; i < n; i++)
        if (list[i].idle && given->has(given->context, list[i].name))
            return error_set(error, HEED_INVALID, "%s has no effect here: %s", list[i].name, list[i].why);
    return HEED_OK;
}

// Values of built options that are built later: meaningful, and refused.
static heed_status refuse_later(const train_options *o, heed_error *error) {
    if (o->mode != TRAIN_PRETRAIN)
        return error_set(error, HEED_REFUSED, "--mode %s is not built yet; pretrain is", train_modes[o->mode]);
    const char *device = o->device;
    if (strcmp(device, "vulkan") == 0 || strcmp(device, "cuda") == 0 || strcmp(device, "mps") == 0)
        return error_set(error, HEED_REFUSED, "--device %s is not built yet; auto and cpu are", device);
    if (strcmp(device, "auto") != 0 && strcmp(device, "cpu") != 0)
        return error_set(error, HEED_INVALID,
                         "--device is \"%.40s\"; it must be one of: auto, cpu (vulkan, cuda and mps are not built yet)", device);
    return HEED_OK;
}

// Cuts `list` at its commas, in place; -1: more than there is room for. An empty item is "".
static int64_t cut(char *list, const char **item) {
    int64_t n = 0;
    for (char *rest = list, *one; (one = strsep(&rest, ",")) != NULL;) {
        if (n == MEMBERS_MOST) return -1;
        item[n++] = one;
    }
    return n;
}

static heed_status take_rates(member_list *m, const char *const *text, int64_t count, heed_error *error) {
    double sum = 0;
    if (count != m->count)
        return error_set(error, HEED_INVALID, "--mixture_rates has %lld rate%s, but --datasets %lld data sets; as many are needed",
                         (long long)count, count == 1 ? "" : "s", (long long)m->count);
    for (int64_t i = 0; i < count; i++) {
        if (!text_to_double(text[i], &m->rate[i]) || !(m->rate[i] > 0))
            return error_set(error, HEED_INVALID, "--mixture_rates: \"%.40s\" is no rate; a number above 0 is needed", text[i]);
        sum += m->rate[i];
    }
    if (fabs(sum - 1) <= 1e-6) return HEED_OK;
    return error_set(error, HEED_INVALID, "--mixture_rates add up to %.9g; they must add up to 1", sum);
}

static const char *text_or_none(const char *text) { return text != NULL ? text : ""; }

static heed_status take_members(const train_options *o, member_list *m, heed_error *error) {
    const char *lists[] = {o->datasets, text_or_none(o->dataset_configs), text_or_none(o->mixture_rates)};
    const size_t room[] = {strlen(lists[0]) + 1, strlen(lists[1]) + 1, strlen(lists[2]) + 1};
    const char *config[MEMBERS_MOST], *rate[MEMBERS_MOST];
    m->memory = malloc(room[0] + room[1] + room[2]);
    if (m->memory == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for a list of data sets");
    char *at[] = {m->memory, m->memory + room[0], m->memory + room[0] + room[1]};
    for (int i = 0; i < 3; i++) memcpy(at[i], lists[i], room[i]);
    m->count = cut(at[0], m->name);
    const int64_t configs = cut(at[1], config), rates = cut(at[2], rate);
    if (m->count < 2)
        return error_set(error, HEED_INVALID, "--datasets names %s; from 2 to %d, with commas between them, are allowed",
                         m->count < 0 ? "more than there is room for" : "one data set", MEMBERS_MOST);
    for (int64_t i = 0; i < m->count; i++)
        if (*m->name[i] == 0)
            return error_set(error, HEED_INVALID, "--datasets %.60s: a name between two commas is empty", o->datasets);
    if (o->dataset_configs != NULL && configs != m->count)
        return error_set(error, HEED_INVALID, "--dataset_configs has %lld names, but --datasets %lld data sets; as many are needed "
                         "(an empty one for none)", (long long)configs, (long long)m->count);
    for (int64_t i = 0; o->dataset_configs != NULL && i < m->count; i++) m->config[i] = *config[i] != 0 ? config[i] : NULL;
    for (int64_t i = 0; i < m->count; i++)
        for (int64_t j = 0; j < i; j++)
            if (strcmp(m->name[i], m->name[j]) == 0 && strcmp(text_or_none(m->config[i]), text_or_none(m->config[j])) == 0)
                return error_set(error, HEED_INVALID, "--datasets names %.60s twice; a larger rate gives it more rows", m->name[i]);
    return o->mixture_rates != NULL ? take_rates(m, rate, rates, error) : HEED_OK;
}

heed_status options_members(const train_options *o, member_list *m, heed_error *error) {
    *m = (member_list){.count = 1, .name = {o->dataset}, .config = {o->dataset_config}};
    if (o->datasets == NULL) return HEED_OK;
    const heed_status status = take_members(o, m, error);
    if (status == HEED_OK) return HEED_OK;
    free(m->memory);
    m->memory = NULL;
    return status;
}

static heed_status settle_members(const train_options *o, const options_given *given, heed_error *error) {
    const bool one = o->datasets == NULL, never = o->eval_strategy == WHEN_NO && !o->eval_on_start;
    const idle_option idle[] = {
        {!one, "--dataset", "--datasets names what is trained on"},
        {!one, "--dataset_config", "--datasets names several; --dataset_configs has one for each"},
        {one, "--dataset_configs", "it belongs to --datasets"},
        {one, "--mixture_rates", "it belongs to --datasets"},
        {never, "--eval_split", "nothing is evaluated with --eval_strategy no"},
    };
    heed_status status = refuse_idle(idle, sizeof idle / sizeof *idle, given, error);
    member_list members = {0};
    if (status == HEED_OK) status = options_members(o, &members, error);
    free(members.memory);
    return status;
}

static heed_status settle_rows(train_options *o, const options_given *given, heed_error *error) {
    const bool row_given = given->has(given->context, "--packing_max_length"), piece_given = given->has(given->context,
        "--max_length");
    const idle_option idle[] = {
        {!o->use_packing, "--packing_max_length", "rows are not packed without --use_packing"},
        {!o->use_packing, "--packing_leak", "rows are not packed without --use_packing"},
        {o->use_packing && row_given && o->max_length > o->packing_max_length, "--max_length",
         "it limits a document's pieces, and --packing_max_length makes the rows shorter than that"},
    };
    const heed_status status = refuse_idle(idle, sizeof idle / sizeof *idle, given, error);
    if (status != HEED_OK) return status;
    o->row_given = row_given;
    if (!row_given) o->packing_max_length = o->max_length;
    else if (!piece_given) o->max_length = o->packing_max_length;
    return HEED_OK;
}

static heed_status settle_attention(train_options *o, const options_given *given, option_notes *notes, heed_error *error) {
    const idle_option idle[] = {
        {o->attn_preset == NULL || strcmp(o->attn_preset, "mps_pre28") != 0, "--disable_mps_fix",
         "it belongs to --attn_preset mps_pre28"},
        {o->eval_strategy == WHEN_NO && !o->eval_on_start, "--disable_mps_fix",
         "the old operator was used in evaluation only, and nothing "
         "is evaluated"},
    };
    const heed_status status = refuse_idle(idle, sizeof idle / sizeof *idle, given, error);
    if (status != HEED_OK) return status;
    if (o->disable_mps_fix) note(notes, "--disable_mps_fix: in evaluation, a row that sees no key is NaN, which stops the run");
    if (!o->use_flash_attention) return HEED_OK;
    if (strcmp(o->attn_implementation, "auto") != 0)
        return error_set(error, HEED_INVALID,
                         "--use_flash_attention has no effect here: --attn_implementation is %.40s, and the alias stands "
                         "for flash_attention_2 only where that is auto", o->attn_implementation);
    o->attn_implementation = "flash_attention_2";
    note(notes, "--use_flash_attention is deprecated; it stands for --attn_implementation flash_attention_2");
    return HEED_OK;
}

static heed_status settle_steps(train_options *o, const options_given *given, option_notes *notes, heed_error *error) {
    const bool constant = o->lr_scheduler_type == SCHEDULE_CONSTANT;
    const bool plateau = o->lr_scheduler_type == SCHEDULE_REDUCE_LR_ON_PLATEAU;
    const idle_option idle[] = {
        {constant, "--warmup_steps", "the constant schedule has no warm-up; constant_with_warmup has"},
        {constant, "--warmup_ratio", "the constant schedule has no warm-up; constant_with_warmup has"},
        {plateau, "--warmup_steps", "reduce_lr_on_plateau has no warm-up"},
        {plateau, "--warmup_ratio", "reduce_lr_on_plateau has no warm-up"},
    };
    const heed_status status = refuse_idle(idle, sizeof idle / sizeof *idle, given, error);
    if (status != HEED_OK) return status;
    if (!(o->num_train_epochs > 0))
        return error_set(error, HEED_INVALID, "--num_train_epochs is %g; it must be above 0", o->num_train_epochs);
    if (plateau && o->eval_strategy == WHEN_NO)
        return error_set(error, HEED_INVALID, "--lr_scheduler_type reduce_lr_on_plateau follows the evaluations, and "
                         "--eval_strategy is no; steps or epoch is needed");
    if (o->lr_scheduler_type == SCHEDULE_COSINE_WITH_MIN_LR && !given->has(given->context, "--lr_scheduler_kwargs"))
        note(notes, "cosine_with_min_lr ends at %g of --learning_rate; another: --lr_scheduler_kwargs '{\"min_lr_rate\": 0.2}'",
             SCHEDULE_MIN_LR_RATE);
    if (o->max_steps > 0 && given->has(given->context, "--num_train_epochs"))
        note(notes, "--max_steps %lld wins over --num_train_epochs", (long long)o->max_steps);
    if (o->warmup_ratio > 0 && given->has(given->context, "--warmup_steps"))
        note(notes, "--warmup_ratio %g wins over --warmup_steps", o->warmup_ratio);
    return HEED_OK;
}

static heed_status settle_evaluation(train_options *o, const options_given *given, option_notes *notes, heed_error *error) {
    const bool steps_given = given->has(given->context, "--eval_steps");
    if (steps_given && !given->has(given->context, "--eval_strategy")) {
        o->eval_strategy = WHEN_STEPS;
        note(notes, "--eval_steps %lld alone means --eval_strategy steps", (long long)o->eval_steps);
    }
    if (o->eval_strategy == WHEN_STEPS && !steps_given) o->eval_steps = o->logging_steps;    // as the Hugging Face Trainer
    const bool never = o->eval_strategy == WHEN_NO && !o->eval_on_start;
    const idle_option idle[] = {
        {o->eval_strategy != WHEN_STEPS, "--eval_steps", "--eval_strategy is not steps"},
        {never, "--eval_dataset", "nothing is evaluated with --eval_strategy no"},
        {never, "--eval_max_batches", "nothing is evaluated with --eval_strategy no"},
    };
    if (o->eval_max_batches == 0 || o->eval_max_batches < -1)
        return error_set(error, HEED_INVALID, "--eval_max_batches is %lld; it must be -1 (all) or at least 1",
                         (long long)o->eval_max_batches);
    return refuse_idle(idle, sizeof idle / sizeof *idle, given, error);
}

static heed_status settle_best(train_options *o, const options_given *given, heed_error *error) {
    const bool never = o->eval_strategy == WHEN_NO;
    const idle_option idle[] = {
        {never, "--metric_for_best_model", "nothing is evaluated with --eval_strategy no"},
        {never, "--greater_is_better", "nothing is evaluated with --eval_strategy no"},
        {never, "--load_best_model_at_end", "nothing is evaluated with --eval_strategy no"},
    };
    const heed_status status = refuse_idle(idle, sizeof idle / sizeof *idle, given, error);
    if (status != HEED_OK) return status;
    o->metric_given = given->has(given->context, "--metric_for_best_model");
    if (o->metric_for_best_model == NULL) o->metric_for_best_model = evaluation_metrics[0];
    if (!evaluation_metric(NULL, o->metric_for_best_model, NULL))
        return error_set(error, HEED_INVALID, "--metric_for_best_model is \"%.40s\"; it must be one of: %s, %s, %s",
                         o->metric_for_best_model, evaluation_metrics[0], evaluation_metrics[1], evaluation_metrics[2]);
    if (o->save_strategy == WHEN_BEST && never)
        return error_set(error, HEED_INVALID, "--save_strategy best follows the evaluations, and --eval_strategy is no; steps or "
                         "epoch is needed");
    if (!o->load_best_model_at_end || o->save_strategy == WHEN_BEST) return HEED_OK;
    if (o->save_strategy != o->eval_strategy)
        return error_set(error, HEED_INVALID, "--load_best_model_at_end needs a checkpoint of what is evaluated: --save_strategy "
                         "is %s and --eval_strategy %s; they must be the same, or --save_strategy best",
                         save_names[o->save_strategy], when_names[o->eval_strategy]);
    if (o->save_strategy == WHEN_STEPS && o->save_steps % o->eval_steps != 0)
        return error_set(error, HEED_INVALID, "--load_best_model_at_end needs a checkpoint of what is evaluated: --save_steps is "
                         "%lld; it must be a multiple of --eval_steps, %lld", (long long)o->save_steps, (long long)o->eval_steps);
    return HEED_OK;
}

static heed_status settle_folder(train_options *o, const options_given *given, heed_error *error) {
    const bool resumes = o->resume_from_checkpoint != NULL;
    const idle_option idle[] = {
        {o->save_strategy != WHEN_STEPS, "--save_steps", "--save_strategy is not steps"},
        {o->save_strategy == WHEN_NO, "--save_total_limit", "only the final checkpoint is written with --save_strategy no"},
        {resumes, "--overwrite", "--resume_from_checkpoint goes on with the run that is there"},
        {o->output_dir == NULL, "--overwrite", "without --output_dir the run gets a new folder"},
        {o->json, "--quiet", "--json prints objects, and none of the lines that it leaves out"},
    };
    if (resumes && strcmp(o->resume_from_checkpoint, "latest") == 0 && o->output_dir == NULL)
        return error_set(error, HEED_INVALID,
                         "--resume_from_checkpoint latest needs --output_dir: the folder of the run to go on with");
    return refuse_idle(idle, sizeof idle / sizeof *idle, given, error);
}

heed_status options_settle(train_options *o, const options_given *given, option_notes *notes, heed_error *error) {
    *notes = (option_notes){0};
    heed_status status = settle_rows(o, given, error);
    if (status == HEED_OK) status = settle_evaluation(o, given, notes, error);
    if (status == HEED_OK) status = settle_members(o, given, error);
    if (status == HEED_OK) status = settle_steps(o, given, notes, error);
    if (status == HEED_OK) status = settle_attention(o, given, notes, error);
    if (status == HEED_OK) status = settle_best(o, given, error);
    if (status == HEED_OK) status = settle_folder(o, given, error);
    if (status == HEED_OK) status = refuse_later(o, error);    // last: what has no meaning is that, whatever is not built
    if (status == HEED_OK && o->bf16 && given->has(given->context, "--fp32"))
        status = error_set(error, HEED_INVALID, "--fp32 and --bf16 exclude each other: a run computes in one of them");
    o->fp32 = !o->bf16;
    return status;
}
