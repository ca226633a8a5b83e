// SPDX-License-Identifier: Apache-2.0
// The run folder: which one, who else holds it, what to go on from, and run.json.
#include "train/run.h"

#include "io/file.h"
#include "io/json.h"
#include "train/board.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char checkpoints_name[] = "checkpoints", state_file[] = "run.json";

static bool holds_run(const char *folder) {
    char *path = file_join(folder, state_file);
    const bool there = path != NULL && file_exists(path);
    free(path);
    return there;
}

// ---- names ----

// The run a checkpoint belongs to: RUN of RUN/checkpoints/step-5. NULL: it lies somewhere else. free it.
static char *run_of_checkpoint(const char *checkpoint) {
    char *path = strdup(checkpoint);
    size_t n = path == NULL ? 0 : strlen(path);
    while (n > 1 && path[n - 1] == '/') path[--n] = 0;
    char *last = path == NULL ? NULL : strrchr(path, '/');
    if (last != NULL) {
        *last = 0;
        char *above = strrchr(path, '/');
        if (above != NULL && strcmp(above + 1, checkpoints_name) == 0) {
            *above = 0;
            if (holds_run(path)) return path;
        }
    }
    free(path);
    return NULL;
}

// runs/<time>_<model>_<data>_<mode>, one that does not exist yet.
static char *folder_name(const train_run *r) {
    char stamp[32], data[64];
    const time_t now = time(NULL);
    struct tm local;
    strftime(stamp, sizeof stamp, "%Y%m%d-%H%M%S", localtime_r(&now, &local));
    const char *slash = strrchr(r->o.dataset, '/');
    snprintf(data, sizeof data, "%s", slash != NULL ? slash + 1 : r->o.dataset);
    char *dot = strrchr(data, '.');
    if (dot != NULL && dot != data) *dot = 0;
    if (r->o.datasets != NULL) snprintf(data, sizeof data, "mixture");
    for (int number = 1; number < 1000; number++) {
        text_string name = {0};
        text_format(&name, "runs/%s_%s_%s_%s", stamp, r->from.name, data, train_modes[r->o.mode]);
        if (number > 1) text_format(&name, "-%d", number);
        if (name.failed || !file_exists(name.text)) return name.text;
        free(name.text);
    }
    return NULL;
}

// Nobody else's from here on, and without what a killed run left (which may be the only checkpoint, on its way to its name).
static heed_status take_folder(train_run *r, heed_error *error) {
    if (r->lock != NULL) return HEED_OK;
    heed_status status = folder_lock_take(&r->lock, r->o.output_dir, error);
    char *list = file_join(r->o.output_dir, checkpoints_name);
    if (status == HEED_OK && list == NULL) status = error_set(error, HEED_NO_MEMORY, "no memory for a path");
    if (status == HEED_OK) status = folder_clean(r->o.output_dir, error);
    if (status == HEED_OK) status = folder_clean(list, error);
    free(list);
    return status;
}

// Where to go on from, and in which folder.
heed_status run_find_resume(train_run *r, heed_error *error) {
    const char *wanted = r->o.resume_from_checkpoint;
    if (wanted == NULL) return HEED_OK;
    if (strcmp(wanted, "latest") == 0) {
        heed_status status = holds_run(r->o.output_dir) ? take_folder(r, error) : HEED_OK;
        char *list = file_join(r->o.output_dir, checkpoints_name);
        if (status == HEED_OK && list == NULL) status = error_set(error, HEED_NO_MEMORY, "no memory for a path");
        if (status == HEED_OK) status = checkpoint_latest(list, &r->resume, error);
        free(list);
        if (status == HEED_OK && r->resume == NULL)
            status = error_set(error, HEED_INVALID, "--resume_from_checkpoint latest: there is no checkpoint in %s",
                               file_shown(r->o.output_dir));
        return status;
    }
    if (!file_is_folder(wanted))
        return error_set(error, HEED_INVALID,
                         "--resume_from_checkpoint %s is no folder; name one of a run's checkpoints, or latest",
                         file_shown(wanted));
    r->resume = strdup(wanted);
    if (r->o.output_dir == NULL) r->o.output_dir = r->owned_folder = run_of_checkpoint(wanted);
    return HEED_OK;
}

heed_status run_check_folder(const train_run *r, heed_error *error) {
    const char *folder = r->o.output_dir;
    if (folder == NULL || r->o.overwrite || !holds_run(folder)) return HEED_OK;
    char *own = r->resume == NULL ? NULL : run_of_checkpoint(r->resume);
    const bool goes_on = r->resume != NULL && (strcmp(r->o.resume_from_checkpoint, "latest") == 0 || (own != NULL && strcmp(own,
        folder) == 0));
    free(own);
    if (goes_on) return HEED_OK;
    return error_set(error, HEED_INVALID, "--output_dir %s already holds a run; resume it with --resume_from_checkpoint latest, "
                     "or give --overwrite or another folder", file_shown(folder));
}

