// SPDX-License-Identifier: Apache-2.0
#include "io/dataset_folder.h"

#include "base/text.h"
#include "io/dataset.h"
#include "io/file.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS = 4, SPLITS = 3, DEPTH = 4, FILES = 1 << 16 };
static const char *const split_words[SPLITS][WORDS + 1] = {
    {"train", "training"}, {"validation", "valid", "dev", "val"}, {"test", "testing", "eval", "evaluation"},
};
static const char parquet[] = ".parquet";

void paths_free(path_list *list) {
    for (int64_t i = 0; i < list->count; i++) free(list->path[i]);
    free(list->path);
    *list = (path_list){0};
}

static heed_status paths_add(path_list *list, char *path, heed_error *error) {
    if (path == NULL || list->count >= FILES) {
        free(path);
        if (path != NULL) return error_set(error, HEED_INVALID, "more than %d files in one data set", FILES);
        return error_set(error, HEED_NO_MEMORY, "no memory for a list of files");
    }
    char **grown = realloc(list->path, ((size_t)list->count + 1) * sizeof *grown);
    if (grown == NULL) {
        free(path);
        return error_set(error, HEED_NO_MEMORY, "no memory for a list of files");
    }
    list->path = grown;
    list->path[list->count++] = path;
    return HEED_OK;
}

// ---- words in names ----

static bool parts_words(char c) { return c == 0 || strchr("-._ /", c) != NULL || isdigit((unsigned char)c); }

static bool has_word(const char *text, const char *word) {
    const size_t n = strlen(word);
    for (const char *at = text; (at = strstr(at, word)) != NULL; at++)
        if (parts_words(at == text ? 0 : at[-1]) && parts_words(at[n])) return true;
    return false;
}

static int split_in(const char *text) {
    for (int split = 0; split < SPLITS; split++)
        for (int word = 0; split_words[split][word] != NULL; word++)
            if (has_word(text, split_words[split][word])) return split;
    return -1;
}

// Of a path below the data set's folder; -1: it names none.
static int split_of(const char *relative) {
    const char *slash = strrchr(relative, '/');
    const int named = split_in(slash == NULL ? relative : slash + 1);
    return named >= 0 ? named : split_in(relative);
}

// The group a name such as "dev" belongs to; -1: a name of the data set's own.
static int split_named(const char *name) {
    for (int split = 0; split < SPLITS; split++)
        for (int word = 0; split_words[split][word] != NULL; word++)
            if (strcmp(name, split_words[split][word]) == 0) return split;
    return -1;
}

// ---- files ----

static bool ends_in_parquet(const char *name) {
    const size_t n = strlen(name), length = sizeof parquet - 1;
    return n > length && strcmp(name + n - length, parquet) == 0;
}

// Hidden files, and those in which the datasets library keeps what it knows, are no data.
static bool is_data(const char *name) {
    static const char *const records[] = {"dataset_infos.json", "dataset_info.json", "dataset_dict.json", "state.json"};
    for (size_t i = 0; i < sizeof records / sizeof *records; i++)
        if (strcmp(name, records[i]) == 0) return false;
    return name[0] != '.' && (dataset_readable(name) || ends_in_parquet(name));
}

