// SPDX-License-Identifier: Apache-2.0
// The reader. Outline: map the file; check the header's length; parse it as JSON; check each entry alone; sort the entries by
// offset and check them against one another: they must tile the data exactly, which excludes overlaps, holes and trailing bytes.
#include "io/safetensors.h"

#include "base/memory.h"
#include "io/file.h"
#include "io/json.h"

#include <stdlib.h>
#include <string.h>

enum { HEADER_AT = 8, HEADER_MOST = 100 << 20 };    // the limit of the reference implementation

struct safetensors {
    char *path;
    file_map map;
    json_t *header;           // owns the names and the metadata
    int64_t count;
    tensor_view *by_offset, **by_name;
};

static uint64_t read_u64(const unsigned char *at) {
    uint64_t x = 0;
    for (int i = 7; i >= 0; i--) x = x << 8 | at[i];
    return x;
}

// "FILE: tensor NAME: " and what is wrong.
static heed_status fail(heed_error *error, const safetensors *f, const char *name, const char *what) {
    return error_set(error, HEED_INVALID, "%s: tensor %.60s in the header at byte 8: %s", file_shown(f->path), name, what);
}

static heed_status parse_shape(const safetensors *f, tensor_view *t, const json_t *shape, heed_error *error) {
    if (!json_is_array(shape)) return fail(error, f, t->name, "shape must be a list of integers");
    if (json_array_size(shape) > TENSOR_DIMS) return fail(error, f, t->name, "shape has more than 8 dimensions");
    t->dims = (int)json_array_size(shape);
    t->elements = 1;
    for (int i = 0; i < t->dims; i++) {
        const json_t *extent = json_array_get(shape, (size_t)i);
        if (!json_is_integer(extent) || json_integer_value(extent) < 0)
            return fail(error, f, t->name, "shape must be a list of integers of at least 0");
        t->shape[i] = json_integer_value(extent);
        if (!int64_mul(t->elements, t->shape[i], &t->elements)) return fail(error, f, t->name, "the product of shape overflows");
    }
    return HEED_OK;
}

static heed_status parse_offsets(const safetensors *f, tensor_view *t, const json_t *offsets, heed_error *error) {
    const size_t room = f->map.length - HEADER_AT - (size_t)read_u64(f->map.bytes);
    if (!json_is_array(offsets) || json_array_size(offsets) != 2 || !json_is_integer(json_array_get(offsets, 0)) ||
        !json_is_integer(json_array_get(offsets, 1)))
        return fail(error, f, t->name, "data_offsets must be two integers");
    const int64_t begin = json_integer_value(json_array_get(offsets, 0)), end = json_integer_value(json_array_get(offsets, 1));
    if (begin < 0 || end < begin || (uint64_t)end > room)
        return error_set(error, HEED_INVALID, "%s: tensor %.60s: data_offsets [%lld, %lld] must be within the %zu bytes of data",
                         file_shown(f->path), t->name, (long long)begin, (long long)end, room);
    int64_t bytes;
    if (!int64_mul(t->elements, (int64_t)tensor_type_bytes(t->type), &bytes) || bytes != end - begin)
        return error_set(error, HEED_INVALID, "%s: tensor %.60s: data_offsets [%lld, %lld] hold %lld bytes, but shape and dtype %s "
                         "need %lld elements of %zu bytes", file_shown(f->path), t->name, (long long)begin, (long long)end,
                         (long long)(end - begin), tensor_type_name(t->type), (long long)t->elements, tensor_type_bytes(t->type));
    t->bytes = (size_t)bytes;
    t->data = f->map.bytes + (f->map.length - room) + begin;
    return HEED_OK;
}

