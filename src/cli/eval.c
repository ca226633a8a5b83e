// SPDX-License-Identifier: Apache-2.0
// heed eval: loss, perplexity and bits per byte of a model on a data set.
#include <stdio.h>
#include <string.h>

#include "base/threads.h"
#include "cli/args.h"
#include "cli/output.h"
#include "cli/status.h"
#include "cli/train_output.h"
#include "cli/verbs.h"
#include "train/run.h"
#include "train/stop.h"

enum { COUNT_MOST = 1 << 30 };

static const option options[] = {
    {.name = "--model", .kind = OPTION_TEXT, .offset = offsetof(train_options, model), .standard_words = "none: it must be named",
     .group = "",
     .help = "a folder (a checkpoint, say), a model in the Hugging Face cache, or a built-in size"},
    {.name = "--tokenizer", .kind = OPTION_TEXT, .offset = offsetof(train_options, tokenizer), .standard_words = "the model's",
     .group = "", .help = "a folder, when the model brings none"},
    {.name = "--dataset", .kind = OPTION_TEXT, .offset = offsetof(train_options, dataset), .standard = "demo", .group = "",
     .help = "a .txt, .jsonl, .csv, .tsv or .bin file, a folder of them, a data set in the Hugging Face cache, or demo: the "
             "documents that training on demo holds out"},
    {.name = "--dataset_config", .kind = OPTION_TEXT, .offset = offsetof(train_options, dataset_config), .group = "",
     .help = "the folder of one configuration of a data set"},
    {.name = "--eval_split", .kind = OPTION_TEXT, .offset = offsetof(train_options, eval_split), .group = "",
     .standard_words = "validation, else test, else all", .help = "which split of a data set in several files"},
    {.name = "--max_length", .kind = OPTION_INT, .offset = offsetof(train_options, max_length), .standard = "128", .least = 2,
     .most = COUNT_MOST, .group = "", .help = "tokens a row"},
    {.name = "--batch_size", .kind = OPTION_INT, .offset = offsetof(train_options, batch_size), .standard = "8", .least = 1,
     .most = COUNT_MOST, .group = "", .help = "rows a batch"},
    {.name = "--padding_side", .kind = OPTION_CHOICE, .offset = offsetof(train_options, padding_side), .standard = "left",
     .choices = padding_sides, .group = "", .help = "where shorter rows are filled up"},
    {.name = "--use_packing", .kind = OPTION_FLAG, .offset = offsetof(train_options, use_packing), .group = "",
     .help = "documents follow one another until the row is full"},
    {.name = "--packing_max_length", .kind = OPTION_INT, .offset = offsetof(train_options, packing_max_length),
     .standard_words = "max_length", .least = 2, .most = COUNT_MOST, .group = "", .help = "tokens a packed row"},
    {.name = "--packing_leak", .kind = OPTION_FLAG, .offset = offsetof(train_options, packing_leak), .group = "",
     .help = "let packed documents see each other"},
    {.name = "--eval_max_batches", .kind = OPTION_INT, .offset = offsetof(train_options, eval_max_batches), .standard = "-1",
     .group = "", .help = "-1: all; fewer are called truncated"},
    {.name = "--device", .kind = OPTION_TEXT, .offset = offsetof(train_options, device), .standard = "auto", .group = "",
     .help = "auto or cpu"},
    {.name = "--attn_implementation", .kind = OPTION_TEXT, .offset = offsetof(train_options, attn_implementation),
     .standard = "auto", .group = "", .help = "as for `heed train`"},
    {.name = "--attn_fallback", .kind = OPTION_CHOICE, .offset = offsetof(train_options, attn_fallback), .standard = "warn",
     .choices = fallback_names, .group = "", .help = "take the documented substitute, or refuse"},
    {.name = "--attn_preset", .kind = OPTION_TEXT, .offset = offsetof(train_options, attn_preset),
     .standard_words = "the name's own", .group = "", .help = "numerical conventions"},
    {.name = "--disable_mps_fix", .kind = OPTION_FLAG, .offset = offsetof(train_options, disable_mps_fix), .group = "",
     .help = "with --attn_preset mps_pre28: let its NaN through"},
    {.name = "--bf16", .kind = OPTION_FLAG, .offset = offsetof(train_options, bf16), .group = "",
     .help = "products in bf16, as `heed train --bf16` evaluates"},
    {.name = "--threads", .kind = OPTION_INT, .offset = offsetof(train_options, threads), .standard_words = "all cores", .least = 1,
     .most = 1024, .group = "", .help = "of the computation"},
    {.name = "--seed", .kind = OPTION_INT, .offset = offsetof(train_options, seed), .standard = "42", .least = 0, .most = 9e15,
     .group = "", .help = "of demo, and of a built-in size's weights"},
    {.name = "--quiet", .kind = OPTION_FLAG, .offset = offsetof(train_options, quiet), .group = "",
     .help = "warnings and the result only"},
    {.name = "--json", .kind = OPTION_FLAG, .offset = offsetof(train_options, json), .group = "", .help = "one JSON object"},
};