// ---- the folder ----

static heed_status remove_old(const char *folder, heed_error *error) {
    static const char *const files[] = {"run.json", "attention.json", "metrics.jsonl", "final_metrics.json"};
    char *path = file_join(folder, checkpoints_name);
    heed_status status = path == NULL ? HEED_OK : folder_drop(path, error);
    free(path);
    path = file_join(folder, "tensorboard");
    if (status == HEED_OK && path != NULL) status = folder_remove(path, error);
    free(path);
    for (size_t i = 0; status == HEED_OK && i < sizeof files / sizeof *files; i++) {
        path = file_join(folder, files[i]);
        if (path != NULL) remove(path);
        free(path);
    }
    return status;
}

// One data set as run.json has it.
static json_t *member_json(const train_run *r, int64_t i) {
    const mixture_member *m = &r->learn.member[i];
    const dataset *data = r->from.data[i].learn;
    return json_pack("{s:o, s:I, s:I, s:I, s:I, s:I, s:f}", "name", json_text(m->label), "documents", (json_int_t)data->documents,
                     "tokens", (json_int_t)data->tokens, "rows", (json_int_t)m->rows.rows, "tokens_left_out",
                     (json_int_t)m->rows.left_out, "rows_an_epoch", (json_int_t)m->quota, "rate",
                     (double)m->quota / (double)r->learn.rows);
}

static json_t *data_json(const train_run *r) {
    int64_t documents = 0, tokens = 0, left_out = 0;
    json_t *members = json_array();
    for (int64_t i = 0; i < r->learn.count; i++) {
        documents += r->from.data[i].learn->documents;
        tokens += r->from.data[i].learn->tokens;
        left_out += r->learn.member[i].rows.left_out;
        json_array_append_new(members, member_json(r, i));
    }
    const char *name = r->learn.count > 1 ? "mixture" : r->from.data[0].all.name;
    char hash[32];    // of every id in every row, as in the checkpoints: what `heed runs diff` compares
    snprintf(hash, sizeof hash, "%016" PRIx64, r->at.data);
    return json_pack("{s:o, s:I, s:I, s:I, s:I, s:s, s:I, s:s, s:o}", "name", json_text(name), "documents", (json_int_t)documents,
                     "tokens", (json_int_t)tokens, "rows", (json_int_t)r->learn.rows, "eval_rows",
                     (json_int_t)judge_rows(&r->judge), "tokenizer", tokenizer_kind(r->from.words), "tokens_left_out",
                     (json_int_t)left_out, "hash", hash, "members", members);
}

static json_t *run_json(const train_run *r) {
    const run_request *asked = r->asked;
    const model_config *c = model_config_of(r->from.model);
    json_t *notes = json_array();
    for (int i = 0; i < asked->notes->count; i++) json_array_append_new(notes, json_string(asked->notes->text[i]));
    json_t *shape = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:o}", "name", c->name, "vocabulary", (json_int_t)c->vocabulary,
                              "positions",
                              (json_int_t)c->positions, "layers", (json_int_t)c->layers, "heads", (json_int_t)c->heads, "width",
                              (json_int_t)c->width, "folder",
                              json_text(r->from.folder));
    json_object_set_new(shape, "dropout", json_pack("{s:f, s:f, s:f}", "embedding", c->dropout_embedding, "attention",
                                                    c->dropout_attention, "residual", c->dropout_residual));
    json_t *data = data_json(r);
    const time_t now = time(NULL);
    char stamp[40];
    struct tm utc;
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    return json_pack("{s:s, s:{s:O, s:o}, s:o, s:o, s:o, s:o, s:I, s:I, s:o}", "started", stamp, "options", "given", asked->given,
                     "effective",
                     asked->effective(&r->o), "notes", notes, "machine", machine_json(r->o.threads), "model", shape, "data", data,
                         "steps",
                     (json_int_t)r->at.steps, "steps_per_epoch", (json_int_t)r->at.steps_per_epoch, "resumed_from",
                         json_text(r->resume));
}

// A resumed run keeps the first record and adds its own to "resumed".
static heed_status write_run_json(const train_run *r, heed_error *error) {
    json_t *now = run_json(r), *whole = NULL;
    char *path = file_join(r->o.output_dir, state_file);
    if (r->resume != NULL && path != NULL && file_exists(path) && json_file_read(&whole, path, NULL) == HEED_OK) {
        json_t *list = json_object_get(whole, "resumed");
        if (!json_is_array(list)) json_object_set_new(whole, "resumed", list = json_array());
        json_array_append(list, now);
    }
    const heed_status status = run_log_write(&r->log, state_file, whole != NULL ? whole : now, error);
    json_decref(whole);
    json_decref(now);
    free(path);
    return status;
}

