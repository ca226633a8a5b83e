// SPDX-License-Identifier: Apache-2.0
// heed train: the table of its options, and the translation of how a run ended into an exit status. The run is src/train.
#include <string.h>

#include "cli/args.h"
#include "cli/status.h"
#include "cli/train_output.h"
#include "cli/verbs.h"
#include "train/run.h"
#include "train/stop.h"

static const char not_built[] = "not built yet";
static const char only_sft[] = "not built yet: it belongs to --mode sft";
static const char only_rl[] = "not built yet: it belongs to --mode rl";

enum { COUNT_MOST = 1 << 30 };

static const option options[] = {
    {.name = "--model", .kind = OPTION_TEXT, .offset = offsetof(train_options, model), .standard = "gpt2-nano",
     .group = "Model and data",
     .help = "a folder, a model in the Hugging Face cache, or a built-in size: gpt2-nano, gpt2-124m"},
    {.name = "--from_scratch", .kind = OPTION_FLAG, .offset = offsetof(train_options, from_scratch), .group = "Model and data",
     .help = "random weights for the model's config; built-in sizes are always that"},
    {.name = "--tokenizer", .kind = OPTION_TEXT, .offset = offsetof(train_options, tokenizer),
     .standard_words = "the model's; bytes for a built-in size",
     .group = "Model and data", .help = "a folder with vocab.json and merges.txt, or tokenizer.json"},
    {.name = "--mode", .kind = OPTION_CHOICE, .offset = offsetof(train_options, mode), .standard = "pretrain",
     .choices = train_modes, .group = "Model and data",
     .help = "what the loss is over; sft and rl are not built yet"},
    {.name = "--dataset", .kind = OPTION_TEXT, .offset = offsetof(train_options, dataset), .standard = "demo",
     .group = "Model and data",
     .help = "a .txt, .jsonl, .csv, .tsv or .bin file, a folder of them, a data set in the Hugging Face cache, or demo: a "
             "generated language whose best possible loss is known"},
    {.name = "--dataset_config", .kind = OPTION_TEXT, .offset = offsetof(train_options, dataset_config),
     .group = "Model and data", .help = "the folder of one configuration of a data set"},
    {.name = "--datasets", .kind = OPTION_TEXT, .offset = offsetof(train_options, datasets), .group = "Model and data",
     .help = "a mixture: data sets with commas between them, each evaluated apart"},
    {.name = "--dataset_configs", .kind = OPTION_TEXT, .offset = offsetof(train_options, dataset_configs),
     .group = "Model and data", .help = "of a mixture: as many names, empty for none"},
    {.name = "--mixture_rates", .kind = OPTION_TEXT, .offset = offsetof(train_options, mixture_rates),
     .standard_words = "by the number of rows", .group = "Model and data",
     .help = "of a mixture: shares of the rows, which add up to 1"},
    {.name = "--eval_dataset", .kind = OPTION_TEXT, .offset = offsetof(train_options, eval_dataset),
     .standard_words = "the data set's validation split, else its last 5 %",
     .group = "Model and data", .help = "what evaluation reads"},
    {.name = "--eval_split", .kind = OPTION_TEXT, .offset = offsetof(train_options, eval_split), .group = "Model and data",
     .standard_words = "validation, else test", .help = "which split of a data set in several files"},

    {.name = "--max_length", .kind = OPTION_INT, .offset = offsetof(train_options, max_length), .standard = "128", .least = 2,
     .most = COUNT_MOST, .group = "Rows",
     .help = "tokens a row; longer documents are cut into consecutive rows"},
    {.name = "--batch_size", .kind = OPTION_INT, .offset = offsetof(train_options, batch_size), .standard = "8", .least = 1,
     .most = COUNT_MOST, .group = "Rows",
     .help = "rows a batch"},
    {.name = "--gradient_accumulation_steps", .kind = OPTION_INT, .offset = offsetof(train_options, gradient_accumulation_steps),
     .standard = "1", .least = 1,
     .most = COUNT_MOST, .group = "Rows", .help = "batches a step; the loss is the mean over all their scored tokens"},
    {.name = "--padding_side", .kind = OPTION_CHOICE, .offset = offsetof(train_options, padding_side), .standard = "left",
     .choices = padding_sides, .group = "Rows",
     .help = "where shorter rows are filled up"},
    {.name = "--use_packing", .kind = OPTION_FLAG, .offset = offsetof(train_options, use_packing), .group = "Rows",
     .help = "documents follow one another until the row is full; attention stays inside a document"},
    {.name = "--packing_max_length", .kind = OPTION_INT, .offset = offsetof(train_options, packing_max_length),
     .standard_words = "max_length", .least = 2,
     .most = COUNT_MOST, .group = "Rows", .help = "tokens a packed row"},
    {.name = "--packing_leak", .kind = OPTION_FLAG, .offset = offsetof(train_options, packing_leak), .group = "Rows",
     .help = "let packed documents see each other, for comparison"},

    {.name = "--device", .kind = OPTION_TEXT, .offset = offsetof(train_options, device), .standard = "auto",
     .group = "Attention and machine", .help = "auto or cpu"},
    {.name = "--attn_implementation", .kind = OPTION_TEXT, .offset = offsetof(train_options, attn_implementation),
     .standard = "auto", .group = "Attention and machine",
     .help = "auto, eager, sdpa, flash_attention_2, flash_attention_3, flex_attention, paged_attention, or a name of `heed list`"},
    {.name = "--attn_fallback", .kind = OPTION_CHOICE, .offset = offsetof(train_options, attn_fallback), .standard = "warn",
     .choices = fallback_names,
     .group = "Attention and machine",
         .help = "when it cannot run a problem: take the documented substitute and say so, or refuse"},
    {.name = "--attn_preset", .kind = OPTION_TEXT, .offset = offsetof(train_options, attn_preset),
     .standard_words = "the name's own", .group = "Attention and machine",
     .help = "numerical conventions: heed, torch, flash_attention_2, mps_pre28, ..."},
    {.name = "--disable_mps_fix", .kind = OPTION_FLAG, .offset = offsetof(train_options, disable_mps_fix),
     .group = "Attention and machine",
     .help = "with --attn_preset mps_pre28: let its NaN through"},
    {.name = "--use_flash_attention", .kind = OPTION_FLAG, .offset = offsetof(train_options, use_flash_attention),
     .group = "Attention and machine",
     .help = "deprecated: --attn_implementation flash_attention_2"},
    {.name = "--threads", .kind = OPTION_INT, .offset = offsetof(train_options, threads), .standard_words = "all cores", .least = 1,
     .most = 1024,
     .group = "Attention and machine", .help = "results are bit-identical at equal thread count"},
    {.name = "--fp32", .kind = OPTION_FLAG, .offset = offsetof(train_options, fp32), .group = "Attention and machine",
     .help = "compute in f32: what runs anyway"},
    {.name = "--bf16", .kind = OPTION_FLAG, .offset = offsetof(train_options, bf16), .group = "Attention and machine",
     .help = "products in bf16, with f32 weights, sums and moments: about twice as fast where the CPU has them"},
    {.name = "--fp16", .kind = OPTION_FLAG, .offset = offsetof(train_options, later_flag), .group = "Attention and machine",
     .help = "refused on a CPU",
     .later = "training in f16 is refused on a CPU; fp32 is what runs"},
    {.name = "--gradient_checkpointing", .kind = OPTION_FLAG, .offset = offsetof(train_options, gradient_checkpointing),
     .group = "Attention and machine",
     .help = "recompute blocks in backward: less memory, a third more time, the same bits"},

    {.name = "--max_steps", .kind = OPTION_INT, .offset = offsetof(train_options, max_steps), .standard_words = "by epochs",
     .least = 1, .most = COUNT_MOST, .group = "Steps",
     .help = "wins over --num_train_epochs"},
    {.name = "--num_train_epochs", .kind = OPTION_REAL, .offset = offsetof(train_options, num_train_epochs), .standard = "1",
     .group = "Steps", .help = "times through the data"},
    {.name = "--learning_rate", .kind = OPTION_REAL, .offset = offsetof(train_options, learning_rate), .standard = "5e-5",
     .least = 0, .most = 1e12, .group = "Steps",
     .help = "the highest of the schedule"},
    {.name = "--lr_scheduler_type", .kind = OPTION_CHOICE, .offset = offsetof(train_options, lr_scheduler_type),
     .standard = "linear", .choices = schedule_names,
     .group = "Steps", .help = "by transformers' formulas"},
    {.name = "--lr_scheduler_kwargs", .kind = OPTION_TEXT, .offset = offsetof(train_options, lr_scheduler_kwargs), .group = "Steps",
     .help = "what a schedule takes besides, as a JSON object: '{\"num_cycles\": 3}'"},
    {.name = "--warmup_steps", .kind = OPTION_INT, .offset = offsetof(train_options, warmup_steps), .standard = "0", .least = 0,
     .most = COUNT_MOST, .group = "Steps",
     .help = "steps in which the rate rises from 0"},
    {.name = "--warmup_ratio", .kind = OPTION_REAL, .offset = offsetof(train_options, warmup_ratio), .standard = "0", .least = 0,
     .most = 1, .group = "Steps",
     .help = "the same as a share of all steps; wins"},
    {.name = "--weight_decay", .kind = OPTION_REAL, .offset = offsetof(train_options, weight_decay), .standard = "0", .least = 0,
     .most = 1e6, .group = "Steps",
     .help = "AdamW's, not on norms and biases"},
    {.name = "--adam_beta1", .kind = OPTION_REAL, .offset = offsetof(train_options, adam_beta1), .standard = "0.9", .least = 0,
     .most = 0.9999999, .group = "Steps", .help = "first moment"},
    {.name = "--adam_beta2", .kind = OPTION_REAL, .offset = offsetof(train_options, adam_beta2), .standard = "0.999", .least = 0,
     .most = 0.9999999, .group = "Steps", .help = "second moment"},
    {.name = "--adam_epsilon", .kind = OPTION_REAL, .offset = offsetof(train_options, adam_epsilon), .standard = "1e-8", .least = 0,
     .most = 1, .group = "Steps", .help = "AdamW's"},
    {.name = "--max_grad_norm", .kind = OPTION_REAL, .offset = offsetof(train_options, max_grad_norm), .standard = "1", .least = 0,
     .most = 1e30, .group = "Steps",
     .help = "clip the gradient's norm to this; 0: never"},
    {.name = "--seed", .kind = OPTION_INT, .offset = offsetof(train_options, seed), .standard = "42", .least = 0, .most = 9e15,
     .group = "Steps",
     .help = "everything random: weights, the order of rows, the demo language"},
    {.name = "--on_nan", .kind = OPTION_CHOICE, .offset = offsetof(train_options, on_nan), .standard = "stop",
     .choices = on_nan_names, .group = "Steps",
     .help = "what a NaN or infinity in a step does; skip leaves the model as it is, and counts"},

    {.name = "--eval_strategy", .kind = OPTION_CHOICE, .offset = offsetof(train_options, eval_strategy), .standard = "epoch",
     .choices = when_names,
     .group = "Evaluation and checkpoints", .help = "when to evaluate; also after the last step, unless no"},
    {.name = "--eval_steps", .kind = OPTION_INT, .offset = offsetof(train_options, eval_steps), .standard_words = "logging_steps",
     .least = 1, .most = COUNT_MOST,
     .group = "Evaluation and checkpoints", .help = "alone it means --eval_strategy steps"},
    {.name = "--eval_on_start", .kind = OPTION_FLAG, .offset = offsetof(train_options, eval_on_start),
     .group = "Evaluation and checkpoints", .help = "evaluate at step 0"},
    {.name = "--eval_max_batches", .kind = OPTION_INT, .offset = offsetof(train_options, eval_max_batches), .standard = "-1",
     .group = "Evaluation and checkpoints",
     .help = "-1: all; fewer are called truncated"},
    {.name = "--metric_for_best_model", .kind = OPTION_TEXT, .offset = offsetof(train_options, metric_for_best_model),
     .standard = "eval_loss", .group = "Evaluation and checkpoints",
     .help = "eval_loss, perplexity or bits_per_byte; its best checkpoint is kept beyond the limit"},
    {.name = "--greater_is_better", .kind = OPTION_CHOICE, .offset = offsetof(train_options, greater_is_better),
     .standard = "false", .choices = truth_names, .group = "Evaluation and checkpoints", .help = "which way that is"},
    {.name = "--load_best_model_at_end", .kind = OPTION_FLAG, .offset = offsetof(train_options, load_best_model_at_end),
     .group = "Evaluation and checkpoints",
     .help = "checkpoints/final is the best checkpoint; evaluations and checkpoints must fall together"},
    {.name = "--save_strategy", .kind = OPTION_CHOICE, .offset = offsetof(train_options, save_strategy), .standard = "steps",
     .choices = save_names,
     .group = "Evaluation and checkpoints", .help = "when to save; checkpoints/final is always written"},
    {.name = "--save_steps", .kind = OPTION_INT, .offset = offsetof(train_options, save_steps), .standard = "500", .least = 1,
     .most = COUNT_MOST,
     .group = "Evaluation and checkpoints", .help = "with --save_strategy steps"},
    {.name = "--save_total_limit", .kind = OPTION_INT, .offset = offsetof(train_options, save_total_limit), .standard = "3",
     .least = 1, .most = COUNT_MOST,
     .group = "Evaluation and checkpoints", .help = "the oldest go; final is not counted, and the last is kept"},
    {.name = "--resume_from_checkpoint", .kind = OPTION_TEXT, .offset = offsetof(train_options, resume_from_checkpoint),
     .group = "Evaluation and checkpoints",
     .help = "a checkpoint's folder, or latest (of --output_dir): the same losses bit for bit"},

    {.name = "--output_dir", .kind = OPTION_TEXT, .offset = offsetof(train_options, output_dir),
     .standard_words = "runs/<time>_<model>_<data>_<mode>", .group = "Output", .help = "the run folder"},
    {.name = "--overwrite", .kind = OPTION_FLAG, .offset = offsetof(train_options, overwrite), .group = "Output",
     .help = "replace the run that is in --output_dir"},
    {.name = "--logging_steps", .kind = OPTION_INT, .offset = offsetof(train_options, logging_steps), .standard = "10", .least = 1,
     .most = COUNT_MOST, .group = "Output",
     .help = "a line with the mean loss every so many steps; metrics.jsonl has each step"},
    {.name = "--quiet", .kind = OPTION_FLAG, .offset = offsetof(train_options, quiet), .group = "Output",
     .help = "warnings and the closing lines only"},
    {.name = "--json", .kind = OPTION_FLAG, .offset = offsetof(train_options, json), .group = "Output",
     .help = "JSON objects instead of lines, as in metrics.jsonl"},

    {.name = "--template", .kind = OPTION_TEXT, .offset = offsetof(train_options, later_text), .group = "Later", .help = "sft",
     .later = only_sft},
    {.name = "--loss_on_prompt", .kind = OPTION_FLAG, .offset = offsetof(train_options, later_flag), .group = "Later",
     .help = "sft", .later = only_sft},
    {.name = "--use_lora", .kind = OPTION_FLAG, .offset = offsetof(train_options, later_flag), .group = "Later", .help = "LoRA",
     .later = not_built},
    {.name = "--lora_r", .kind = OPTION_INT, .offset = offsetof(train_options, later_int), .group = "Later", .help = "LoRA",
     .later = not_built},
    {.name = "--lora_alpha", .kind = OPTION_REAL, .offset = offsetof(train_options, later_real), .group = "Later", .help = "LoRA",
     .later = not_built},
    {.name = "--lora_dropout", .kind = OPTION_REAL, .offset = offsetof(train_options, later_real), .group = "Later", .help = "LoRA",
     .later = not_built},
    {.name = "--lora_target_modules", .kind = OPTION_TEXT, .offset = offsetof(train_options, later_text), .group = "Later",
     .help = "LoRA", .later = not_built},
    {.name = "--reward", .kind = OPTION_TEXT, .offset = offsetof(train_options, later_text), .group = "Later", .help = "rl",
     .later = only_rl},
    {.name = "--grpo_beta", .kind = OPTION_REAL, .offset = offsetof(train_options, later_real), .group = "Later", .help = "rl",
     .later = only_rl},
    {.name = "--grpo_group_size", .kind = OPTION_INT, .offset = offsetof(train_options, later_int), .group = "Later", .help = "rl",
     .later = only_rl},
    {.name = "--max_prompt_length", .kind = OPTION_INT, .offset = offsetof(train_options, later_int), .group = "Later",
     .help = "rl", .later = only_rl},
    {.name = "--max_completion_length", .kind = OPTION_INT, .offset = offsetof(train_options, later_int), .group = "Later",
     .help = "rl", .later = only_rl},
};

