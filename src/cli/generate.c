// SPDX-License-Identifier: Apache-2.0
// heed generate: its options, and how a job ends. The loop is model/generate.c; what is shown, cli/generate_text.c.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/threads.h"
#include "cli/args.h"
#include "cli/generate_text.h"
#include "cli/output.h"
#include "cli/status.h"
#include "cli/train_output.h"
#include "cli/verbs.h"
#include "train/log.h"
#include "train/sources.h"
#include "train/stop.h"

typedef struct {
    train_options from;    // model, tokenizer, attention, threads, seed, quiet, json: as for eval
    const char *prompt, *prompt_file, *stop;
    int64_t max_new_tokens, top_k, num_return_sequences;
    double temperature, top_p, min_p, repetition_penalty;
    bool ignore_eos;
} generate_options;

enum { COUNT_MOST = 1 << 30, NEW_TOKENS = 100, BATCH = 8 };

static const char sampling_group[] = "Sampling (without any of the first four: always the likeliest token)";

static const option options[] = {
    {.name = "--model", .kind = OPTION_TEXT, .offset = offsetof(generate_options, from.model),
     .standard_words = "none: it must be named", .group = "",
     .help = "a folder (a checkpoint, say), a model in the Hugging Face cache, or a built-in size (random weights)"},
    {.name = "--tokenizer", .kind = OPTION_TEXT, .offset = offsetof(generate_options, from.tokenizer),
     .standard_words = "the model's", .group = "", .help = "a folder, when the model brings none"},
    {.name = "--prompt", .kind = OPTION_TEXT, .offset = offsetof(generate_options, prompt), .group = "",
     .help = "what the text begins with; \"<|endoftext|>\" begins a new document"},
    {.name = "--prompt_file", .kind = OPTION_TEXT, .offset = offsetof(generate_options, prompt_file), .group = "",
     .help = "a file with a prompt on each line; -: standard input"},
    {.name = "--max_new_tokens", .kind = OPTION_INT, .offset = offsetof(generate_options, max_new_tokens),
     .standard_words = "100, or what the model's positions leave", .least = 1, .most = COUNT_MOST, .group = "",
     .help = "tokens after the prompt"},
    {.name = "--chat", .kind = OPTION_FLAG, .offset = offsetof(generate_options, from.later_flag), .group = "",
     .help = "the prompt as a turn of a conversation", .later = "not built yet: GPT-2 knows no conversations"},
    {.name = "--stop", .kind = OPTION_TEXT, .offset = offsetof(generate_options, stop), .group = "",
     .help = "a text that ends the sequence where it comes; it is not printed"},
    {.name = "--ignore_eos", .kind = OPTION_FLAG, .offset = offsetof(generate_options, ignore_eos), .group = "",
     .help = "go on after an end of text"},
    {.name = "--batch_size", .kind = OPTION_INT, .offset = offsetof(generate_options, from.batch_size), .standard = "8", .least = 1,
     .most = GENERATE_BATCH, .group = "", .help = "sequences at once; what each becomes does not depend on it"},

    {.name = "--temperature", .kind = OPTION_REAL, .offset = offsetof(generate_options, temperature), .standard = "1",
     .group = sampling_group,
     .help = "below 1: likelier tokens come more often"},
    {.name = "--top_k", .kind = OPTION_INT, .offset = offsetof(generate_options, top_k), .standard_words = "all", .least = 1,
     .most = COUNT_MOST, .group = sampling_group,
     .help = "draw from the k likeliest tokens"},
    {.name = "--top_p", .kind = OPTION_REAL, .offset = offsetof(generate_options, top_p), .standard = "1", .least = 0, .most = 1,
     .group = sampling_group,
     .help = "draw from the fewest tokens that are together so likely"},
    {.name = "--min_p", .kind = OPTION_REAL, .offset = offsetof(generate_options, min_p), .standard = "0", .least = 0, .most = 1,
     .group = sampling_group,
     .help = "drop tokens less likely than so many times the likeliest"},
    {.name = "--repetition_penalty", .kind = OPTION_REAL, .offset = offsetof(generate_options, repetition_penalty), .standard = "1",
     .least = 1e-3, .most = 1e3, .group = sampling_group,
     .help = "above 1: tokens of prompt and text come less often"},
    {.name = "--num_return_sequences", .kind = OPTION_INT, .offset = offsetof(generate_options, num_return_sequences),
     .standard = "1", .least = 1, .most = 1 << 16,
     .group = sampling_group, .help = "samples of each prompt"},
    {.name = "--seed", .kind = OPTION_INT, .offset = offsetof(generate_options, from.seed), .standard = "42", .least = 0,
     .most = 9e15, .group = sampling_group,
     .help = "of the draws, and of a built-in size's weights"},

    {.name = "--device", .kind = OPTION_TEXT, .offset = offsetof(generate_options, from.device), .standard = "auto",
     .group = "Attention and machine", .help = "auto or cpu"},
    {.name = "--attn_implementation", .kind = OPTION_TEXT, .offset = offsetof(generate_options, from.attn_implementation),
     .standard = "auto", .group = "Attention and machine", .help = "as for `heed train`"},
    {.name = "--attn_fallback", .kind = OPTION_CHOICE, .offset = offsetof(generate_options, from.attn_fallback), .standard = "warn",
     .choices = fallback_names, .group = "Attention and machine", .help = "take the documented substitute, or refuse"},
    {.name = "--attn_preset", .kind = OPTION_TEXT, .offset = offsetof(generate_options, from.attn_preset),
     .standard_words = "the name's own", .group = "Attention and machine", .help = "numerical conventions"},
    {.name = "--bf16", .kind = OPTION_FLAG, .offset = offsetof(generate_options, from.bf16), .group = "Attention and machine",
     .help = "weights and cache in bf16, as `heed train --bf16` evaluates: half as much to read for a token"},
    {.name = "--threads", .kind = OPTION_INT, .offset = offsetof(generate_options, from.threads), .standard_words = "all cores",
     .least = 1, .most = 1024, .group = "Attention and machine", .help = "of the computation"},

    {.name = "--quiet", .kind = OPTION_FLAG, .offset = offsetof(generate_options, from.quiet), .group = "Output",
     .help = "the text only, and warnings"},
    {.name = "--json", .kind = OPTION_FLAG, .offset = offsetof(generate_options, from.json), .group = "Output",
     .help = "one JSON object at the end, with every sequence, its ids and why it ended"},
};