static heed_status parse_tensor(const safetensors *f, tensor_view *t, const char *name, const json_t *entry, heed_error *error) {
    t->name = name;
    if (!json_is_object(entry)) return fail(error, f, name, "must be an object");
    if (json_object_size(entry) != 3) return fail(error, f, name, "must have exactly dtype, shape and data_offsets");
    const char *type = json_string_value(json_object_get(entry, "dtype"));
    if (type == NULL) return fail(error, f, name, "dtype must be a text");
    int at = 0;
    while (at < TENSOR_TYPES && strcmp(tensor_type_name((tensor_type)at), type) != 0) at++;
    if (at == TENSOR_TYPES)
        return error_set(error, HEED_INVALID, "%s: tensor %.60s: dtype \"%.20s\" is not known (F32, F16, BF16, ... are)",
                         file_shown(f->path), name, type);
    t->type = (tensor_type)at;
    const heed_status status = parse_shape(f, t, json_object_get(entry, "shape"), error);
    return status != HEED_OK ? status : parse_offsets(f, t, json_object_get(entry, "data_offsets"), error);
}

static heed_status check_metadata(const safetensors *f, const json_t *metadata, heed_error *error) {
    if (!json_is_object(metadata)) return fail(error, f, "__metadata__", "must be an object");
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)metadata, key, value)
        if (!json_is_string(value)) return fail(error, f, "__metadata__", "must hold texts only");
    return HEED_OK;
}

static heed_status parse_header(safetensors *f, heed_error *error) {
    if (f->map.length < HEADER_AT)
        return error_set(error, HEED_INVALID, "%s: header length at byte 0: the file has %zu bytes, at least 8 are needed",
                         file_shown(f->path), f->map.length);
    const uint64_t length = read_u64(f->map.bytes);
    if (length > HEADER_MOST || length > f->map.length - HEADER_AT)
        return error_set(error, HEED_INVALID, "%s: header length at byte 0 is %llu; %zu fit in the file, 100 MiB are allowed",
                         file_shown(f->path), (unsigned long long)length, f->map.length - HEADER_AT);
    const char *text = (const char *)f->map.bytes + HEADER_AT;
    if (length == 0 || text[0] != '{')
        return error_set(error, HEED_INVALID, "%s: header at byte 8: must begin with {", file_shown(f->path));
    const heed_status status = json_file_parse(&f->header, text, (size_t)length, file_shown(f->path), error);
    if (status != HEED_OK) return error_within(error, status, "header at byte 8");
    const json_t *metadata = json_object_get(f->header, "__metadata__");
    return metadata == NULL ? HEED_OK : check_metadata(f, metadata, error);
}

static int compare_offset(const void *a, const void *b) {
    const tensor_view *x = a, *y = b;
    if (x->data != y->data) return (const char *)x->data < (const char *)y->data ? -1 : 1;
    return x->bytes != y->bytes ? (x->bytes < y->bytes ? -1 : 1) : strcmp(x->name, y->name);    // an empty tensor precedes
}

static int compare_name(const void *a, const void *b) {
    return strcmp((*(const tensor_view *const *)a)->name, (*(const tensor_view *const *)b)->name);
}

// Sorted by offset, each tensor must begin where the one before ended, and the last end with the file.
static heed_status check_tiling(const safetensors *f, heed_error *error) {
    const char *base = (const char *)f->map.bytes, *at = base + HEADER_AT + read_u64(f->map.bytes);
    for (int64_t i = 0; i < f->count; i++) {
        const tensor_view *t = &f->by_offset[i];
        if (t->data != at)
            return error_set(error, HEED_INVALID, "%s: tensor %.60s at byte %lld: %s at byte %lld", file_shown(f->path), t->name,
                             (long long)((const char *)t->data - base), (const char *)t->data < at ?
                             "overlaps the tensor that ends" : "leaves a hole that begins", (long long)(at - base));
        at += t->bytes;
    }
    if (at != base + f->map.length)
        return error_set(error, HEED_INVALID, "%s: %lld bytes at byte %lld belong to no tensor", file_shown(f->path),
                         (long long)(base + f->map.length - at), (long long)(at - base));
    return HEED_OK;
}

