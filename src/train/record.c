// SPDX-License-Identifier: Apache-2.0
#include "train/record.h"

#include "io/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef heed_status json_reader(json_t **, const char *path, heed_error *);

// One of the folder's files; its absence is a note with what that means.
static void read_json(run_record *r, json_reader *reader, const char *name, const char *absence, json_t **root) {
    char *path = file_join(r->folder, name);
    heed_error error;
    if (path == NULL) return;
    if (!file_exists(path)) {
        record_note(&r->notes, "%s does not exist: %s", file_shown(path), absence);
    } else if (reader(root, path, &error) != HEED_OK) {
        record_note(&r->notes, "%s", error.text);
        r->damaged = true;
    }
    free(path);
}

static const json_t *options_of(const json_t *part) {
    const json_t *options = json_object_get(part, "options");
    return json_is_object(json_object_get(options, "effective")) ? options : NULL;
}

bool run_record_is_outward(const char *option) {
    static const char *const names[] = {"output_dir", "overwrite", "quiet", "json", "resume_from_checkpoint"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(option, names[i]) == 0) return true;
    return false;
}

// Options that changed when the run went on.
static void note_changes(run_record *r, const json_t *first, const json_t *last) {
    const char *name;
    json_t *now;
    json_object_foreach(json_object_get(last, "effective"), name, now) {
        const json_t *before = json_object_get(json_object_get(first, "effective"), name);
        if (before == NULL || json_equal(before, now) || run_record_is_outward(name)) continue;
        char *was = json_dumps(before, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
        char *is = json_dumps(now, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
        record_note(&r->notes, "%s began with %.40s %.60s and went on with %.60s", file_shown(r->folder), name,
                    was != NULL ? was : "?", is != NULL ? is : "?");
        free(was);
        free(is);
    }
}

static void note_resumes(run_record *r) {
    const json_t *resumed = json_object_get(r->run, "resumed");
    const size_t n = json_array_size(resumed);
    if (n == 0) return;
    const json_t *last = json_array_get(resumed, n - 1);
    const char *from = json_string_value(json_object_get(last, "resumed_from"));
    record_note(&r->notes, "%s was resumed %zu time%s, last from %s; its options are those of the last part",
                file_shown(r->folder), n, n == 1 ? "" : "s", from != NULL ? file_shown(from) : "a checkpoint");
    note_changes(r, options_of(r->run), options_of(last));
}

const json_t *run_record_options(const run_record *r) {
    const json_t *resumed = json_object_get(r->run, "resumed");
    const size_t n = json_array_size(resumed);
    return options_of(n > 0 ? json_array_get(resumed, n - 1) : r->run);
}

heed_status run_record_read(run_record *r, const char *folder, heed_error *error) {
    *r = (run_record){.folder = strdup(folder)};
    if (r->folder == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for a run");
    for (size_t n = strlen(r->folder); n > 1 && r->folder[n - 1] == '/'; n--) r->folder[n - 1] = 0;
    if (!file_exists(r->folder)) return error_set(error, HEED_INVALID, "%s does not exist", file_shown(r->folder));
    if (!file_is_folder(r->folder)) return error_set(error, HEED_INVALID, "%s is no folder", file_shown(r->folder));
    char *path = file_join(r->folder, "metrics.jsonl"), *state = file_join(r->folder, "run.json");
    heed_status status = path == NULL || state == NULL ? error_set(error, HEED_NO_MEMORY, "no memory for a path") : HEED_OK;
    if (status == HEED_OK && !file_exists(path) && !file_exists(state))
        status = error_set(error, HEED_INVALID, "%s holds no run: neither run.json nor metrics.jsonl is there",
                           file_shown(r->folder));
    if (status == HEED_OK) {
        read_json(r, json_file_read, "run.json", "options, versions and data are not known", &r->run);
        read_json(r, json_file_read_list, "attention.json", "what attention ran is not known", &r->attention);
        read_json(r, json_file_read, "final_metrics.json", "the run has not ended, or was killed", &r->final);
        note_resumes(r);
        status = metrics_read(&r->metrics, path, &r->notes, error);
        r->damaged |= r->metrics.damaged > 0;
    }
    free(path);
    free(state);
    return status;
}

void run_record_free(run_record *r) {
    json_decref(r->run);
    json_decref(r->attention);
    json_decref(r->final);
    metrics_free(&r->metrics);
    record_notes_free(&r->notes);
    free(r->folder);
    *r = (run_record){0};
}

// ---- attention ----

// Adds a text to the sorted list into[key], unless it is in there.
static void join(json_t *into, const char *key, const char *now) {
    json_t *list = json_object_get(into, key);
    if (list == NULL) json_object_set_new(into, key, list = json_array());
    size_t at = 0;
    if (now == NULL) return;
    while (at < json_array_size(list) && strcmp(json_string_value(json_array_get(list, at)), now) < 0) at++;
    const char *there = json_string_value(json_array_get(list, at));
    if (there == NULL || strcmp(there, now) != 0) json_array_insert_new(list, at, json_string(now));
}

// A problem's rule for rows that see no key, of which `preset` does not tell where the protection of mps_pre28 changed it.
static void join_empty_rows(json_t *into, const json_t *entry) {
    static const char word[] = " empty:";
    const char *problem = json_string_value(json_object_get(entry, "problem"));
    const char *at = problem != NULL ? strstr(problem, word) : NULL;
    char rule[32] = "zero";
    if (at != NULL) snprintf(rule, sizeof rule, "%.*s", (int)strcspn(at + sizeof word - 1, " "), at + sizeof word - 1);
    join(into, "empty_rows", rule);
}

static void join_entry(json_t *all, const json_t *entry, const char *pass) {
    static const char *const texts[] = {"requested", "actual", "preset", "reason"};
    if (!json_is_string(json_object_get(entry, "actual"))) return;
    json_t *into = json_object_get(all, pass);
    if (into == NULL) {
        json_object_set_new(all, pass, into = json_object());
        json_object_set_new(into, "substituted", json_false());
    }
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        join(into, texts[i], json_string_value(json_object_get(entry, texts[i])));
    join_empty_rows(into, entry);
    if (json_is_true(json_object_get(entry, "substituted"))) json_object_set_new(into, "substituted", json_true());
}

json_t *run_record_attention(const run_record *r) {
    json_t *all = json_object();
    size_t i;
    const json_t *entry;
    json_array_foreach(r->attention, i, entry) {
        const char *pass = json_string_value(json_object_get(entry, "pass"));
        join_entry(all, entry, pass != NULL && strcmp(pass, "evaluation") == 0 ? pass : "training");
    }
    if (json_object_size(all) > 0) return all;
    json_decref(all);
    return NULL;
}