typedef struct {
    const generate_options *o;
    bool sampling;
    sources from;
    sequences texts;
    generation_result result;
} generate_job;

// ---- What the options mean together -------------------------------------------------------------------------------------

static bool samples(const args *a) {
    return args_given(a, "--temperature") || args_given(a, "--top_k") || args_given(a, "--top_p") || args_given(a, "--min_p");
}

static int check(const args *a, generate_options *o) {
    static const char greedy[] = "the likeliest token is taken; --temperature, --top_k, --top_p or --min_p begin to sample";
    heed_error error;
    option_notes notes;
    if (o->from.model == NULL) return args_fail(a, STATUS_USAGE, "--model is missing: name the folder of a model or checkpoint");
    if (o->prompt == NULL && o->prompt_file == NULL)
        return args_fail(a, STATUS_USAGE, "--prompt is missing: what the text begins with (or --prompt_file)");
    if (o->prompt != NULL && args_without_effect(a, "--prompt_file", "--prompt is given")) return STATUS_USAGE;
    if (!(o->temperature > 0))
        return args_fail(a, STATUS_USAGE, "--temperature is %g; it must be above 0 (to take the likeliest token, leave out "
                         "--temperature, --top_k, --top_p and --min_p)", o->temperature);
    if (o->temperature < 1e-6 || o->temperature > 1e6)
        return args_fail(a, STATUS_USAGE, "--temperature is %g; it must be from 1e-06 to 1e+06", o->temperature);
    if (!samples(a) && !model_is_size(o->from.model) && args_without_effect(a, "--seed", greedy)) return STATUS_USAGE;
    if (!samples(a) && args_without_effect(a, "--num_return_sequences", greedy)) return STATUS_USAGE;
    if (o->prompt != NULL && o->num_return_sequences == 1 && args_without_effect(a, "--batch_size", "there is one sequence"))
        return STATUS_USAGE;
    o->from.num_train_epochs = 1;    // settled as one evaluation of a training run
    o->from.eval_strategy = WHEN_EPOCH;
    o->from.eval_max_batches = -1;
    if (options_settle(&o->from, &(options_given){a, args_has}, &notes, &error) != HEED_OK) return args_fail_error(a, &error);
    if (o->from.threads == 0) o->from.threads = threads_available();
    return STATUS_DONE;
}

// ---- The job ------------------------------------------------------------------------------------------------------------