typedef struct {
    const char *name;
    bool bf16;
    run_output out;
    progress clock;
    sources from;
    row_set rows;
    evaluation result;
} eval_job;

static void tick(void *context, int64_t done, int64_t of) {
    eval_job *job = context;
    progress_live_evaluation(&job->clock, &job->out, done, of);
}

static int open_job(const args *a, eval_job *job, train_options *o, const attention_choice *choice) {
    heed_error error;
    heed_status status = attention_choice_check(choice, false, &error);
    if (status != HEED_OK) return args_fail_here(a, status, STATUS_USAGE, &error);
    status = sources_check_splits(o, &error);
    if (status != HEED_OK) return args_fail_here(a, status, STATUS_USAGE, &error);
    status = sources_open_model(&job->from, o, NULL, &error);
    if (status == HEED_OK) status = sources_open_eval(&job->from, o, &error);
    if (status != HEED_OK) return args_fail_here(a, status, STATUS_SYSTEM, &error);
    status = sources_check_length(&job->from, o, &error);
    if (status != HEED_OK) return args_fail_here(a, status, STATUS_USAGE, &error);
    const row_layout layout = {.length = o->use_packing ? o->packing_max_length : o->max_length, .piece = o->max_length,
                               .packed = o->use_packing, .leak = o->packing_leak};
    status = rows_create(&job->rows, &job->from.judge, layout, &error);
    if (status == HEED_OK) status = model_set_threads(job->from.model, (int)o->threads, &error);
    if (status == HEED_OK) status = model_set_attention(job->from.model, choice, false, &error);
    if (status == HEED_OK && o->bf16) status = model_set_precision(job->from.model, HEED_BF16, &error);
    return status == HEED_OK ? STATUS_DONE : args_fail_here(a, status, STATUS_SYSTEM, &error);
}

static int print_json(const args *a, const eval_job *job) {
    int64_t count;
    const attention_record *r = model_attention_records(job->from.model, &count);
    json_t *list = json_array(), *object = json_object();
    for (int64_t i = 0; i < count; i++) json_array_append_new(list, attention_record_json(&r[i]));
    json_object_set_new(object, "model", json_text(job->name));
    json_object_set_new(object, "dataset", json_text(job->from.judge.name));
    json_object_set_new(object, "precision", json_string(job->bf16 ? "bf16" : "f32"));
    if (job->result.finite) evaluation_record(&job->result, object);
    else json_object_set_new(object, "non_finite", nan_origin_json(&job->result.origin));
    json_object_set_new(object, "attention", list);
    return output_json(a, object);
}

