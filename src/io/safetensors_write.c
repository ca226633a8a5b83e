// SPDX-License-Identifier: Apache-2.0
// The writer: header first, since every size is known before any byte of data.
#include "io/safetensors.h"

#include "base/memory.h"
#include "io/file.h"
#include "io/json.h"

#include <stdlib.h>
#include <string.h>

struct safetensors_writer { file_writer *file; uint64_t left; char *path; };    // left: bytes of data still to come

// Fills elements and bytes of a copy of the caller's tensor; false: a field is out of range.
static bool measure(tensor_view *t) {
    if (t->name == NULL || (unsigned)t->type >= TENSOR_TYPES || t->dims < 0 || t->dims > TENSOR_DIMS) return false;
    t->elements = 1;
    for (int i = 0; i < t->dims; i++)
        if (t->shape[i] < 0 || !int64_mul(t->elements, t->shape[i], &t->elements)) return false;
    int64_t bytes;
    if (!int64_mul(t->elements, (int64_t)tensor_type_bytes(t->type), &bytes)) return false;
    t->bytes = (size_t)bytes;
    return true;
}

static bool add_tensor(json_t *header, const tensor_view *t, int64_t begin) {
    if (strcmp(t->name, "__metadata__") == 0 || json_object_get(header, t->name) != NULL) return false;
    json_t *shape = json_array();
    for (int i = 0; i < t->dims; i++) json_array_append_new(shape, json_integer(t->shape[i]));
    json_t *entry = json_pack("{s:s, s:o, s:[I, I]}", "dtype", tensor_type_name(t->type), "shape", shape, "data_offsets",
                              (json_int_t)begin, (json_int_t)begin + (json_int_t)t->bytes);
    return entry != NULL && json_object_set_new(header, t->name, entry) == 0;    // refuses a name that is not UTF-8
}

// Builds the header; *total becomes the bytes of data.
static heed_status build_header(json_t *header, const char *path, const tensor_view *tensors, int64_t count,
                                const tensor_note *notes, int64_t n_notes, int64_t *total, heed_error *error) {
    json_t *metadata = json_pack("{s:s}", "format", "pt");
    if (metadata == NULL || json_object_set_new(header, "__metadata__", metadata) != 0)
        return error_set(error, HEED_NO_MEMORY, "no memory to write %s", file_shown(path));
    for (int64_t i = 0; i < n_notes; i++)
        if (json_object_set_new(metadata, notes[i].key, json_string(notes[i].value)) != 0)
            return error_set(error, HEED_INVALID, "%s: metadata %.60s must be UTF-8", file_shown(path), notes[i].key);
    *total = 0;
    for (int64_t i = 0; i < count; i++) {
        tensor_view t = tensors[i];
        if (!measure(&t) || t.bytes > (size_t)(INT64_MAX - *total) || !add_tensor(header, &t, *total))
            return error_set(error, HEED_INVALID, "%s: tensor %.60s: name must be unique UTF-8, dtype known, and the size of all "
                             "tensors below 2^63", file_shown(path), t.name == NULL ? "without name" : t.name);
        *total += (int64_t)t.bytes;
    }
    return HEED_OK;
}

static heed_status write_header(safetensors_writer *w, const json_t *header, heed_error *error) {
    text_string text = {0};
    heed_status status = json_file_print(header, false, &text, error);
    while (status == HEED_OK && !text.failed && text.length % 8 != 0) text_append(&text, " ", 1);
    if (status == HEED_OK && text.failed) status = error_set(error, HEED_NO_MEMORY, "no memory to write %s", file_shown(w->path));
    unsigned char length[8];
    for (int i = 0; i < 8; i++) length[i] = (unsigned char)((uint64_t)text.length >> 8 * i);
    if (status == HEED_OK) status = file_write(w->file, length, sizeof length, error);
    if (status == HEED_OK) status = file_write(w->file, text.text, text.length, error);
    free(text.text);
    return status;
}

heed_status safetensors_begin(safetensors_writer **begun, const char *path, const tensor_view *tensors, int64_t count,
                              const tensor_note *notes, int64_t n_notes, heed_error *error) {
    *begun = NULL;
    json_t *header = json_object();
    safetensors_writer *w = calloc(1, sizeof *w);
    int64_t total = 0;
    heed_status status = HEED_OK;
    if (header == NULL || w == NULL || (w->path = strdup(path)) == NULL)
        status = error_set(error, HEED_NO_MEMORY, "no memory to write %s", file_shown(path));
    if (status == HEED_OK) status = build_header(header, path, tensors, count, notes, n_notes, &total, error);
    if (status == HEED_OK) status = file_create(&w->file, path, error);
    if (status == HEED_OK) status = write_header(w, header, error);
    json_decref(header);
    if (status != HEED_OK) {
        safetensors_abandon(w);
        return status;
    }
    w->left = (uint64_t)total;
    *begun = w;
    return HEED_OK;
}

heed_status safetensors_append(safetensors_writer *w, const void *bytes, size_t n, heed_error *error) {
    heed_status status = HEED_OK;
    if (n > w->left)
        status = error_set(error, HEED_INVALID, "%s: %zu bytes of data given, but the shapes leave %llu", file_shown(w->path), n,
                           (unsigned long long)w->left);
    if (status == HEED_OK) status = file_write(w->file, bytes, n, error);
    if (status == HEED_OK) w->left -= n;
    else safetensors_abandon(w);
    return status;
}

heed_status safetensors_end(safetensors_writer *w, heed_error *error) {
    heed_status status = HEED_OK;
    if (w->left > 0)
        status = error_set(error, HEED_INVALID, "%s: %llu bytes of data are missing", file_shown(w->path),
                           (unsigned long long)w->left);
    if (status == HEED_OK) {
        status = file_finish(w->file, error);
        w->file = NULL;
    }
    safetensors_abandon(w);
    return status;
}

void safetensors_abandon(safetensors_writer *w) {
    if (w == NULL) return;
    file_abandon(w->file);
    free(w->path);
    free(w);
}

heed_status safetensors_write(const char *path, const tensor_view *tensors, int64_t count, const tensor_note *notes,
                              int64_t n_notes, heed_error *error) {
    safetensors_writer *w;
    heed_status status = safetensors_begin(&w, path, tensors, count, notes, n_notes, error);
    for (int64_t i = 0; i < count && status == HEED_OK; i++) {
        tensor_view t = tensors[i];
        measure(&t);    // begin has accepted it
        status = safetensors_append(w, t.data, t.bytes, error);
    }
    return status == HEED_OK ? safetensors_end(w, error) : status;
}