static int open_job(const args *a, generate_job *job) {
    const generate_options *o = job->o;
    const attention_choice choice = {.name = o->from.attn_implementation, .preset = o->from.attn_preset,
                                     .threads = (int)o->from.threads,
                                     .fallback_refuse = o->from.attn_fallback == FALLBACK_REFUSE};
    heed_error error;
    heed_status status = attention_choice_check(&choice, false, &error);
    if (status != HEED_OK) return args_fail_here(a, status, STATUS_USAGE, &error);
    job->texts.stops[0] = o->stop;
    job->texts.live = !o->from.json;
    if (o->prompt != NULL) status = sequences_from_text(&job->texts, o->prompt, o->num_return_sequences, &error);
    else status = sequences_from_file(&job->texts, o->prompt_file, o->num_return_sequences, &error);
    if (status == HEED_OK) status = stop_watch(&error);    // now: until here Ctrl-C ends the wait for standard input
    if (status == HEED_OK) status = sources_open_model(&job->from, &o->from, NULL, &error);
    if (status == HEED_OK) status = model_set_threads(job->from.model, (int)o->from.threads, &error);
    if (status == HEED_OK) status = model_set_attention(job->from.model, &choice, false, &error);
    if (status == HEED_OK && o->from.bf16) status = model_set_precision(job->from.model, HEED_BF16, &error);
    if (status != HEED_OK) return args_fail_here(a, status, STATUS_SYSTEM, &error);
    const int32_t eos = model_config_of(job->from.model)->eos;
    job->texts.words = job->from.words;
    job->texts.eos = eos >= 0 ? eos : tokenizer_eos(job->from.words);
    status = sequences_encode(&job->texts, &error);
    return status == HEED_OK ? STATUS_DONE : args_fail_here(a, status, STATUS_SYSTEM, &error);
}

// How many new tokens a prompt gets; what was asked for must fit, the default gives way.
static int set_most(const args *a, const generate_job *job, generation_prompt *p, int64_t number) {
    const int64_t positions = model_config_of(job->from.model)->positions, left = positions - p->count;
    const bool given = args_given(a, "--max_new_tokens");
    p->most = given ? job->o->max_new_tokens : left < NEW_TOKENS ? left : NEW_TOKENS;
    if (left < 1)
        return args_fail(a, STATUS_USAGE, "prompt %lld has %lld tokens and model %s has %lld positions: there is no place for "
                         "more", (long long)number + 1, (long long)p->count, job->from.name, (long long)positions);
    if (p->most > left)
        return args_fail(a, STATUS_USAGE, "--max_new_tokens is %lld, but prompt %lld has %lld tokens and model %s has %lld "
                         "positions; at most %lld are allowed", (long long)p->most, (long long)number + 1, (long long)p->count,
                         job->from.name, (long long)positions, (long long)left);
    return STATUS_DONE;
}

// Also when nobody reads the text any more.
static bool is_interrupted(void *context) { return stop_requested() != 0 || ferror(stdout) != 0; }

static int run_job(const args *a, generate_job *job) {
    const generate_options *o = job->o;
    sequences *texts = &job->texts;
    generation_prompt *prompts = calloc((size_t)texts->count, sizeof *prompts);
    if (prompts == NULL) return args_fail(a, STATUS_SYSTEM, "no memory for %lld prompts", (long long)texts->count);
    int status = STATUS_DONE;
    for (int64_t i = 0; i < texts->count && status == STATUS_DONE; i++) {
        const sequence *q = &texts->list[i];
        // Sample s of prompt p draws from a stream of its own, however many prompts and samples there are.
        prompts[i] = (generation_prompt){.id = q->prompt_ids.id, .count = q->prompt_ids.count,
                                         .stream = (uint64_t)q->sample << 32 | (uint64_t)q->number};
        status = set_most(a, job, &prompts[i], q->number);
    }
    const generation g = {
        .sampling = {.greedy = !job->sampling, .repetition_penalty = o->repetition_penalty, .temperature = o->temperature,
                     .top_k = o->top_k, .top_p = o->top_p, .min_p = o->min_p},
        .seed = (uint64_t)o->from.seed, .eos = o->ignore_eos ? -1 : texts->eos, .batch = o->from.batch_size, .context = texts,
        .token = sequences_token, .finished = sequences_finished, .interrupted = is_interrupted,
    };
    heed_error error;
    heed_status done = HEED_OK;
    if (status == STATUS_DONE) done = generate(job->from.model, &g, prompts, texts->count, &job->result, &error);
    free(prompts);
    return done == HEED_OK ? status : args_fail_here(a, done, STATUS_SYSTEM, &error);
}

