// SPDX-License-Identifier: Apache-2.0
#include "cli/capture_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/memory.h"
#include "io/file.h"

enum { PROBLEM_BYTES_MOST = 4095 };

static bool ends_in(const char *path, const char *end) {
    const size_t n = strlen(path), m = strlen(end);
    return n > m && strcmp(path + n - m, end) == 0;
}

bool capture_file_named(const char *path) { return ends_in(path, ".npz") || ends_in(path, ".safetensors"); }

// The array `problem`: a text, or its bytes.
static heed_status take_problem(capture_file *f, const tensor_view *t, heed_error *error) {
    if ((t->type != TENSOR_U8 && t->type != TENSOR_I8) || t->elements > PROBLEM_BYTES_MOST)
        return error_set(error, HEED_INVALID, "%s: problem must be a text or its bytes, at most %d of them", f->of.from,
                         PROBLEM_BYTES_MOST);
    if (memchr(t->data, 0, t->bytes) != NULL) return error_set(error, HEED_INVALID, "%s: problem holds a zero byte", f->of.from);
    f->problem = strndup(t->data, t->bytes);
    f->of.problem = f->problem;
    return f->problem != NULL ? HEED_OK : error_set(error, HEED_NO_MEMORY, "no memory to read %s", f->of.from);
}

static bool is_archive(const char *path) {
    file_map map;
    if (ends_in(path, ".npz") || ends_in(path, ".safetensors")) return ends_in(path, ".npz");
    if (file_map_open(&map, path, NULL) != HEED_OK) return false;
    const bool zipped = map.length > 2 && (memcmp(map.bytes, "PK", 2) == 0 || map.bytes[0] == 0x80);    // 0x80: a pickle
    file_map_close(&map);
    return zipped;
}

heed_status capture_file_open(capture_file *f, const char *path, heed_error *error) {
    *f = (capture_file){.of = {.from = file_shown(path)}};
    if (is_archive(path)) {
        heed_status status = npz_open(&f->zipped, path, error);
        if (status != HEED_OK) return status;
        f->of.array = npz_at(f->zipped, 0);
        f->of.n = npz_count(f->zipped);
        const tensor_view *problem = npz_find(f->zipped, "problem");
        return problem == NULL ? HEED_OK : take_problem(f, problem, error);
    }
    const heed_status status = safetensors_open(&f->plain, path, error);
    if (status != HEED_OK) return status;
    f->of.n = safetensors_count(f->plain);
    f->of.array = safetensors_at(f->plain, 0);
    f->of.problem = safetensors_metadata(f->plain, "problem");
    return HEED_OK;
}

void capture_file_close(capture_file *f) {
    npz_close(f->zipped);
    safetensors_close(f->plain);
    free(f->problem);
    *f = (capture_file){.of = {.from = f->of.from}};
}

// The writer of safetensors is not atomic: a draft beside the file, then a rename.
static heed_status write_safetensors(const char *path, const capture_list *list, heed_error *error) {
    const char *slash = strrchr(path, '/'), *name = slash == NULL ? path : slash + 1;
    text_string draft = {0};
    text_format(&draft, "%.*s" FILE_DRAFT "%s", (int)(name - path), path, name);
    if (draft.failed) return error_set(error, HEED_NO_MEMORY, "no memory to write %s", file_shown(path));
    const tensor_note note = {"problem", list->problem};
    heed_status status = safetensors_write(draft.text, list->array, list->n, &note, 1, error);
    if (status == HEED_OK && rename(draft.text, path) != 0)
        status = error_set(error, HEED_INVALID, "cannot rename %s to its name", file_shown(draft.text));
    if (status == HEED_OK) status = file_sync_parent(path, error);
    else unlink(draft.text);
    free(draft.text);
    return status;
}

heed_status capture_file_write(const char *path, const call *c, const call_results *results, heed_error *error) {
    if (!capture_file_named(path))
        return error_set(error, HEED_INVALID, "%s: the name must end in .npz or .safetensors", file_shown(path));
    capture_list list;
    heed_status status = capture_list_of(&list, c, results, error);
    const npz_text text = {"problem", list.problem};
    if (status == HEED_OK)
        status = ends_in(path, ".npz") ? npz_write(path, list.array, list.n, &text, 1, error) : write_safetensors(path, &list,
                                                                                                                  error);
    memory_free(list.memory);
    return status;
}
