// SPDX-License-Identifier: Apache-2.0
// What a run of `heed train` was asked to do. cli/train.c holds the table that fills this struct; here is what its fields
// mean together: which combinations are refused, and what the effective values are.
#pragma once

#include "base/error.h"

typedef enum { TRAIN_PRETRAIN, TRAIN_SFT, TRAIN_RL } train_mode;
typedef enum { WHEN_NO, WHEN_STEPS, WHEN_EPOCH, WHEN_BEST } when;    // evaluation and checkpoints; best: checkpoints only
typedef enum {
    SCHEDULE_LINEAR, SCHEDULE_COSINE, SCHEDULE_COSINE_WITH_RESTARTS, SCHEDULE_POLYNOMIAL, SCHEDULE_CONSTANT,
    SCHEDULE_CONSTANT_WITH_WARMUP, SCHEDULE_INVERSE_SQRT, SCHEDULE_REDUCE_LR_ON_PLATEAU, SCHEDULE_COSINE_WITH_MIN_LR
} schedule_kind;
#define SCHEDULE_MIN_LR_RATE 0.1    // of cosine_with_min_lr, where neither min_lr nor min_lr_rate is given
enum { PAD_LEFT, PAD_RIGHT };
enum { ON_NAN_STOP, ON_NAN_SKIP };
enum { FALLBACK_WARN, FALLBACK_REFUSE };

// The names of the values above, in their order; each ends in NULL.
extern const char *const train_modes[], *const when_names[], *const save_names[], *const schedule_names[], *const padding_sides[];
extern const char *const on_nan_names[], *const fallback_names[], *const truth_names[];

typedef struct {
    // what is trained on what
    const char *model, *tokenizer, *dataset, *dataset_config, *eval_dataset, *eval_split;
    const char *datasets, *dataset_configs, *mixture_rates;    // lists between commas
    bool from_scratch;
    int mode;
    // rows and batches
    int64_t max_length, batch_size, gradient_accumulation_steps, packing_max_length;
    int padding_side;
    bool use_packing, packing_leak, row_given;    // row_given: --packing_max_length was
    // where and how attention runs
    const char *device, *attn_implementation, *attn_preset;
    int attn_fallback;
    bool disable_mps_fix, use_flash_attention;
    int64_t threads;
    // steps
    int64_t max_steps, warmup_steps;
    double num_train_epochs, learning_rate, warmup_ratio, weight_decay, adam_beta1, adam_beta2, adam_epsilon, max_grad_norm;
    int lr_scheduler_type;
    const char *lr_scheduler_kwargs;    // a JSON object; NULL: {}
    bool fp32, bf16, gradient_checkpointing;
    int on_nan;
    // evaluation, checkpoints, records
    int eval_strategy, save_strategy;
    int64_t eval_steps, eval_max_batches, save_steps, save_total_limit, logging_steps, seed;
    bool eval_on_start;
    const char *metric_for_best_model;
    int greater_is_better;    // a truth
    bool load_best_model_at_end, metric_given;
    const char *resume_from_checkpoint, *output_dir;
    bool overwrite, quiet, json;
    // known, built later: the parser refuses them, so these are never looked at
    const char *later_text;
    int64_t later_int;
    double later_real;
    bool later_flag;
} train_options;

// What is trained on, as the options name it: --dataset alone, or the members of --datasets.
enum { MEMBERS_MOST = 64 };
typedef struct {
    char *memory;
    int64_t count;
    const char *name[MEMBERS_MOST], *config[MEMBERS_MOST];    // config NULL: none
    double rate[MEMBERS_MOST];                                // all 0: by the members' rows
} member_list;
heed_status options_members(const train_options *, member_list *, heed_error *);    // free(memory)

// Which options the user gave, whatever their values.
typedef struct {
    const void *context;
    bool (*has)(const void *context, const char *name);    // "--eval_steps"
} options_given;

enum { OPTION_NOTES = 8 };
typedef struct { int count; char text[OPTION_NOTES][160]; } option_notes;    // sentences the user should read

// The best checkpoint is kept, whatever --save_total_limit says.
static inline bool options_keep_best(const train_options *o) { return o->load_best_model_at_end || o->metric_given; }

// Checks what the options mean together and replaces what one of them implies about another (--eval_steps alone, the
// deprecated alias, ratio over steps). HEED_INVALID: a usage error; HEED_REFUSED: meaningful, but not built.
heed_status options_settle(train_options *, const options_given *, option_notes *, heed_error *);
