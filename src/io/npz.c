// SPDX-License-Identifier: Apache-2.0
// Every member is unpacked and read once, at the opening: after it nothing can fail.
#include "io/npz.h"

#include "io/npy.h"
#include "io/zip.h"

#include <stdlib.h>
#include <string.h>

typedef struct { unsigned char *unpacked; void *plain; } memory_of_view;

struct npz { zip_archive zip; char *path; tensor_view *view; memory_of_view *memory; int64_t count; };

// "q.npy" -> "q", in place.
static heed_status cut_name(const npz *f, char *name, heed_error *error) {
    const size_t n = strlen(name);
    if (n > 4 && strcmp(name + n - 4, ".npy") == 0) {
        name[n - 4] = 0;
        return HEED_OK;
    }
    if (n > 4 && strcmp(name + n - 4, ".pkl") == 0)
        return error_set(error, HEED_REFUSED, "%s holds %.60s, a Python pickle, which runs as a program: heed never reads one; "
                         "save "
                         "arrays as .safetensors or by numpy.savez", file_shown(f->path), name);
    return error_set(error, HEED_INVALID, "%s: member %.60s is no array: its name must end in .npy", file_shown(f->path), name);
}

static heed_status read_members(npz *f, heed_error *error) {
    uint64_t unpacked = 0;
    for (int64_t i = 0; i < f->zip.n; i++) {
        zip_member *m = &f->zip.member[i];
        npy array;
        const unsigned char *bytes;
        heed_status status = cut_name(f, m->name, error);
        if (status != HEED_OK) return status;
        unpacked += m->deflated ? m->size : 0;
        if (m->size > NPZ_UNPACKED_MOST || unpacked > NPZ_UNPACKED_MOST)
            return error_set(error, HEED_INVALID, "%s unpacks to more than 2 GiB at %.60s; store it unpacked, or as .safetensors",
                             file_shown(f->path), m->name);
        status = zip_unpack(&f->zip, m, &bytes, &f->memory[i].unpacked, error);
        if (status == HEED_OK) status = npy_parse(&array, bytes, m->size, f->path, m->name, error);
        if (status != HEED_OK) return status;
        f->view[i].name = m->name;
        status = npy_view(&array, &f->view[i], &f->memory[i].plain, f->path, error);
        if (status != HEED_OK) return status;
        f->count++;
    }
    return HEED_OK;
}

heed_status npz_open(npz **opened, const char *path, heed_error *error) {
    *opened = NULL;
    npz *f = calloc(1, sizeof *f);
    if (f == NULL || (f->path = strdup(path)) == NULL) {
        free(f);
        return error_set(error, HEED_NO_MEMORY, "no memory to open %s", file_shown(path));
    }
    heed_status status = zip_open(&f->zip, f->path, error);
    f->view = calloc((size_t)f->zip.n + 1, sizeof *f->view);
    f->memory = calloc((size_t)f->zip.n + 1, sizeof *f->memory);
    if (status == HEED_OK && (f->view == NULL || f->memory == NULL))
        status = error_set(error, HEED_NO_MEMORY, "no memory to open %s", file_shown(path));
    if (status == HEED_OK) status = read_members(f, error);
    if (status != HEED_OK) {
        npz_close(f);
        return status;
    }
    *opened = f;
    return HEED_OK;
}

void npz_close(npz *f) {
    if (f == NULL) return;
    for (int64_t i = 0; f->memory != NULL && i < f->zip.n; i++) {
        free(f->memory[i].unpacked);
        free(f->memory[i].plain);
    }
    zip_close(&f->zip);
    free(f->view);
    free(f->memory);
    free(f->path);
    free(f);
}

int64_t npz_count(const npz *f) { return f->count; }

const tensor_view *npz_at(const npz *f, int64_t index) { return index >= 0 && index < f->count ? &f->view[index] : NULL; }

const tensor_view *npz_find(const npz *f, const char *name) {
    for (int64_t i = 0; i < f->count; i++)
        if (strcmp(f->view[i].name, name) == 0) return &f->view[i];
    return NULL;
}
