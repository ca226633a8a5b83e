// SPDX-License-Identifier: Apache-2.0
// The data sets of a run: the demo language, a file, or a folder of files by split, local or in the Hugging Face cache.
#include "train/sources.h"

#include "io/cache_dir.h"
#include "io/dataset_folder.h"
#include "io/file.h"
#include "io/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char sources_demo[] = "demo";
static const char train_split[] = "train";

static bool is_demo(const char *name) { return strcmp(name, sources_demo) == 0 && !file_exists(name); }

// A folder, or what may be in the cache: neither the demo nor a file, nor a name that only a file has.
static bool has_splits(const char *name) {
    if (file_is_folder(name)) return true;
    const char *dot = strrchr(name, '.');
    const bool parquet = dot != NULL && strcmp(dot, ".parquet") == 0;    // refused as a file
    return !is_demo(name) && !file_exists(name) && !dataset_readable(name) && !parquet;
}

// ---- one data set ----

static heed_status read_split(dataset *d, const dataset_place *at, const char *split, const tokenizer *words, heed_error *error) {
    path_list files;
    heed_status status = dataset_folder_files(&files, at, split, error);
    if (status == HEED_OK && files.count == 0) {
        char splits[64];
        dataset_folder_splits(at, splits, sizeof splits);
        status = error_set(error, HEED_INVALID, "data set %s has no %s split; it has: %s", file_shown(at->name), split,
                           splits[0] != 0 ? splits : "none of train, validation, test");
    }
    if (status == HEED_OK)
        status = dataset_read_files(d, at->name, (const char *const *)files.path, files.count, words, error);
    paths_free(&files);
    return status;
}

typedef struct { const char *name, *config, *eval_split; } wanted;

// What is trained on, and its own split for evaluation, where it has one.
static heed_status open_splits(source_data *d, const wanted *w, bool judged, const tokenizer *words, heed_error *error) {
    char *folder;
    heed_status status = cache_dir_find_dataset(&folder, w->name, error);
    if (status != HEED_OK) return status;
    const dataset_place at = {w->name, folder, w->config};
    status = read_split(&d->all, &at, train_split, words, error);
    const char *split = w->eval_split != NULL ? w->eval_split : dataset_folder_held_out(&at);
    if (status == HEED_OK && judged && split != NULL) {
        status = read_split(&d->held, &at, split, words, error);
        d->judged = true;
        d->learn = &d->all;
    }
    free(folder);
    return status;
}

// The label is part of keys of metrics.jsonl, which must be UTF-8; a file's name need not.
static void label_mend(char *label) {
    json_t *text = json_string(label);
    for (char *c = label; text == NULL && *c != 0; c++)
        if ((unsigned char)*c >= 0x80) *c = '?';
    json_decref(text);
}

// What a data set is called: the last part of a local path, a repository's name as it is, with the configuration. Where two
// would be called the same, all are called what the options call them.
static void label_members(sources *s) {
    bool same = false;
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t i = 0; i < s->members.count; i++) {
            const char *name = s->members.name[i], *config = s->members.config[i], *slash = strrchr(name, '/');
            char *label = s->data[i].label;
            if (pass == 0 && file_exists(name) && slash != NULL && slash[1] != 0) name = slash + 1;
            snprintf(label, sizeof s->data[i].label, "%s%s%s", name, config != NULL ? ":" : "", config != NULL ? config : "");
            label_mend(label);
            for (int64_t j = 0; j < i; j++) same = same || strcmp(label, s->data[j].label) == 0;
        }
        if (!same) return;
    }
}

// judged: it is evaluated on its own part. Else all of it is trained on.
static heed_status open_member(source_data *d, const wanted *w, bool judged, const tokenizer *words, int64_t seed,
                               heed_error *error) {
    heed_status status;
    if (is_demo(w->name)) status = dataset_demo(&d->all, words, (uint64_t)seed, DEMO_DOCUMENTS, error);
    else if (has_splits(w->name)) status = open_splits(d, w, judged, words, error);
    else status = dataset_read(&d->all, w->name, words, error);
    if (status != HEED_OK || d->learn != NULL) return status;
    d->judged = judged && d->all.documents > 1;
    d->learn = d->judged ? &d->part : &d->all;
    return d->judged ? dataset_split(&d->all, HELD_OUT, &d->part, &d->held, error) : HEED_OK;
}