// ---- The end ------------------------------------------------------------------------------------------------------------

static double rate(int64_t tokens, double seconds) { return seconds > 0 ? (double)tokens / seconds : 0; }

static void print_summary(const generate_job *job) {
    const generation_result *r = &job->result;
    print_attention(stderr, "attention  ", job->from.model, job->o->from.quiet);
    if (job->o->from.quiet) return;
    if (model_is_size(job->o->from.model))
        fprintf(stderr, "note       %s is a built-in size: its weights are random, and so is the text\n", job->o->from.model);
    fprintf(stderr, "prefill    %lld tokens in %.2f s, %.1f tokens/s\n", (long long)r->prefill_tokens, r->prefill_seconds,
            rate(r->prefill_tokens, r->prefill_seconds));
    fprintf(stderr, "decode     %lld tokens in %.2f s, %.1f tokens/s\n", (long long)r->decode_tokens, r->decode_seconds,
            rate(r->decode_tokens, r->decode_seconds));
}

static int print_json(const args *a, const generate_job *job) {
    const generation_result *r = &job->result;
    int64_t count;
    const attention_record *records = model_attention_records(job->from.model, &count);
    json_t *list = json_array(), *object = json_object();
    for (int64_t i = 0; i < count; i++) json_array_append_new(list, attention_record_json(&records[i]));
    json_object_set_new(object, "model", json_text(job->o->from.model));
    json_object_set_new(object, "random_weights", json_boolean(model_is_size(job->o->from.model)));
    json_object_set_new(object, "sampling", json_boolean(job->sampling));
    if (job->sampling) json_object_set_new(object, "seed", json_integer(job->o->from.seed));
    json_object_set_new(object, "precision", json_string(job->o->from.bf16 ? "bf16" : "f32"));
    json_object_set_new(object, "threads", json_integer(job->o->from.threads));
    json_object_set_new(object, "sequences", sequences_json(&job->texts));
    json_object_set_new(object, "prefill_tokens", json_integer(r->prefill_tokens));
    json_object_set_new(object, "prefill_tokens_per_second", output_real(rate(r->prefill_tokens, r->prefill_seconds)));
    json_object_set_new(object, "decode_tokens", json_integer(r->decode_tokens));
    json_object_set_new(object, "decode_tokens_per_second", output_real(rate(r->decode_tokens, r->decode_seconds)));
    if (!r->finite) json_object_set_new(object, "non_finite", nan_origin_json(&r->origin));
    json_object_set_new(object, "attention", list);
    return output_json(a, object);
}

static int finish(const args *a, const generate_job *job) {
    int status = STATUS_DONE;
    if (job->o->from.json) status = print_json(a, job);
    else if (!job->result.finite) putchar('\n');
    fflush(stdout);
    if (!job->o->from.json) print_summary(job);
    if (stop_requested() != 0) return args_fail(a, STATUS_SIGNAL + stop_requested(), "ended by signal %d", stop_requested());
    if (job->result.finite || status != STATUS_DONE) return status;
    return args_fail(a, STATUS_NOT_FINITE, "prompt %lld: %s", (long long)job->texts.list[job->result.prompt].number + 1,
                     job->result.origin.sentence);
}

static int run(const args *a) {
    generate_options o = *(const generate_options *)a->options;
    int status = check(a, &o);
    if (status != STATUS_DONE) return status;
    generate_job job = {.o = &o, .sampling = samples(a)};
    status = open_job(a, &job);
    if (status == STATUS_DONE) status = run_job(a, &job);
    if (status == STATUS_DONE) status = finish(a, &job);
    sequences_free(&job.texts);
    sources_close(&job.from);
    return status;
}

const verb verb_generate = {
    .name = "generate", .purpose = "text from a model, token by token", .usage = "--model FOLDER --prompt TEXT [options]",
    .about = "Prints the prompt and goes on as the model would. The text comes as it is made; attention and speed follow on "
             "stderr. The same tokens come out for any --threads, any --batch_size and beside any other prompts.",
    .examples = "  heed generate --model runs/mine/checkpoints/final --prompt \"Once upon a time\"\n"
                "  heed generate --model openai-community/gpt2 --prompt \"The meaning of life is\" --temperature 0.8 --top_p 0.95\n"
                "  heed generate --model runs/mine/checkpoints/final --prompt_file prompts.txt --top_k 40 --seed 7 --json\n",
    .options = options, .n_options = sizeof options / sizeof *options, .struct_bytes = sizeof(generate_options), .run = run,
    .long_job = true,
};