// Adds the data files of `folder`, as paths relative to `root`; subfolders only where they are no configurations.
static heed_status collect(path_list *list, const char *root, const char *below, int depth, heed_error *error) {
    char *folder = *below == 0 ? strdup(root) : file_join(root, below);
    DIR *open = folder == NULL ? NULL : opendir(folder);
    heed_status status = HEED_OK;
    if (open == NULL)
        status = error_set(error, HEED_INVALID, "%s cannot be read: %s", file_shown(folder == NULL ? root : folder),
                           strerror(errno));
    for (const struct dirent *entry; status == HEED_OK && (entry = readdir(open)) != NULL;) {
        if (entry->d_name[0] == '.') continue;
        char *path = file_join(folder, entry->d_name), *relative = *below == 0 ? strdup(entry->d_name)
            : file_join(below, entry->d_name);
        const bool is_folder = path != NULL && file_is_folder(path);
        if (path == NULL || relative == NULL) status = error_set(error, HEED_NO_MEMORY, "no memory for a list of files");
        else if (is_folder && depth > 0 && (strcmp(entry->d_name, "data") == 0 || split_in(entry->d_name) >= 0))
            status = collect(list, root, relative, depth - 1, error);
        else if (!is_folder && is_data(entry->d_name)) {
            status = paths_add(list, relative, error);
            relative = NULL;
        }
        free(relative);
        free(path);
    }
    if (open != NULL) closedir(open);
    free(folder);
    return status;
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

// The names of a folder's own folders, for a sentence.
static void list_folders(const char *folder, text_buffer *text) {
    DIR *open = opendir(folder);
    for (const struct dirent *entry; open != NULL && (entry = readdir(open)) != NULL;) {
        char *path = entry->d_name[0] == '.' ? NULL : file_join(folder, entry->d_name);
        if (path != NULL && file_is_folder(path)) text_add(text, "%s%.30s", text->length > 0 ? ", " : "", entry->d_name);
        free(path);
    }
    if (open != NULL) closedir(open);
}

// A configuration's name is a path inside of the data set.
static bool stays_inside(const char *config) {
    return config[0] != '/' && strcmp(config, "..") != 0 && strncmp(config, "../", 3) != 0 && strstr(config, "/../") == NULL &&
           (strlen(config) < 3 || strcmp(config + strlen(config) - 3, "/..") != 0);
}

// All data files, relative to *root (free it), sorted.
static heed_status find_all(path_list *all, char **root, const dataset_place *at, heed_error *error) {
    *all = (path_list){0};
    *root = at->config == NULL ? strdup(at->folder) : file_join(at->folder, at->config);
    if (*root == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for the name of a folder");
    char names[100] = "";
    text_buffer list = {names, sizeof names, 0};
    if (at->config != NULL && (!stays_inside(at->config) || !file_is_folder(*root))) {
        list_folders(at->folder, &list);
        return error_set(error, HEED_INVALID, "--dataset_config %.40s: data set %s has no such folder%s%s", at->config,
                         file_shown(at->name), names[0] != 0 ? "; it has: " : "", names);
    }
    const heed_status status = collect(all, *root, "", DEPTH, error);
    if (status != HEED_OK) return status;
    if (all->count > 0) {
        qsort(all->path, (size_t)all->count, sizeof *all->path, by_name);
        return HEED_OK;
    }
    list_folders(*root, &list);
    if (names[0] != 0)
        return error_set(error, HEED_INVALID, "data set %s has configurations, of which --dataset_config names one: %s",
                         file_shown(at->name), names);
    return error_set(error, HEED_INVALID, "data set %s has no .txt, .jsonl, .json, .csv, .tsv or .bin file", file_shown(at->name));
}

// Does file i belong to the split? With no file named by any split, all are train.
static bool belongs(const path_list *all, int64_t i, const char *split) {
    const int group = split_named(split);
    if (group < 0) return has_word(all->path[i], split);
    const int of = split_of(all->path[i]);
    if (of >= 0 || group > 0) return of == group;
    for (int64_t j = 0; j < all->count; j++)
        if (split_of(all->path[j]) >= 0) return false;
    return true;
}

heed_status dataset_folder_files(path_list *files, const dataset_place *at, const char *split, heed_error *error) {
    *files = (path_list){0};
    path_list all;
    char *root;
    heed_status status = find_all(&all, &root, at, error);
    for (int64_t i = 0; status == HEED_OK && i < all.count; i++) {
        if (!belongs(&all, i, split)) continue;
        if (ends_in_parquet(all.path[i]))
            status = error_set(error, HEED_REFUSED, "data set %s holds its %s split as .parquet, which is not built yet (%.60s); "
                               ".jsonl and .csv are", file_shown(at->name), split, all.path[i]);
        else status = paths_add(files, file_join(root, all.path[i]), error);
    }
    if (status != HEED_OK) paths_free(files);
    paths_free(&all);
    free(root);
    return status;
}

static void find_splits(const dataset_place *at, bool there[SPLITS]) {
    path_list all;
    char *root;
    const heed_status status = find_all(&all, &root, at, NULL);
    for (int64_t i = 0; status == HEED_OK && i < all.count; i++)
        for (int split = 0; split < SPLITS; split++) there[split] = there[split] || belongs(&all, i, split_words[split][0]);
    paths_free(&all);
    free(root);
}

void dataset_folder_splits(const dataset_place *at, char *text, size_t bytes) {
    text_buffer list = {text, bytes, 0};
    bool there[SPLITS] = {0};
    text[0] = 0;
    find_splits(at, there);
    for (int split = 0; split < SPLITS; split++)
        if (there[split]) text_add(&list, "%s%s", list.length > 0 ? ", " : "", split_words[split][0]);
}

const char *dataset_folder_held_out(const dataset_place *at) {
    bool there[SPLITS] = {0};
    find_splits(at, there);
    for (int split = 1; split < SPLITS; split++)
        if (there[split]) return split_words[split][0];
    return NULL;
}
