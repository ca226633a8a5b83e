// SPDX-License-Identifier: Apache-2.0
#include "train/log.h"

#include "base/cpu_features.h"
#include "base/text.h"
#include "base/threads.h"
#include "io/file.h"
#include "io/json.h"
#include "train/board.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { METRICS_BYTES = 1 << 30 };    // a line is some 200 bytes: five million steps

// The step a line of metrics.jsonl belongs to; INT64_MAX when it is no whole record.
static int64_t line_step(const char *line, size_t n) {
    json_t *object = json_loadb(line, n, 0, NULL);
    const json_t *step = json_object_get(object, "step");
    const int64_t value = json_is_integer(step) ? json_integer_value(step) : INT64_MAX;
    json_decref(object);
    return value;
}

size_t run_log_keep(char *text, size_t n, int64_t last_step, int64_t *damaged) {
    size_t kept = 0;
    *damaged = 0;
    for (size_t at = 0; at < n;) {
        const char *end = memchr(text + at, '\n', n - at);
        if (end == NULL) break;
        const size_t length = (size_t)(end - (text + at)) + 1;
        const int64_t step = line_step(text + at, length);
        if (step >= 0 && step <= last_step) {
            memmove(text + kept, text + at, length);
            kept += length;
        }
        *damaged += step < 0 || step == INT64_MAX;
        at += length;
    }
    return kept;
}

static heed_status metrics_trim(const char *path, int64_t keep_to_step, int64_t *damaged, heed_error *error) {
    if (!file_exists(path)) return HEED_OK;
    char *text = NULL;
    size_t length = 0;
    heed_status status = file_read(&text, &length, path, METRICS_BYTES, error);
    if (status != HEED_OK) return status;
    const size_t kept = run_log_keep(text, length, keep_to_step, damaged);
    if (kept != length) status = file_replace(path, text, kept, error);
    free(text);
    return status;
}

heed_status run_log_open(run_log *log, const char *folder, int64_t keep_to_step, heed_error *error) {
    *log = (run_log){.folder = strdup(folder), .metrics_path = file_join(folder, "metrics.jsonl"), .metrics = -1};
    if (log->folder == NULL || log->metrics_path == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for the log");
    const heed_status status = metrics_trim(log->metrics_path, keep_to_step, &log->damaged, error);
    if (status != HEED_OK) return status;
    log->step = keep_to_step < 0 ? 0 : keep_to_step;
    log->metrics = open(log->metrics_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (log->metrics < 0)
        return error_set(error, HEED_INVALID, "%s cannot be written: %s", file_shown(log->metrics_path), strerror(errno));
    return board_create(&log->board, folder, keep_to_step, error);
}

void run_log_close(run_log *log) {
    if (log->folder != NULL && log->metrics >= 0) close(log->metrics);
    tfevents_close(log->board);
    json_decref(log->earlier);
    free(log->attention_told);
    free(log->folder);
    free(log->metrics_path);
    *log = (run_log){.metrics = -1};
}

heed_status run_log_metrics(run_log *log, const json_t *object, heed_error *error) {
    text_string line = {0};
    heed_status status = json_file_print(object, false, &line, error);
    text_append(&line, "\n", 1);
    if (status == HEED_OK && line.failed) status = error_set(error, HEED_NO_MEMORY, "no memory for a line of metrics");
    if (status == HEED_OK) {
        const ssize_t written = write(log->metrics, line.text, line.length);
        if (written < 0 || (size_t)written != line.length)
            status = error_set(error, HEED_INVALID, "%s cannot be written: %s", file_shown(log->metrics_path),
                               written < 0 ? strerror(errno) : "the disk is full");
    }
    free(line.text);
    log->step = json_integer_value(json_object_get(object, "step"));
    return status == HEED_OK ? board_line(log->board, object, error) : status;
}

heed_status run_log_flush(run_log *log, heed_error *error) {
    if (fsync(log->metrics) == 0 || errno == EINVAL) return tfevents_flush(log->board, error);
    return error_set(error, HEED_INVALID, "%s cannot be flushed: %s", file_shown(log->metrics_path), strerror(errno));
}

heed_status run_log_write(const run_log *log, const char *name, const json_t *object, heed_error *error) {
    char *path = file_join(log->folder, name);
    if (path == NULL || object == NULL) {
        free(path);
        return error_set(error, HEED_NO_MEMORY, "no memory for %s", name);
    }
    const heed_status status = json_file_write(object, path, error);
    free(path);
    return status;
}

json_t *attention_record_json(const attention_record *r) {
    json_t *refused = json_array();
    for (int i = 0; i < r->n_refused; i++)
        json_array_append_new(refused, json_pack("{s:s, s:s}", "name", r->refused[i].name, "sentence", r->refused[i].sentence));
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:o, s:I, s:f}", "problem", r->problem, "pass",
                     r->evaluation ? "evaluation" : "training", "requested", r->requested, "actual", r->actual, "reason", r->reason,
                     "preset", r->preset, "substituted", r->substituted, "refused", refused, "calls", (json_int_t)r->calls,
                     "seconds", r->seconds);
}