static const json_t *effective_of(const json_t *part) { return json_object_get(json_object_get(part, "options"), "effective"); }

// An option's value as one would write it; free it.
static char *value_text(const json_t *value) {
    if (json_is_null(value)) return strdup("none");
    return json_is_string(value) ? strdup(json_string_value(value)) : json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
}

// Says what shapes the steps and is no longer what it was; how many steps, at which rates and in which precision is said
// elsewhere, from the checkpoint.
static void say_changes(const train_run *r, const json_t *before) {
    static const char *const names[] = {
        "padding_side", "packing_leak", "attn_implementation", "attn_preset", "lr_scheduler_kwargs", "weight_decay", "adam_beta1",
        "adam_beta2", "adam_epsilon", "max_grad_norm",
    };
    json_t *now = r->asked->effective(&r->o);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const json_t *old = json_object_get(before, names[i]), *new = json_object_get(now, names[i]);
        if (old == NULL || json_equal(old, new)) continue;
        char *was = value_text(old), *is = value_text(new);
        output_line(r->asked->out, LINE_NOTE, "resumed with --%s %.60s, it was %.60s: from here on it differs", names[i],
                    is != NULL ? is : "?", was != NULL ? was : "?");
        free(was);
        free(is);
    }
    json_decref(now);
}

// A resumed run's model is the checkpoint's. Another one on the command line would be passed over, so it is refused.
static heed_status check_resumed(const train_run *r, heed_error *error) {
    char *run = r->resume == NULL ? NULL : run_of_checkpoint(r->resume);
    char *path = run == NULL ? NULL : file_join(run, state_file);
    json_t *whole = NULL;
    heed_status status = HEED_OK;
    if (path != NULL && json_file_read(&whole, path, NULL) == HEED_OK) {
        const json_t *resumed = json_object_get(whole, "resumed");
        const size_t parts = json_array_size(resumed);
        const char *had = json_string_value(json_object_get(effective_of(whole), "model"));
        if (had != NULL && json_object_get(r->asked->given, "model") != NULL && strcmp(had, r->o.model) != 0)
            status = error_set(error, HEED_INVALID, "--model is %.200s, but the run to resume had %.200s; leave it out, or begin "
                               "another run", r->o.model, had);
        else say_changes(r, effective_of(parts > 0 ? json_array_get(resumed, parts - 1) : whole));
    }
    json_decref(whole);
    free(path);
    free(run);
    return status;
}

heed_status run_open_folder(train_run *r, run_fault *fault, heed_error *error) {
    if (r->o.output_dir == NULL) r->o.output_dir = r->owned_folder = folder_name(r);
    if (r->o.output_dir == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for the run folder's name");
    heed_status status = folder_make(r->o.output_dir, error);
    if (status == HEED_OK) status = take_folder(r, error);
    if (status == HEED_OK && run_check_folder(r, error) != HEED_OK) {    // again: another run may have begun meanwhile
        *fault = FAULT_USAGE;
        return error->status;
    }
    if (status == HEED_OK && check_resumed(r, error) != HEED_OK) {
        *fault = FAULT_USAGE;
        return error->status;
    }
    if (status == HEED_OK && r->o.overwrite) status = remove_old(r->o.output_dir, error);
    r->checkpoints = file_join(r->o.output_dir, checkpoints_name);
    if (status == HEED_OK && r->checkpoints == NULL) status = error_set(error, HEED_NO_MEMORY, "no memory for a path");
    if (status == HEED_OK) status = folder_make(r->checkpoints, error);
    if (status == HEED_OK) status = run_bring_best(r, error);
    if (status == HEED_OK) status = run_log_open(&r->log, r->o.output_dir, r->resume != NULL ? r->at.step : -1, error);
    if (status == HEED_OK) status = write_run_json(r, error);
    if (status != HEED_OK) return status;
    if (r->resume != NULL && r->log.damaged > 0)
        output_line(r->asked->out, LINE_NOTE, "metrics.jsonl: %lld damaged line%s left out",
                    (long long)r->log.damaged, r->log.damaged == 1 ? "" : "s");
    if (r->resume != NULL) r->log.earlier = checkpoint_read_attention(r->resume);
    json_t *effective = r->asked->effective(&r->o);
    status = board_options(r->log.board, r->at.step, effective, error);
    json_decref(effective);
    return status;
}
