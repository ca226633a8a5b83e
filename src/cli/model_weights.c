// SPDX-License-Identifier: Apache-2.0
#include "cli/model_weights.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"
#include "base/error.h"
#include "io/file.h"
#include "io/safetensors.h"

const char *const weight_kinds[WEIGHT_KINDS] = {"equal", "rounded", "differs", "transposed", "shape", "missing", "extra"};

// What one checkpoint can be of another, if every tensor of it is.
static const struct { heed_dtype type; int copy; double unit; const char *words; } relations[] = {
    {HEED_BF16, 1, 0x1p-8, "B is A rounded to bf16"}, {HEED_F16, 1, 0x1p-11, "B is A rounded to f16"},
    {HEED_BF16, 0, 0x1p-8, "A is B rounded to bf16"}, {HEED_F16, 0, 0x1p-11, "A is B rounded to f16"},
};
enum { RELATIONS = sizeof relations / sizeof *relations };

static const double few_units = 0x1p-22;    // of f32: what saving and summing in another order leaves

typedef struct { bool related[RELATIONS]; weight_map *map; } work;

static bool is_weight(const char *name) {
    const char *const others[] = {".attn.bias", ".attn.masked_bias", "lm_head.weight"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        const size_t n = strlen(name), k = strlen(others[i]);
        if (n >= k && strcmp(name + n - k, others[i]) == 0) return false;
    }
    return true;
}

static const char *plain_name(const char *name) {
    const size_t n = strlen("transformer.");
    return strncmp(name, "transformer.", n) == 0 ? name + n : name;
}

static const tensor_view *find(const safetensors *file, const char *plain) {
    for (int64_t i = 0; i < safetensors_count(file); i++)
        if (strcmp(plain_name(safetensors_at(file, i)->name), plain) == 0) return safetensors_at(file, i);
    return NULL;
}

static void describe(weight_row *r, int side, const tensor_view *t) {
    size_t n = 0;
    r->type[side] = tensor_type_name(t->type);
    r->checksum[side] = file_checksum_of(t->data, t->bytes);
    n += (size_t)snprintf(r->shape[side], sizeof r->shape[0], "(");
    for (int i = 0; i < t->dims && n < sizeof r->shape[0] - 24; i++)
        n += (size_t)snprintf(r->shape[side] + n, sizeof r->shape[0] - n, i > 0 ? ", %lld" : "%lld", (long long)t->shape[i]);
    snprintf(r->shape[side] + n, sizeof r->shape[0] - n, ")");
}

static double rounded(heed_dtype type, double x) {
    uint32_t stored = 0;    // room for any type
    dtype_store(type, &stored, 0, (float)x);
    return (double)dtype_load(type, &stored, 0);
}

static bool same_shape(const tensor_view *a, const tensor_view *b) {
    return a->dims == b->dims && memcmp(a->shape, b->shape, (size_t)a->dims * sizeof a->shape[0]) == 0;
}

// Is b[j][i] = a[i][j], to within what a narrower type leaves?
static bool is_transposed(const tensor_view *a, const tensor_view *b) {
    if (a->dims != 2 || b->dims != 2 || a->shape[0] != b->shape[1] || a->shape[1] != b->shape[0]) return false;
    for (int64_t i = 0; i < a->shape[0]; i++)
        for (int64_t j = 0; j < a->shape[1]; j++) {
            const double x = tensor_value(a, i * a->shape[1] + j), y = tensor_value(b, j * b->shape[1] + i);
            if (!(fabs(x - y) <= 0x1p-8 * fabs(x))) return false;
        }
    return true;
}