// A data set that is only evaluated on: a split of its own, else all of it.
static heed_status open_judge(sources *s, const wanted *w, int64_t seed, heed_error *error) {
    if (is_demo(w->name)) {
        dataset rest = {0};
        heed_status status = dataset_demo(&s->spoken, s->words, (uint64_t)seed, DEMO_DOCUMENTS, error);
        if (status == HEED_OK) status = dataset_split(&s->spoken, HELD_OUT, &rest, &s->judge, error);
        dataset_free(&rest);
        return status;
    }
    if (!has_splits(w->name)) return dataset_read(&s->judge, w->name, s->words, error);
    char *folder;
    heed_status status = cache_dir_find_dataset(&folder, w->name, error);
    if (status != HEED_OK) return status;
    const dataset_place at = {w->name, folder, w->config};
    const char *split = w->eval_split != NULL ? w->eval_split : dataset_folder_held_out(&at);
    status = read_split(&s->judge, &at, split != NULL ? split : train_split, s->words, error);
    free(folder);
    return status;
}

// ---- all of a run ----

heed_status sources_open_data(sources *s, const train_options *o, heed_error *error) {
    heed_status status = options_members(o, &s->members, error);
    if (status != HEED_OK) return status;
    s->data = calloc((size_t)s->members.count, sizeof *s->data);
    if (s->data == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for a list of data sets");
    label_members(s);
    // The demo's evaluation is what training on demo would have held out: a part of the data only where demo is the data.
    const bool one_demo = s->members.count == 1 && is_demo(s->members.name[0]);
    const bool own = o->eval_dataset == NULL || (one_demo && is_demo(o->eval_dataset));
    for (int64_t i = 0; status == HEED_OK && i < s->members.count; i++) {
        const bool splits = has_splits(s->members.name[i]);
        const wanted w = {s->members.name[i], s->members.config[i], splits ? o->eval_split : NULL};
        status = open_member(&s->data[i], &w, own, s->words, o->seed, error);
    }
    if (status != HEED_OK || own) return status;
    s->judge_named = true;
    return open_judge(s, &(wanted){o->eval_dataset, NULL, o->eval_split}, o->seed, error);
}

heed_status sources_open_eval(sources *s, const train_options *o, heed_error *error) {
    return open_judge(s, &(wanted){o->dataset, o->dataset_config, o->eval_split}, o->seed, error);
}

heed_status sources_check_splits(const train_options *o, heed_error *error) {
    member_list members;
    const heed_status status = options_members(o, &members, error);
    if (status != HEED_OK) return status;
    const char *without = NULL;
    bool any = false;
    for (int64_t i = 0; i < members.count; i++) {
        const bool splits = has_splits(members.name[i]);
        any = any || splits;
        if (members.config[i] != NULL && !splits && without == NULL) without = members.name[i];
    }
    heed_error found = {0};
    if (without != NULL)
        error_set(&found, HEED_INVALID, "%s has no effect here: %.80s is no folder and no data set of the Hugging Face cache, "
                  "which alone have configurations", o->datasets != NULL ? "--dataset_configs" : "--dataset_config", without);
    const bool judged = o->eval_dataset != NULL ? has_splits(o->eval_dataset) : any;
    if (without == NULL && o->eval_split != NULL && !judged)
        error_set(&found, HEED_INVALID, "--eval_split has no effect here: what is evaluated on is no folder and no data set of the "
                  "Hugging Face cache, which alone have splits");
    free(members.memory);
    if (found.status != HEED_OK && error != NULL) *error = found;
    return found.status;
}

void sources_close_data(sources *s) {
    for (int64_t i = 0; s->data != NULL && i < s->members.count; i++) {
        dataset_free(&s->data[i].part);
        dataset_free(&s->data[i].held);
        dataset_free(&s->data[i].all);
    }
    dataset_free(&s->judge);
    dataset_free(&s->spoken);
    free(s->data);
    free(s->members.memory);
}
