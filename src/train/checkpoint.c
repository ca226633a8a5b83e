// SPDX-License-Identifier: Apache-2.0
#include "train/checkpoint.h"

#include "base/memory.h"
#include "io/file.h"
#include "io/folder.h"
#include "io/json.h"
#include "io/safetensors.h"
#include "train/checkpoint_seal.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STATE_FORMAT = 1 };
static const char state_name[] = "trainer_state.json", moments_name[] = "optimizer.safetensors", ran_name[] = "attention.json";
static const char *const moment_prefix[2] = {"exp_avg.", "exp_avg_sq."};    // torch.optim.AdamW's names

heed_status moments_create(moments *made, const model *m, heed_error *error) {
    const parameter *p = model_parameters(m, &made->count);
    size_t total = 0;
    for (int64_t i = 0; i < made->count; i++) total = size_add(total, (size_t)parameter_count(&p[i]));
    made->m = calloc((size_t)made->count, sizeof *made->m);
    made->v = calloc((size_t)made->count, sizeof *made->v);
    made->memory = memory_take_zeroed(size_mul(size_mul(total, 2), sizeof(float)));
    if (made->m == NULL || made->v == NULL || made->memory == NULL)
        return error_set(error, HEED_NO_MEMORY, "no memory for the optimizer's state of %zu parameters", total);
    float *at = made->memory;
    for (int64_t i = 0; i < made->count; i++) {
        const int64_t n = parameter_count(&p[i]);
        made->m[i] = at;
        made->v[i] = at + n;
        at += 2 * n;
    }
    return HEED_OK;
}

void moments_free(moments *s) {
    free(s->m);
    free(s->v);
    memory_free(s->memory);
    *s = (moments){0};
}

// ---- optimizer.safetensors ----

static heed_status moments_write(const char *path, const model *m, const moments *s, heed_error *error) {
    int64_t count;
    const parameter *p = model_parameters(m, &count);
    tensor_view *view = calloc((size_t)count * 2, sizeof *view);
    char(*name)[128] = calloc((size_t)count * 2, sizeof *name);
    heed_status status = view == NULL || name == NULL ? error_set(error, HEED_NO_MEMORY, "no memory for %s", moments_name)
        : HEED_OK;
    for (int64_t i = 0; status == HEED_OK && i < 2 * count; i++) {
        const parameter *of = &p[i / 2];
        snprintf(name[i], sizeof name[i], "%s%s", moment_prefix[i % 2], of->name);
        view[i] = (tensor_view){.name = name[i], .type = TENSOR_F32, .dims = of->dims, .data = i % 2 == 0 ? s->m[i / 2]
                                : s->v[i / 2]};
        for (int d = 0; d < of->dims; d++) view[i].shape[d] = of->shape[d];
    }
    if (status == HEED_OK) status = safetensors_write(path, view, 2 * count, NULL, 0, error);
    free(view);
    free(name);
    return status;
}

