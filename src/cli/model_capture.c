// SPDX-License-Identifier: Apache-2.0
#include "cli/model_capture.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "cli/model_walk.h"
#include "io/file.h"

// Hugging Face's modules whose outputs they are; "" where none is. c_attn gives q, k and v side by side.
static const char *const modules[EXACT_COMPONENTS] = {
    [EXACT_EMBEDDING] = "drop", [EXACT_NORM_1] = "ln_1", [EXACT_Q] = "attn.c_attn", [EXACT_K] = "attn.c_attn",
    [EXACT_V] = "attn.c_attn", [EXACT_SCORES] = "", [EXACT_WEIGHTS] = "", [EXACT_ATTENTION] = "",
    [EXACT_PROJECTION] = "attn.c_proj", [EXACT_MID] = "", [EXACT_NORM_2] = "ln_2", [EXACT_MLP_IN] = "mlp.c_fc",
    [EXACT_ACTIVATION] = "mlp.act", [EXACT_MLP_OUT] = "mlp.c_proj", [EXACT_OUT] = "", [EXACT_FINAL_NORM] = "ln_f",
    [EXACT_LOGITS] = "lm_head",
};

static const char *plain_name(const char *name) {
    const size_t n = strlen("transformer.");
    return strncmp(name, "transformer.", n) == 0 ? name + n : name;
}

static const tensor_view *find(const model_capture *m, const char *name) {
    for (int i = 0; i < m->files; i++)
        for (int64_t k = 0; k < m->file[i].of.n; k++)
            if (strcmp(plain_name(m->file[i].of.array[k].name), name) == 0) return &m->file[i].of.array[k];
    return NULL;
}

static bool in_block(exact_component c) { return c >= EXACT_NORM_1 && c <= EXACT_OUT; }

// The array of a component. fused: it is c_attn's.
static const tensor_view *find_component(const model_capture *m, exact_component c, int64_t layer, bool *fused) {
    char name[64], block[32] = "";
    if (in_block(c)) snprintf(block, sizeof block, "h.%lld.", (long long)layer);
    snprintf(name, sizeof name, "%s%s", block, walk_components[c]);
    const tensor_view *t = find(m, name);
    *fused = false;
    if (t != NULL) return t;
    if (c == EXACT_OUT) snprintf(name, sizeof name, "h.%lld", (long long)layer);
    else if (modules[c][0] == 0) return NULL;
    else snprintf(name, sizeof name, "%s%s", block, modules[c]);
    *fused = c == EXACT_Q || c == EXACT_K || c == EXACT_V;
    return find(m, name);
}

// ---- Files ------------------------------------------------------------------------------------------------------------

