// SPDX-License-Identifier: Apache-2.0
#include "cli/generate_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "cli/output.h"
#include "io/file.h"

enum { FILE_MOST = 256 << 20 };

// ---- Prompts ------------------------------------------------------------------------------------------------------------

static heed_status add(sequences *s, const char *prompt, size_t bytes, int64_t number, heed_error *error) {
    sequence *list = realloc(s->list, (size_t)(s->count + s->samples) * sizeof *list);
    if (list == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for prompt %lld", (long long)number + 1);
    s->list = list;
    for (int64_t i = 0; i < s->samples; i++)
        list[s->count++] = (sequence){.prompt = prompt, .prompt_bytes = bytes, .number = number, .sample = i,
                                      .text = {.stops = s->stops}};
    return HEED_OK;
}

heed_status sequences_from_text(sequences *s, const char *prompt, int64_t samples, heed_error *error) {
    s->samples = samples;
    return add(s, prompt, strlen(prompt), 0, error);
}

static heed_status read_input(char **bytes, size_t *length, heed_error *error) {
    text_string all = {0};
    char piece[1 << 14];
    for (size_t n; !all.failed && all.length <= FILE_MOST && (n = fread(piece, 1, sizeof piece, stdin)) > 0;)
        text_append(&all, piece, n);
    const bool bad = ferror(stdin) != 0;
    *bytes = all.text;
    *length = all.length;
    if (bad) return error_set(error, HEED_INVALID, "standard input cannot be read: %s", strerror(errno));
    if (all.failed) return error_set(error, HEED_NO_MEMORY, "no memory for standard input");
    if (all.length > FILE_MOST) return error_set(error, HEED_INVALID, "standard input has more than %d bytes", FILE_MOST);
    return HEED_OK;
}

heed_status sequences_from_file(sequences *s, const char *path, int64_t samples, heed_error *error) {
    const char *name = strcmp(path, "-") == 0 ? "standard input" : file_shown(path);
    size_t n = 0;
    heed_status status = strcmp(path, "-") == 0 ? read_input(&s->file, &n, error) : file_read(&s->file, &n, path, FILE_MOST, error);
    s->samples = samples;
    int64_t number = 0;
    size_t at = n >= 3 && memcmp(s->file, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;    // a byte-order mark is no text
    for (; status == HEED_OK && at < n; number++) {
        const char *line = s->file + at, *end = memchr(line, '\n', n - at);
        size_t bytes = end == NULL ? n - at : (size_t)(end - line);
        at += bytes + 1;
        if (bytes > 0 && line[bytes - 1] == '\r') bytes--;
        if (bytes == 0)
            return error_set(error, HEED_INVALID, "line %lld of %s is empty; a prompt has at least one character",
                             (long long)number + 1, name);
        status = add(s, line, bytes, number, error);
    }
    if (status == HEED_OK && number == 0) return error_set(error, HEED_INVALID, "%s is empty; each line is a prompt", name);
    return status;
}

heed_status sequences_encode(sequences *s, heed_error *error) {
    heed_status status = HEED_OK;
    for (int64_t i = 0; i < s->count && status == HEED_OK; i++)
        status = tokenizer_encode(s->words, s->list[i].prompt, s->list[i].prompt_bytes, &s->list[i].prompt_ids, error);
    return status;
}

void sequences_free(sequences *s) {
    for (int64_t i = 0; i < s->count; i++) {
        free(s->list[i].prompt_ids.id);
        free(s->list[i].ids.id);
        text_stream_free(&s->list[i].text);
    }
    free(s->list);
    free(s->file);
    *s = (sequences){0};
}

// ---- Showing ------------------------------------------------------------------------------------------------------------

static void show(const sequences *s, sequence *q) {
    if (!q->begun) {
        if (s->count > 1) printf("--- prompt %lld", (long long)q->number + 1);
        if (s->count > 1 && s->samples > 1) printf(", sample %lld", (long long)q->sample + 1);
        if (s->count > 1) printf("\n");
        printf("%s", output_colour(COLOUR_STRONG));
        output_shown(q->prompt, q->prompt_bytes);
        printf("%s", output_colour(COLOUR_NONE));
    }
    if (q->text.text.text != NULL) output_shown(q->text.text.text + q->shown, q->text.ready - q->shown);
    q->begun = true;
    q->shown = q->text.ready;
    if (q->done) putchar('\n');
}

// What can be shown of the sequence whose turn it is, and of those after it when it is whole.
static void show_all(sequences *s, int64_t at) {
    if (!s->live || at != s->speaking) return;
    for (; s->speaking < s->count; s->speaking++) {
        sequence *q = &s->list[s->speaking];
        if (!q->done && q->ids.count == 0) break;
        show(s, q);
        if (!q->done) break;
    }
    fflush(stdout);
}

bool sequences_token(void *context, int64_t at, int32_t id) {
    sequences *s = context;
    sequence *q = &s->list[at];
    heed_error error;
    text_string bytes = {0};
    if (id_list_add(&q->ids, id, &error) != HEED_OK) return false;
    if (id != s->eos && tokenizer_decode(s->words, &id, 1, &bytes, &error) != HEED_OK)
        text_append(&bytes, "\xef\xbf\xbd", 3);    // an id of the model that its tokenizer never makes: U+FFFD
    text_stream_add(&q->text, bytes.text, bytes.length);
    free(bytes.text);
    show_all(s, at);
    return !q->text.stopped;
}

void sequences_finished(void *context, int64_t at, finish_reason reason) {
    sequences *s = context;
    sequence *q = &s->list[at];
    q->done = true;
    q->reason = reason;
    text_stream_end(&q->text);
    show_all(s, at);
}

static json_t *ids_json(const id_list *list) {
    json_t *array = json_array();
    for (int64_t i = 0; i < list->count; i++) json_array_append_new(array, json_integer(list->id[i]));
    return array;
}

json_t *sequences_json(const sequences *s) {
    json_t *all = json_array();
    for (int64_t i = 0; i < s->count; i++) {
        const sequence *q = &s->list[i];
        json_t *one = json_pack("{s:I}", "prompt_number", (json_int_t)q->number + 1);
        if (s->samples > 1) json_object_set_new(one, "sample", json_integer(q->sample + 1));
        json_object_set_new(one, "prompt", json_text_bytes(q->prompt, q->prompt_bytes));
        json_object_set_new(one, "text", json_text_bytes(q->text.text.text, q->text.text.length));
        json_object_set_new(one, "prompt_ids", ids_json(&q->prompt_ids));
        json_object_set_new(one, "ids", ids_json(&q->ids));
        json_object_set_new(one, "finish_reason", q->done ? json_string(finish_names[q->reason]) : json_null());
        json_array_append_new(all, one);
    }
    return all;
}