static heed_status read_tensors(safetensors *f, heed_error *error) {
    heed_status status = parse_header(f, error);
    if (status != HEED_OK) return status;
    const size_t room = json_object_size(f->header);
    f->by_offset = calloc(room + 1, sizeof *f->by_offset);
    f->by_name = calloc(room + 1, sizeof(tensor_view *));
    if (f->by_offset == NULL || f->by_name == NULL)
        return error_set(error, HEED_NO_MEMORY, "no memory for the %zu tensors of %s", room, file_shown(f->path));
    const char *name;
    json_t *entry;
    json_object_foreach(f->header, name, entry) {
        if (strcmp(name, "__metadata__") == 0) continue;
        status = parse_tensor(f, &f->by_offset[f->count++], name, entry, error);
        if (status != HEED_OK) return status;
    }
    qsort(f->by_offset, (size_t)f->count, sizeof *f->by_offset, compare_offset);
    for (int64_t i = 0; i < f->count; i++) f->by_name[i] = &f->by_offset[i];
    qsort(f->by_name, (size_t)f->count, sizeof(tensor_view *), compare_name);
    return check_tiling(f, error);
}

heed_status safetensors_open(safetensors **opened, const char *path, heed_error *error) {
    *opened = NULL;
    safetensors *f = calloc(1, sizeof *f);
    if (f == NULL || (f->path = strdup(path)) == NULL) {
        free(f);
        return error_set(error, HEED_NO_MEMORY, "no memory to open %s", file_shown(path));
    }
    heed_status status = file_map_open(&f->map, path, error);
    if (status == HEED_OK) status = read_tensors(f, error);
    if (status != HEED_OK) {
        safetensors_close(f);
        return status;
    }
    *opened = f;
    return HEED_OK;
}

void safetensors_close(safetensors *f) {
    if (f == NULL) return;
    json_decref(f->header);
    file_map_close(&f->map);
    free(f->by_offset);
    free(f->by_name);
    free(f->path);
    free(f);
}

int64_t safetensors_count(const safetensors *f) { return f->count; }

const tensor_view *safetensors_at(const safetensors *f, int64_t index) {
    return index >= 0 && index < f->count ? &f->by_offset[index] : NULL;
}

const tensor_view *safetensors_find(const safetensors *f, const char *name) {
    const tensor_view wanted = {.name = name}, *key = &wanted;
    if (f->count == 0) return NULL;
    tensor_view *const *found = bsearch(&key, f->by_name, (size_t)f->count, sizeof(tensor_view *), compare_name);
    return found == NULL ? NULL : *found;
}

const char *safetensors_metadata(const safetensors *f, const char *key) {
    return json_string_value(json_object_get(json_object_get(f->header, "__metadata__"), key));
}

static void print_shape(text_buffer *b, int dims, const int64_t *shape) {
    text_add(b, "(");
    for (int i = 0; i < dims; i++) text_add(b, i == 0 ? "%lld" : ", %lld", (long long)shape[i]);
    text_add(b, ")");
}

static bool is_real(tensor_type type) { return type == TENSOR_F32 || type == TENSOR_F16 || type == TENSOR_BF16; }

heed_status safetensors_need(const safetensors *f, const char *name, tensor_type type, int dims, const int64_t *shape,
                             const tensor_view **found, heed_error *error) {
    const tensor_view *t = safetensors_find(f, name);
    if (t == NULL) return error_set(error, HEED_INVALID, "%s: tensor %.60s is missing", file_shown(f->path), name);
    if (type == TENSOR_TYPES ? !is_real(t->type) : t->type != type)
        return error_set(error, HEED_INVALID, "%s: tensor %.60s has dtype %s; %s is needed", file_shown(f->path), name,
                         tensor_type_name(t->type), type == TENSOR_TYPES ? "F32, F16 or BF16" : tensor_type_name(type));
    if (t->dims != dims || (dims > 0 && memcmp(t->shape, shape, (size_t)dims * sizeof *shape) != 0)) {
        char has[64], needs[64];
        text_buffer a = {has, sizeof has, 0}, b = {needs, sizeof needs, 0};
        print_shape(&a, t->dims, t->shape);
        print_shape(&b, dims, shape);
        return error_set(error, HEED_INVALID, "%s: tensor %.60s has shape %s; %s is needed", file_shown(f->path), name, has, needs);
    }
    *found = t;
    return HEED_OK;
}