// Element by element, of equal shapes. Which relations hold is asked of every tensor, the equal ones too.
static void compare_values(work *w, weight_row *r, const tensor_view *a, const tensor_view *b) {
    bool close = true;
    for (int64_t i = 0; i < a->elements; i++) {
        const double x[2] = {tensor_value(a, i), tensor_value(b, i)};
        for (int k = 0; k < RELATIONS; k++)
            if (w->related[k])
                w->related[k] = x[relations[k].copy] == rounded(relations[k].type, x[1 - relations[k].copy]);
        if (x[0] == x[1] || (isnan(x[0]) && isnan(x[1]))) continue;
        const double d = fabs(x[0] - x[1]);
        r->differ++;
        close &= d <= few_units * fmax(fabs(x[0]), fabs(x[1]));
        if (!(d <= r->largest)) r->largest = d, r->at = i;
    }
    r->kind = r->differ == 0 ? WEIGHT_EQUAL : close ? WEIGHT_ROUNDED : WEIGHT_DIFFERS;
}

static void compare_tensor(work *w, weight_row *r, const tensor_view *a, const tensor_view *b) {
    describe(r, 0, a);
    if (b == NULL) {
        r->kind = WEIGHT_MISSING;
        return;
    }
    describe(r, 1, b);
    if (same_shape(a, b)) {
        compare_values(w, r, a, b);
        if (r->kind == WEIGHT_DIFFERS && is_transposed(a, b)) r->kind = WEIGHT_TRANSPOSED;
    } else {
        r->kind = is_transposed(a, b) ? WEIGHT_TRANSPOSED : WEIGHT_SHAPE;
        memset(w->related, 0, sizeof w->related);
    }
}

static heed_status compare_files(weight_map *m, const safetensors *a, const safetensors *b, heed_error *error) {
    work w = {.related = {true, true, true, true}, .map = m};
    m->row = calloc((size_t)(safetensors_count(a) + safetensors_count(b) + 1), sizeof *m->row);
    if (m->row == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for a map of weights");
    for (int64_t i = 0; i < safetensors_count(a); i++) {
        const tensor_view *t = safetensors_at(a, i);
        if (!is_weight(t->name)) continue;
        weight_row *r = &m->row[m->n++];
        snprintf(r->name, sizeof r->name, "%s", plain_name(t->name));
        compare_tensor(&w, r, t, find(b, plain_name(t->name)));
    }
    for (int64_t i = 0; i < safetensors_count(b); i++) {
        const tensor_view *t = safetensors_at(b, i);
        if (!is_weight(t->name) || find(a, plain_name(t->name)) != NULL) continue;
        weight_row *r = &m->row[m->n++];
        snprintf(r->name, sizeof r->name, "%s", plain_name(t->name));
        describe(r, 1, t);
        r->kind = WEIGHT_EXTRA;
    }
    for (int k = RELATIONS - 1; k >= 0; k--)
        if (w.related[k]) m->copy = relations[k].words, m->unit = relations[k].unit;
    bool any = false;
    for (int64_t i = 0; i < m->n; i++) {
        if (m->copy != NULL && m->row[i].kind == WEIGHT_DIFFERS) m->row[i].kind = WEIGHT_ROUNDED;
        any |= m->row[i].kind == WEIGHT_ROUNDED;
        m->count[m->row[i].kind]++;
    }
    if (!any) m->copy = NULL, m->unit = 0;    // equal weights that a narrower type holds are no copy of one another
    return HEED_OK;
}

heed_status weight_map_make(weight_map *m, const char *folder_a, const char *folder_b, heed_error *error) {
    *m = (weight_map){.row = NULL};
    const char *const folder[2] = {folder_a, folder_b};
    safetensors *file[2] = {NULL, NULL};
    heed_status status = HEED_OK;
    for (int i = 0; i < 2 && status == HEED_OK; i++) {
        char *path = file_join(folder[i], "model.safetensors");
        status = path == NULL ? error_set(error, HEED_NO_MEMORY, "no memory for a path") : safetensors_open(&file[i], path, error);
        free(path);
    }
    if (status == HEED_OK) status = compare_files(m, file[0], file[1], error);
    safetensors_close(file[0]);
    safetensors_close(file[1]);
    return status;
}

void weight_map_free(weight_map *m) {
    free(m->row);
    *m = (weight_map){.row = NULL};
}