enum { OPTIONS = sizeof options / sizeof *options };

// ---- options as JSON, for run.json ----

static json_t *value_json(const option *o, const train_options *values) {
    const char *field = (const char *)values + o->offset;
    switch (o->kind) {
    case OPTION_FLAG: return json_boolean(*(const bool *)field);
    case OPTION_INT: return json_integer(*(const int64_t *)field);
    case OPTION_REAL: return json_real(*(const double *)field);
    case OPTION_CHOICE: return json_string(o->choices[*(const int *)field]);
    case OPTION_TEXT: break;
    }
    return json_text(*(const char *const *)field);
}

static json_t *effective_json(const train_options *values) {
    json_t *all = json_object();
    for (int i = 0; i < OPTIONS; i++)
        if (options[i].later == NULL) json_object_set_new(all, options[i].name + 2, value_json(&options[i], values));
    return all;
}

static json_t *given_json(const args *a, const train_options *values) {
    json_t *given = json_object();
    for (int i = 0; i < OPTIONS; i++)
        if (a->given[i]) json_object_set_new(given, options[i].name + 2, value_json(&options[i], values));
    return given;
}

// ---- the verb ----

static int status_of(run_fault fault) {
    switch (fault) {
    case FAULT_NONE: return STATUS_DONE;
    case FAULT_USAGE: return STATUS_USAGE;
    case FAULT_REFUSED: return STATUS_REFUSED;
    case FAULT_NOT_FINITE: return STATUS_NOT_FINITE;
    case FAULT_SIGNAL: return STATUS_SIGNAL + stop_requested();
    case FAULT_FILE: break;
    }
    return STATUS_SYSTEM;
}