static bool same_text(const json_t *a, const json_t *b, const char *key) {
    return json_equal(json_object_get(a, key), json_object_get(b, key)) == 1;
}

// Adds an entry's calls and seconds to the one about the same problem, or the entry itself.
static void add_entry(json_t *list, json_t *entry) {
    static const char *const same[] = {"problem", "pass", "requested", "actual", "preset"};
    size_t i;
    json_t *old;
    json_array_foreach(list, i, old) {
        size_t k = 0;
        while (k < sizeof same / sizeof *same && same_text(old, entry, same[k])) k++;
        if (k < sizeof same / sizeof *same) continue;
        const json_int_t calls = json_integer_value(json_object_get(entry, "calls"));
        const double seconds = json_number_value(json_object_get(entry, "seconds"));
        json_object_set_new(old, "calls", json_integer(json_integer_value(json_object_get(old, "calls")) + calls));
        json_object_set_new(old, "seconds", json_real(json_number_value(json_object_get(old, "seconds")) + seconds));
        json_decref(entry);
        return;
    }
    json_array_append_new(list, entry);
}

json_t *run_log_attention_list(const run_log *log, const model *m) {
    int64_t count = 0;
    const attention_record *records = model_attention_records(m, &count);
    json_t *list = log->earlier != NULL ? json_deep_copy(log->earlier) : json_array();
    for (int64_t i = 0; list != NULL && i < count; i++) add_entry(list, attention_record_json(&records[i]));
    return list;
}

// TensorBoard gets the same in words, when it has changed: each distinct choice once.
static heed_status tell_board(run_log *log, const json_t *list, heed_error *error) {
    text_string text = {0};
    size_t i;
    json_t *entry;
    json_array_foreach(list, i, entry) {
        text_string line = {0};
        text_format(&line, "* requested %s, ran %s by preset %s: %s\n", json_string_value(json_object_get(entry, "requested")),
                    json_string_value(json_object_get(entry, "actual")), json_string_value(json_object_get(entry, "preset")),
                    json_string_value(json_object_get(entry, "reason")));
        if (line.failed) text.failed = true;
        else if (text.text == NULL || strstr(text.text, line.text) == NULL) text_append(&text, line.text, line.length);
        free(line.text);
    }
    heed_status status = text.failed ? error_set(error, HEED_NO_MEMORY, "no memory for a text") : HEED_OK;
    const bool news = text.text != NULL && (log->attention_told == NULL || strcmp(text.text, log->attention_told) != 0);
    if (status == HEED_OK && news) {
        status = board_text(log->board, log->step, "attention", text.text, error);
        free(log->attention_told);
        log->attention_told = text.text;
    } else free(text.text);
    return status;
}

heed_status run_log_attention(run_log *log, const model *m, heed_error *error) {
    json_t *list = run_log_attention_list(log, m);
    heed_status status = run_log_write(log, "attention.json", list, error);
    if (status == HEED_OK) status = tell_board(log, list, error);
    json_decref(list);
    return status == HEED_OK ? run_log_flush(log, error) : status;
}

json_t *nan_origin_json(const nan_origin *o) {
    return json_pack("{s:b, s:b, s:I, s:s?, s:I, s:I, s:b, s:s?, s:s}", "found", o->found, "backward", o->backward, "layer",
                     (json_int_t)o->layer, "operation", o->operation, "row", (json_int_t)o->row, "position",
                         (json_int_t)o->position,
                     "no_visible_key", o->no_visible_key, "parameter", o->parameter, "sentence", o->sentence);
}

json_t *machine_json(int64_t n_threads) {
    struct utsname system;
    const uint32_t has = cpu_features();
    json_t *features = json_array();
    if (has & CPU_AVX2) json_array_append_new(features, json_string("avx2"));
    if (has & CPU_FMA) json_array_append_new(features, json_string("fma"));
    if (has & CPU_AVX512) json_array_append_new(features, json_string("avx512"));
    if (has & CPU_BF16) json_array_append_new(features, json_string("avx512_bf16"));
    if (uname(&system) != 0) memset(&system, 0, sizeof system);
#if HEED_ONEDNN
    const char *linear = "oneDNN";
#else
    const char *linear = "heed's own tiles";
#endif
    const char *forced = getenv("HEED_CPU");
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:s?, s:I, s:i}", "heed", heed_version(), "commit", HEED_COMMIT,
                     "compiler", __VERSION__, "linear_layers", linear, "json_library", JANSSON_VERSION, "system", system.sysname,
                     "processor", system.machine, "cpu_features", features, "heed_cpu", forced, "threads", (json_int_t)n_threads,
                     "threads_available", threads_available());
}
