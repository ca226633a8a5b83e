// SPDX-License-Identifier: Apache-2.0
#include "train/sources.h"

#include "base/memory.h"
#include "io/cache_dir.h"
#include "io/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The last part of a path, or the name itself.
static void name_shorten(char *name, size_t bytes, const char *path) {
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    size_t first = n;
    while (first > 0 && path[first - 1] != '/') first--;
    snprintf(name, bytes, "%.*s", (int)(n - first), path + first);
}

static bool has_file(const char *folder, const char *name) {
    char *path = file_join(folder, name);
    const bool there = path != NULL && file_exists(path);
    free(path);
    return there;
}

static heed_status words_open(sources *s, const train_options *o, const char *folder, heed_error *error) {
    if (o->tokenizer != NULL) return tokenizer_load(&s->words, o->tokenizer, error);
    if (folder == NULL) return tokenizer_create_bytes(&s->words, error);
    if (!has_file(folder, "vocab.json") && !has_file(folder, "tokenizer.json"))
        return error_set(error, HEED_INVALID,
                         "--model %s brings no tokenizer (no vocab.json or tokenizer.json); name a folder with --tokenizer",
                         file_shown(o->model));
    return tokenizer_load(&s->words, folder, error);
}

// The bytes of text each id stands for; ids of the model the tokenizer never makes, and EOS, stand for none.
static heed_status token_bytes_count(sources *s, heed_error *error) {
    const int64_t vocabulary = model_config_of(s->model)->vocabulary;
    const int32_t known = tokenizer_size(s->words), eos = tokenizer_eos(s->words);
    s->token_bytes = calloc((size_t)vocabulary, sizeof *s->token_bytes);
    text_string text = {0};
    heed_status status = s->token_bytes == NULL ? error_set(error, HEED_NO_MEMORY, "no memory for the vocabulary") : HEED_OK;
    for (int32_t id = 0; status == HEED_OK && id < known; id++) {
        text.length = 0;
        if (id != eos) status = tokenizer_decode(s->words, &id, 1, &text, error);
        s->token_bytes[id] = (int32_t)text.length;
    }
    free(text.text);
    return status;
}

static heed_status model_open(sources *s, const train_options *o, const char *folder, bool fresh, heed_error *error) {
    const uint64_t seed = (uint64_t)o->seed;
    if (folder == NULL) return model_create(&s->model, o->model, tokenizer_size(s->words), seed, error);
    if (fresh) return model_create_from_config(&s->model, folder, o->tokenizer != NULL ? tokenizer_size(s->words) : 0, seed, error);
    return model_load(&s->model, folder, error);
}

// The run is easily named for the model that it left.
static heed_status refuse_run_folder(const char *folder, const char *name, heed_error *error) {
    if (has_file(folder, "config.json") || !has_file(folder, "run.json")) return HEED_OK;
    return error_set(error, HEED_INVALID, "%.200s is the folder of a run; its models are in its folder checkpoints",
                     name);
}

// A model's folder; what is nearly a built-in size is told so.
static heed_status find_model(char **folder, const char *name, heed_error *error) {
    const char *const *sizes = model_sizes();
    size_t n = 0;
    while (sizes[n] != NULL) n++;
    const heed_status status = cache_dir_find(folder, name, error);
    if (status == HEED_OK) return refuse_run_folder(*folder, name, error);
    const char *near = text_nearest(name, sizes, n);
    if (near == NULL) return status;
    return error_within(error, status, "%.40s is no built-in size (the nearest is %s)", name, near);
}

heed_status sources_open_model(sources *s, const train_options *o, const char *resume, heed_error *error) {
    heed_status status = HEED_OK;
    name_shorten(s->name, sizeof s->name, o->model);
    if (resume != NULL) {
        s->folder = strdup(resume);
        if (s->folder == NULL) status = error_set(error, HEED_NO_MEMORY, "no memory for a path");
    } else if (!model_is_size(o->model)) {
        status = find_model(&s->folder, o->model, error);
    }
    if (status == HEED_OK && resume != NULL) status = tokenizer_load(&s->words, resume, error);
    else if (status == HEED_OK) status = words_open(s, o, s->folder, error);
    if (status == HEED_OK) status = model_open(s, o, s->folder, o->from_scratch && resume == NULL, error);
    if (status != HEED_OK) return status;
    const int64_t vocabulary = model_config_of(s->model)->vocabulary;
    if (tokenizer_size(s->words) > vocabulary)
        return error_set(error, HEED_INVALID, "the tokenizer has %d ids, but model %s only %lld; they do not belong together",
                         (int)tokenizer_size(s->words), s->name, (long long)vocabulary);
    return token_bytes_count(s, error);
}

heed_status sources_check_length(const sources *s, const train_options *o, heed_error *error) {
    const int64_t positions = model_config_of(s->model)->positions;
    const int64_t length = o->use_packing ? o->packing_max_length : o->max_length;
    if (length <= positions) return HEED_OK;
    return error_set(error, HEED_INVALID, "%s is %lld, but model %s has %lld positions; at most that many are allowed",
                     o->row_given ? "--packing_max_length" : "--max_length", (long long)length, s->name, (long long)positions);
}

void sources_close(sources *s) {
    sources_close_data(s);
    model_free(s->model);
    tokenizer_free(s->words);
    free(s->token_bytes);
    free(s->folder);
    *s = (sources){0};
}