static int train(const args *a) {
    run_request request = {.options = *(const train_options *)a->options, .effective = effective_json};
    option_notes notes;
    heed_error error;
    json_t *given = given_json(a, &request.options);
    heed_status settled = options_settle(&request.options, &(options_given){a, args_has}, &notes, &error);
    if (settled != HEED_OK) {
        json_decref(given);
        return args_fail_error(a, &error);
    }
    const run_output out = train_output_open(request.options.json, request.options.quiet);
    request.given = given;
    request.notes = &notes;
    request.out = &out;
    const run_fault fault = run_train(&request, &error);
    json_decref(given);
    if (fault != FAULT_NONE && fault != FAULT_SIGNAL) return args_fail(a, status_of(fault), "%s", error.text);
    return status_of(fault);
}

const verb verb_train = {
    .name = "train", .purpose = "train or fine-tune a GPT-2 on text", .usage = "[options]",
    .about = "Without options: gpt2-nano on the demo language. A run folder keeps every option, what attention really ran, every "
             "loss, and checkpoints that transformers opens. Ctrl-C finishes the step, saves, and says how to go on.",
    .examples = "  heed train --max_steps 300 --learning_rate 2e-3\n"
                "  heed train --dataset my_text.txt --use_packing --num_train_epochs 3 --learning_rate 1e-3\n"
                "  heed train --model openai-community/gpt2 --dataset my_text.txt --attn_implementation flash_attention_2\n"
                "  heed train --output_dir runs/mine --resume_from_checkpoint latest\n",
    .options = options, .n_options = OPTIONS, .struct_bytes = sizeof(train_options), .run = train, .long_job = true,
};