static heed_status open_file(model_capture *m, const char *path, heed_error *error) {
    if (m->files == MODEL_CAPTURE_FILES)
        return error_set(error, HEED_INVALID, "a captured model has more than %d files", MODEL_CAPTURE_FILES);
    const int at = m->files++;
    m->path[at] = strdup(path);
    if (m->path[at] == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for a path");
    const heed_status status = capture_file_open(&m->file[at], m->path[at], error);
    if (status != HEED_OK) m->file[at].of.n = 0;
    m->arrays += m->file[at].of.n;
    return status;
}

static int is_capture(const struct dirent *entry) { return capture_file_named(entry->d_name) && entry->d_name[0] != '.'; }

static heed_status open_folder(model_capture *m, const char *folder, heed_error *error) {
    struct dirent **entries;
    const int n = scandir(folder, &entries, is_capture, alphasort);
    if (n < 0) return error_set(error, HEED_INVALID, "cannot read the folder %s", file_shown(folder));
    heed_status status = n > 0 ? HEED_OK : error_set(error, HEED_INVALID, "%s holds neither config.json nor .npz or .safetensors "
                                                     "files: no checkpoint, no capture", file_shown(folder));
    for (int i = 0; i < n; i++) {
        char *path = file_join(folder, entries[i]->d_name);
        if (status == HEED_OK)
            status = path == NULL ? error_set(error, HEED_NO_MEMORY, "no memory for a path") : open_file(m, path, error);
        free(path);
        free(entries[i]);
    }
    free(entries);
    return status;
}

heed_status model_capture_open(model_capture *m, const char *path, heed_error *error) {
    *m = (model_capture){.files = 0};
    heed_status status = file_is_folder(path) ? open_folder(m, path, error) : open_file(m, path, error);
    for (int i = 0; i < m->files && status == HEED_OK; i++)
        for (int64_t k = 0; k < m->file[i].of.n && status == HEED_OK; k++) {
            const tensor_view *t = &m->file[i].of.array[k];
            if (find(m, plain_name(t->name)) != t)
                status = error_set(error, HEED_INVALID, "%s: the array %.60s is there twice", m->file[i].of.from, t->name);
        }
    return status;
}

void model_capture_close(model_capture *m) {
    for (int i = 0; i < m->files; i++) {
        capture_file_close(&m->file[i]);
        free(m->path[i]);
    }
    m->files = 0;
}

heed_status model_capture_ids(const model_capture *m, const tensor_view **ids, heed_error *error) {
    const tensor_view *t = *ids = find(m, "ids");
    if (t == NULL) return HEED_OK;
    if (!tensor_type_is_integer(t->type) || t->dims < 1 || t->dims > 2 || t->elements < 1)
        return error_set(error, HEED_INVALID, "ids is %s with %d axes; it must be whole numbers, (rows, length) or (length)",
                         tensor_type_name(t->type), t->dims);
    return HEED_OK;
}

// ---- Arrays -----------------------------------------------------------------------------------------------------------

static heed_status check_array(model_capture *m, exact_component c, const tensor_view *t, bool fused, heed_error *error) {
    const int64_t times = fused ? 3 : 1, n = exact_size(m->a, m->batch, c) * times, width = exact_width(m->a, m->batch, c) * times;
    if (!tensor_type_is_real(t->type))
        return error_set(error, HEED_INVALID, "%.60s is %s; allowed are F16, BF16, F32 and F64", t->name,
                         tensor_type_name(t->type));
    if (t->dims < 2 || t->elements != n || t->shape[t->dims - 1] != width)
        return error_set(error, HEED_INVALID, "%.60s has %lld elements in rows of %lld; this model and these ids give %lld in rows "
                         "of %lld", t->name, (long long)t->elements, (long long)(t->dims > 0 ? t->shape[t->dims - 1] : 1),
                         (long long)n, (long long)width);
    const double unit = t->type == TENSOR_BF16 ? 0x1p-8 : t->type == TENSOR_F16 ? 0x1p-11 : 0x1p-24;
    m->unit = unit > m->unit ? unit : m->unit;
    return HEED_OK;
}

static bool is_known(const model_capture *m, const tensor_view *t) {
    if (strcmp(t->name, "ids") == 0 || strcmp(t->name, "problem") == 0) return true;
    const int64_t layers = model_config_of(m->a)->layers;
    bool fused;
    for (int c = 0; c < EXACT_COMPONENTS; c++)
        for (int64_t layer = 0; layer < (in_block((exact_component)c) ? layers : 1); layer++)
            if (find_component(m, (exact_component)c, layer, &fused) == t) return true;
    return false;
}

heed_status model_capture_check(model_capture *m, const model *a, const exact_batch *batch, heed_error *error) {
    m->a = a, m->batch = batch;
    const int64_t layers = model_config_of(a)->layers;
    for (int c = 0; c < EXACT_COMPONENTS; c++)
        for (int64_t layer = 0; layer < (in_block((exact_component)c) ? layers : 1); layer++) {
            bool fused;
            const tensor_view *t = find_component(m, (exact_component)c, layer, &fused);
            if (t == NULL) continue;
            const heed_status status = check_array(m, (exact_component)c, t, fused, error);
            if (status != HEED_OK) return status;
        }
    for (int i = 0; i < m->files; i++)
        for (int64_t k = 0; k < m->file[i].of.n; k++)
            if (!is_known(m, &m->file[i].of.array[k]) && m->unknown++ == 0) m->first_unknown = m->file[i].of.array[k].name;
    if (m->unit == 0)
        return error_set(error, HEED_INVALID, "no array of the capture has the name of a component, such as h.0.attention; "
                         "docs/doctor.md lists them");
    return HEED_OK;
}

bool model_capture_give(void *context, exact_component c, int64_t layer, const exact_state *in, double *to, double *unit) {
    const model_capture *m = context;
    bool fused;
    const tensor_view *t = find_component(m, c, layer, &fused);
    if (t == NULL) return false;
    const int64_t n = exact_size(m->a, m->batch, c), width = exact_width(m->a, m->batch, c);
    const int64_t stride = fused ? 3 * width : width, first = fused ? (c - EXACT_Q) * width : 0;
    for (int64_t i = 0; i < n; i++) to[i] = tensor_value(t, i / width * stride + first + i % width);
    *unit = t->type == TENSOR_BF16 ? 0x1p-8 : t->type == TENSOR_F16 ? 0x1p-11 : 0x1p-24;
    return true;
}