heed_status checkpoint_read_moments(const char *folder, const model *m, moments *s, heed_error *error) {
    char *path = file_join(folder, moments_name);
    if (path == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for a path");
    safetensors *file = NULL;
    heed_status status = safetensors_open(&file, path, error);
    int64_t count;
    const parameter *p = model_parameters(m, &count);
    for (int64_t i = 0; status == HEED_OK && i < 2 * count; i++) {
        char name[128];
        const tensor_view *view;
        snprintf(name, sizeof name, "%s%s", moment_prefix[i % 2], p[i / 2].name);
        status = safetensors_need(file, name, TENSOR_F32, p[i / 2].dims, p[i / 2].shape, &view, error);
        if (status == HEED_OK) tensor_to_f32(view, i % 2 == 0 ? s->m[i / 2] : s->v[i / 2]);
    }
    if (status == HEED_OK && safetensors_count(file) != 2 * count)
        status = error_set(error, HEED_INVALID, "%s has %lld tensors; this model has %lld", file_shown(path),
                           (long long)safetensors_count(file), (long long)(2 * count));
    safetensors_close(file);
    free(path);
    return status;
}

// ---- trainer_state.json ----

static json_t *plateau_json(const plateau *p) {
    json_t *j = json_object();
    json_file_set_real(j, "rate", p->rate);
    json_file_set_real(j, "best", p->best);    // null: none yet
    json_object_set_new(j, "bad", json_integer(p->bad));
    json_object_set_new(j, "cooldown", json_integer(p->cooldown));
    return j;
}

// NULL without memory. What the Hugging Face Trainer writes there too has its names.
static json_t *progress_json(const trainer_state *s) {
    json_t *j = json_pack("{s:b, s:I, s:I, s:s}", "bf16", s->bf16, "skipped_steps", (json_int_t)s->skipped, "skipped_in_row",
                          (json_int_t)s->skipped_in_row, "metric_for_best_model", s->metric);
    if (j == NULL) return NULL;
    json_object_set_new(j, "best_global_step", s->best_step >= 0 ? json_integer(s->best_step) : json_null());
    json_file_set_real(j, "best_metric", s->best_step >= 0 ? s->best_metric : NAN);
    if (strcmp(s->schedule, schedule_names[SCHEDULE_REDUCE_LR_ON_PLATEAU]) == 0)
        json_object_set_new(j, "plateau", plateau_json(&s->plateau));
    return j;
}

static json_t *state_json(const trainer_state *s) {
    char data[32];
    snprintf(data, sizeof data, "%016" PRIx64, s->data);
    const double epoch = (double)s->step / (double)s->steps_per_epoch;
    json_t *all = json_pack("{s:i, s:I, s:I, s:I, s:f, s:f, s:f, s:I, s:I, s:b, s:I, s:I, s:I, s:I, s:I, s:s, s:f, s:s}", "format",
                     STATE_FORMAT, "step",
                     (json_int_t)s->step, "steps", (json_int_t)s->steps, "steps_per_epoch", (json_int_t)s->steps_per_epoch, "epoch",
                         epoch,
                     "loss_sum", s->loss_sum, "window_loss", s->window_loss, "window_steps", (json_int_t)s->window_steps, "tokens",
                         (json_int_t)s->tokens,
                     "evaluation_due", s->evaluation_due, "seed", (json_int_t)s->seed, "batch_size", (json_int_t)s->batch_size,
                     "gradient_accumulation_steps", (json_int_t)s->accumulation, "rows", (json_int_t)s->rows, "threads",
                     (json_int_t)s->threads, "data", data, "learning_rate", s->learning_rate, "lr_scheduler_type", s->schedule);
    json_t *more = progress_json(s);
    const bool whole = all != NULL && more != NULL && json_object_update(all, more) == 0;
    json_decref(more);
    if (whole) return all;
    json_decref(all);
    return NULL;
}

static heed_status plateau_take(const json_t *j, const char *file, plateau *p, heed_error *error) {
    const json_t *object = NULL;
    heed_status status = json_take_object(j, file, "plateau", JSON_OPTIONAL, &object, error);
    if (status != HEED_OK || object == NULL) return status;
    status = json_take_real(object, file, "rate", JSON_NEEDED, 0, 1e300, &p->rate, error);
    if (status == HEED_OK) status = json_take_real(object, file, "best", JSON_OPTIONAL, -1e300, 1e300, &p->best, error);
    if (status == HEED_OK) status = json_take_int(object, file, "bad", JSON_NEEDED, 0, INT64_MAX, &p->bad, error);
    return status != HEED_OK ? status : json_take_int(object, file, "cooldown", JSON_NEEDED, 0, INT64_MAX, &p->cooldown, error);
}

// All optional: a checkpoint of an earlier heed has none of it.
static heed_status progress_take(const json_t *j, const char *file, trainer_state *s, heed_error *error) {
    const char *metric = "";
    heed_status status = json_take_int(j, file, "skipped_steps", JSON_OPTIONAL, 0, INT64_MAX, &s->skipped, error);
    if (status == HEED_OK)
        status = json_take_int(j, file, "skipped_in_row", JSON_OPTIONAL, 0, INT64_MAX, &s->skipped_in_row, error);
    if (status == HEED_OK) status = json_take_int(j, file, "best_global_step", JSON_OPTIONAL, 0, INT64_MAX, &s->best_step, error);
    if (status == HEED_OK) status = json_take_bool(j, file, "bf16", JSON_OPTIONAL, &s->bf16, error);
    if (status == HEED_OK) status = json_take_real(j, file, "best_metric", JSON_OPTIONAL, -1e300, 1e300, &s->best_metric, error);
    if (status == HEED_OK) status = json_take_text(j, file, "metric_for_best_model", JSON_OPTIONAL, NULL, &metric, error);
    snprintf(s->metric, sizeof s->metric, "%s", metric);
    return status == HEED_OK ? plateau_take(j, file, &s->plateau, error) : status;
}

static heed_status state_take(const json_t *j, const char *file, trainer_state *s, heed_error *error) {
    const int64_t most = INT64_MAX;
    const struct { const char *key; int64_t least; int64_t *to; } number[] = {
        {"step", 0, &s->step}, {"steps", 1, &s->steps}, {"steps_per_epoch", 1, &s->steps_per_epoch}, {"window_steps", 0,
            &s->window_steps},
        {"tokens", 0, &s->tokens}, {"seed", INT64_MIN, &s->seed}, {"batch_size", 1, &s->batch_size},
        {"gradient_accumulation_steps", 1, &s->accumulation}, {"rows", 1, &s->rows}, {"threads", 0, &s->threads},
    };
    int64_t format = 0;
    const char *data = "", *name = "";
    heed_status status = json_take_int(j, file, "format", JSON_NEEDED, STATE_FORMAT, STATE_FORMAT, &format, error);
    for (size_t i = 0; status == HEED_OK && i < sizeof number / sizeof *number; i++)
        status = json_take_int(j, file, number[i].key, JSON_NEEDED, number[i].least, most, number[i].to, error);
    if (status == HEED_OK) status = json_take_real(j, file, "loss_sum", JSON_NEEDED, -1e300, 1e300, &s->loss_sum, error);
    if (status == HEED_OK) status = json_take_real(j, file, "window_loss", JSON_NEEDED, -1e300, 1e300, &s->window_loss, error);
    if (status == HEED_OK) status = json_take_real(j, file, "learning_rate", JSON_NEEDED, 0, 1e300, &s->learning_rate, error);
    if (status == HEED_OK) status = json_take_bool(j, file, "evaluation_due", JSON_NEEDED, &s->evaluation_due, error);
    if (status == HEED_OK) status = progress_take(j, file, s, error);
    if (status == HEED_OK) status = json_take_text(j, file, "data", JSON_NEEDED, NULL, &data, error);
    if (status == HEED_OK) status = json_take_text(j, file, "lr_scheduler_type", JSON_NEEDED, NULL, &name, error);
    s->data = strtoull(data, NULL, 16);
    snprintf(s->schedule, sizeof s->schedule, "%s", name);
    return status;
}

static heed_status read_state(const char *folder, trainer_state *s, bool and_files, heed_error *error) {
    *s = (trainer_state){.best_step = -1, .plateau.best = NAN};
    char *path = file_join(folder, state_name);
    json_t *j = NULL;
    heed_status status = path == NULL ? error_set(error, HEED_NO_MEMORY, "no memory for a path") : json_file_read(&j, path, error);
    if (status == HEED_OK) status = seal_check_state(j, path, error);
    if (status == HEED_OK) status = state_take(j, file_shown(path), s, error);
    if (status == HEED_OK && and_files) status = seal_check_files(j, folder, error);
    json_decref(j);
    free(path);
    return status;
}

heed_status checkpoint_read_state(const char *folder, trainer_state *s, heed_error *error) {
    return read_state(folder, s, false, error);
}

heed_status checkpoint_check(const char *folder, heed_error *error) {
    trainer_state unused;
    return read_state(folder, &unused, true, error);
}

// A file of its own, outside of the seal: its seconds differ between runs that are otherwise equal.
static heed_status attention_write(const char *folder, const json_t *list, heed_error *error) {
    char *path = file_join(folder, ran_name);
    const heed_status status = path == NULL ? error_set(error, HEED_NO_MEMORY, "no memory for a path")
        : json_file_write(list, path, error);
    free(path);
    return status;
}

json_t *checkpoint_read_attention(const char *folder) {
    char *path = file_join(folder, ran_name);
    json_t *list = NULL;
    if (path != NULL) json_file_read_list(&list, path, NULL);
    free(path);
    return list;
}

// ---- the folder ----

static heed_status files_write(const char *folder, const model *m, const tokenizer *words, const moments *s,
                               const trainer_state *state,
                               heed_error *error) {
    char *moments_path = file_join(folder, moments_name), *state_path = file_join(folder, state_name);
    json_t *j = state_json(state);
    heed_status status = HEED_OK;
    if (moments_path == NULL || state_path == NULL || j == NULL) status = error_set(error, HEED_NO_MEMORY,
        "no memory for a checkpoint");
    if (status == HEED_OK) status = model_save(m, folder, error);
    if (status == HEED_OK) status = tokenizer_save(words, folder, error);
    if (status == HEED_OK) status = moments_write(moments_path, m, s, error);
    if (status == HEED_OK) status = seal_add(j, folder, error);
    if (status == HEED_OK) status = json_file_write(j, state_path, error);
    if (status == HEED_OK && state->attention != NULL) status = attention_write(folder, state->attention, error);
    json_decref(j);
    free(moments_path);
    free(state_path);
    return status;
}

heed_status checkpoint_write(const char *folder, const model *m, const tokenizer *words, const moments *s,
                             const trainer_state *state,
                             heed_error *error) {
    folder_draft *draft = NULL;
    heed_status status = folder_begin(&draft, folder, error);
    if (status != HEED_OK) return status;
    status = files_write(folder_draft_path(draft), m, words, s, state, error);
    if (status == HEED_OK) return folder_commit(draft, error);
    folder_abandon(draft);
    return status;
}

heed_status checkpoint_copy(const char *from, const char *to, heed_error *error) {
    folder_draft *draft = NULL;
    heed_status status = folder_begin(&draft, to, error);
    if (status != HEED_OK) return status;
    status = folder_copy_files(from, folder_draft_path(draft), error);
    if (status == HEED_OK) return folder_commit(draft, error);
    folder_abandon(draft);
    return status;
}

// N of "step-N"; -1: another name.
static int64_t name_step(const char *name) {
    int64_t step;
    if (strncmp(name, "step-", 5) != 0 || name[5] < '0' || name[5] > '9' || !text_to_int64(name + 5, &step)) return -1;
    return step;
}

// The steps of checkpoints/step-N; *count of them, in no order. free(*steps).
static heed_status steps_list(const char *checkpoints, int64_t **steps, int64_t *count, heed_error *error) {
    *steps = NULL;
    *count = 0;
    DIR *listing = opendir(checkpoints);
    if (listing == NULL && errno == ENOENT) return HEED_OK;
    if (listing == NULL) return error_set(error, HEED_INVALID, "%s cannot be read: %s", file_shown(checkpoints), strerror(errno));
    heed_status status = HEED_OK;
    for (const struct dirent *entry; status == HEED_OK && (entry = readdir(listing)) != NULL;) {
        const int64_t step = name_step(entry->d_name);
        if (step < 0) continue;
        int64_t *grown = realloc(*steps, ((size_t)*count + 1) * sizeof **steps);
        if (grown == NULL) status = error_set(error, HEED_NO_MEMORY, "no memory for a list of checkpoints");
        else (*steps = grown)[(*count)++] = step;
    }
    closedir(listing);
    return status;
}

static char *step_folder(const char *checkpoints, int64_t step) {
    char name[32];
    snprintf(name, sizeof name, "step-%lld", (long long)step);
    return file_join(checkpoints, name);
}

static int by_step(const void *a, const void *b) {
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

heed_status checkpoint_limit(const char *checkpoints, int64_t limit, int64_t kept, heed_error *error) {
    int64_t *steps, count;
    heed_status status = steps_list(checkpoints, &steps, &count, error);
    if (status == HEED_OK && count > 0) qsort(steps, (size_t)count, sizeof *steps, by_step);
    const bool apart = kept >= 0 && count > 0 && steps[count - 1] != kept;    // the best besides the last: two at least
    int64_t surplus = count - (apart ? int64_max(limit, 2) : limit);
    for (int64_t i = 0; status == HEED_OK && i < count - 1 && surplus > 0; i++) {
        if (steps[i] == kept) continue;
        surplus--;
        char *folder = step_folder(checkpoints, steps[i]);
        status = folder == NULL ? error_set(error, HEED_NO_MEMORY, "no memory for a path") : folder_drop(folder, error);
        free(folder);
    }
    free(steps);
    return status;
}

heed_status checkpoint_latest(const char *checkpoints, char **folder, heed_error *error) {
    *folder = NULL;
    int64_t *steps, count, best = -1;
    heed_status status = steps_list(checkpoints, &steps, &count, error);
    for (int64_t i = 0; status == HEED_OK && i < count; i++) best = int64_max(best, steps[i]);
    free(steps);
    char *final = file_join(checkpoints, "final");
    trainer_state state;
    const bool ended = status == HEED_OK && final != NULL && file_is_folder(final) && checkpoint_read_state(final, &state,
        NULL) == HEED_OK;
    if (ended && state.step >= best) {
        *folder = final;
        return HEED_OK;
    }
    free(final);
    if (status == HEED_OK && best >= 0) *folder = step_folder(checkpoints, best);
    return status;
}