static void print_text(const eval_job *job) {
    const evaluation *e = &job->result;
    printf("model          %s\n", job->name);
    printf("data set       %s, %lld rows, %lld scored tokens\n", job->from.judge.name, (long long)job->rows.rows,
           (long long)e->scored);
    if (job->bf16) printf("precision      bf16\n");
    if (e->truncated) printf("truncated      %lld of %lld batches\n", (long long)e->batches, (long long)e->all_batches);
    printf("loss           %.6f%s\n", evaluation_loss(e), e->truncated ? " (truncated)" : "");
    if (e->floor == e->floor) printf("floor          %.6f: no model can do better\n", e->floor);
    printf("perplexity     %.6g%s\n", evaluation_perplexity(e), e->truncated ? " (truncated)" : "");
    printf("bits per byte  %.6f%s\n", evaluation_bits_per_byte(e), e->truncated ? " (truncated)" : "");
    print_attention(stdout, "attention      ", job->from.model, false);
}

static int evaluate(const args *a, eval_job *job, train_options *o) {
    const attention_choice choice = {.name = o->attn_implementation, .preset = o->attn_preset, .threads = (int)o->threads,
                                     .fallback_refuse = o->attn_fallback == FALLBACK_REFUSE, .disable_mps_fix = o->disable_mps_fix};
    int status = open_job(a, job, o, &choice);
    if (status != STATUS_DONE) return status;
    const evaluate_settings settings = {
        .batch_size = o->batch_size, .max_batches = o->eval_max_batches, .token_bytes = job->from.token_bytes, .tick = tick,
            .context = job,
        .search = o->disable_mps_fix, .padding = {tokenizer_eos(job->from.words), o->padding_side == PAD_LEFT},
    };
    heed_error error;
    heed_status done = stop_watch(&error);
    if (done == HEED_OK) done = evaluate_rows(&job->result, job->from.model, &job->rows, &settings, &error);
    output_live_clear(&job->out);
    if (done != HEED_OK) return args_fail_here(a, done, STATUS_SYSTEM, &error);
    if (job->result.stopped) return args_fail(a, STATUS_SIGNAL + stop_requested(), "ended by signal %d", stop_requested());
    if (o->json) status = print_json(a, job);
    else if (job->result.finite) print_text(job);
    else print_attention(stdout, "attention      ", job->from.model, false);
    if (status != STATUS_DONE || job->result.finite) return status;
    return args_fail(a, STATUS_NOT_FINITE, "%s", job->result.origin.sentence);
}

static int eval(const args *a) {
    train_options o = *(const train_options *)a->options;
    option_notes notes;
    heed_error error;
    if (o.model == NULL) return args_fail(a, STATUS_USAGE, "--model is missing: name the folder of a model or checkpoint");
    if (!model_is_size(o.model) && strcmp(o.dataset, "demo") != 0 &&
        args_without_effect(a, "--seed", "neither the data nor the model's weights are drawn")) return STATUS_USAGE;
    o.num_train_epochs = 1;    // settled as one evaluation of a training run
    o.eval_strategy = WHEN_EPOCH;
    if (options_settle(&o, &(options_given){a, args_has}, &notes, &error) != HEED_OK) return args_fail_error(a, &error);
    if (o.threads == 0) o.threads = threads_available();
    eval_job job = {.name = o.model, .bf16 = o.bf16, .out = train_output_open(o.json, o.quiet)};
    const int status = evaluate(a, &job, &o);
    rows_free(&job.rows);
    sources_close(&job.from);
    return status;
}

const verb verb_eval = {
    .name = "eval", .purpose = "loss, perplexity and bits per byte of a model on a data set", .usage = "--model FOLDER [options]",
    .about = "Loss is the mean over all scored tokens; padding is left out by position, so a real end of text is scored.",
    .examples = "  heed eval --model runs/mine/checkpoints/final --dataset my_text.txt\n"
                "  heed eval --model runs/mine/checkpoints/final --attn_preset mps_pre28 --json\n",
    .options = options, .n_options = sizeof options / sizeof *options, .struct_bytes = sizeof(train_options), .run = eval,
    .long_job = true,
};
