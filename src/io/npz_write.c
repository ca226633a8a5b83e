// SPDX-License-Identifier: Apache-2.0
// The writer: local headers with their arrays, then the directory, all in memory, then one atomic write.
#include "io/npz.h"

#include "base/memory.h"
#include "base/text.h"
#include "io/file.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { VERSION_NEEDED = 20, DATE = 0x21, ALIGNED = 64 };    // 1980-01-01: the same bytes whenever it is written
static const size_t BYTES_MOST = 0xffffffffu;               // beyond is zip64

typedef struct { text_string file, directory; int64_t members; heed_error *error; const char *path; } writer;

static void put(text_string *s, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++) {
        const char byte = i < 8 ? (char)(value >> 8 * i) : 0;
        text_append(s, &byte, 1);
    }
}

// The fields that a member's header and its entry share.
static void put_fields(text_string *s, uint32_t checksum, size_t size, size_t name) {
    put(s, VERSION_NEEDED, 2);
    put(s, 0, 2);         // flags
    put(s, 0, 2);         // stored
    put(s, 0, 2);         // time
    put(s, DATE, 2);
    put(s, checksum, 4);
    put(s, size, 4);
    put(s, size, 4);
    put(s, name, 2);
}

static heed_status add_member(writer *w, const char *name, const text_string *header, const void *data, size_t bytes) {
    const size_t size = size_add(header->length, bytes), at = w->file.length, length = strlen(name) + 4;
    if (header->failed) return error_set(w->error, HEED_NO_MEMORY, "no memory to write %s", file_shown(w->path));
    if (length > 0xffff || size_add(at, size_add(size, (size_t)(w->directory.length + 2 * length + 200))) > BYTES_MOST)
        return error_set(w->error, HEED_REFUSED, "%s: a .npz of 4 GiB or more is not written; .safetensors has no such limit",
                         file_shown(w->path));
    uLong checksum = crc32_z(0, (const Bytef *)header->text, header->length);
    if (bytes > 0) checksum = crc32_z(checksum, data, bytes);
    put(&w->file, 0x04034b50, 4);
    put_fields(&w->file, (uint32_t)checksum, size, length);
    put(&w->file, 0, 2);
    text_format(&w->file, "%s.npy", name);
    text_append(&w->file, header->text, header->length);
    if (bytes > 0) text_append(&w->file, data, bytes);
    put(&w->directory, 0x02014b50, 4);
    put(&w->directory, VERSION_NEEDED, 2);
    put_fields(&w->directory, (uint32_t)checksum, size, length);
    put(&w->directory, 0, 2 + 2 + 2 + 2 + 4);    // extra, comment, disk, attributes
    put(&w->directory, at, 4);
    text_format(&w->directory, "%s.npy", name);
    w->members++;
    return HEED_OK;
}

// The dictionary of a header, so that data begin at a multiple of 64, as NumPy writes it.
static text_string header_of(const char *descr, int dims, const int64_t *shape) {
    text_string fields = {0}, s = {0};
    text_format(&fields, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
    for (int i = 0; i < dims; i++) text_format(&fields, i == 0 ? "%lld" : ", %lld", (long long)shape[i]);
    text_format(&fields, dims == 1 ? ",), }" : "), }");
    while (!fields.failed && (10 + fields.length + 1) % ALIGNED != 0) text_append(&fields, " ", 1);
    text_append(&fields, "\n", 1);
    text_append(&s, "\x93NUMPY\1\0", 8);
    put(&s, fields.length, 2);
    if (!fields.failed) text_append(&s, fields.text, fields.length);
    s.failed |= fields.failed;
    free(fields.text);
    return s;
}

static const char *descr_of(tensor_type type) {
    static const char *const descr[TENSOR_TYPES] = {
        [TENSOR_BOOL] = "|b1", [TENSOR_U8] = "|u1", [TENSOR_I8] = "|i1", [TENSOR_I16] = "<i2", [TENSOR_U16] = "<u2",
        [TENSOR_F16] = "<f2", [TENSOR_BF16] = "<u2", [TENSOR_I32] = "<i4", [TENSOR_U32] = "<u4", [TENSOR_F32] = "<f4",
        [TENSOR_F64] = "<f8", [TENSOR_I64] = "<i8", [TENSOR_U64] = "<u8",
    };
    return (unsigned)type < TENSOR_TYPES ? descr[type] : NULL;
}

static heed_status add_tensor(writer *w, const tensor_view *t) {
    int64_t n = 1;
    const char *descr = descr_of(t->type);
    for (int i = 0; i < t->dims; i++)
        if (t->shape[i] < 0 || !int64_mul(n, t->shape[i], &n)) n = -1;
    int64_t bytes;
    if (descr == NULL || n < 0 || !int64_mul(n, (int64_t)tensor_type_bytes(t->type), &bytes))
        return error_set(w->error, HEED_INVALID, "%s: array %.60s: its type %s or its shape cannot be written", file_shown(w->path),
                         t->name, tensor_type_name(t->type));
    text_string header = header_of(descr, t->dims, t->shape);
    const heed_status status = add_member(w, t->name, &header, t->data, (size_t)bytes);
    free(header.text);
    return status;
}

static heed_status add_text(writer *w, const npz_text *t) {
    char descr[32];
    text_buffer b = {descr, sizeof descr, 0};
    text_add(&b, "|S%zu", strlen(t->text) > 0 ? strlen(t->text) : 1);
    text_string header = header_of(descr, 0, NULL);
    const heed_status status = add_member(w, t->name, &header, t->text, strlen(t->text) > 0 ? strlen(t->text) : 1);
    free(header.text);
    return status;
}

static heed_status finish(writer *w) {
    const size_t at = w->file.length;
    if (!w->directory.failed && w->directory.length > 0) text_append(&w->file, w->directory.text, w->directory.length);
    put(&w->file, 0x06054b50, 4);
    put(&w->file, 0, 4);
    put(&w->file, (uint64_t)w->members, 2);
    put(&w->file, (uint64_t)w->members, 2);
    put(&w->file, w->directory.length, 4);
    put(&w->file, at, 4);
    put(&w->file, 0, 2);
    if (w->file.failed || w->directory.failed)
        return error_set(w->error, HEED_NO_MEMORY, "no memory to write %s", file_shown(w->path));
    return file_replace(w->path, w->file.text, w->file.length, w->error);
}

heed_status npz_write(const char *path, const tensor_view *tensors, int64_t count, const npz_text *texts, int64_t n_texts,
                      heed_error *error) {
    writer w = {.path = path, .error = error};
    heed_status status = HEED_OK;
    for (int64_t i = 0; i < n_texts && status == HEED_OK; i++) status = add_text(&w, &texts[i]);
    for (int64_t i = 0; i < count && status == HEED_OK; i++) status = add_tensor(&w, &tensors[i]);
    if (status == HEED_OK) status = finish(&w);
    free(w.file.text);
    free(w.directory.text);
    return status;
}
