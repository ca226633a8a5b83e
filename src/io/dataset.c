// SPDX-License-Identifier: Apache-2.0
// Files are read as a whole, in one pass; each document is encoded as soon as its end is found. Progress is linear in the
// file's size whatever the lengths of its lines.
#include "io/dataset.h"

#include "io/demo.h"
#include "io/file.h"
#include "io/json.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DEMO_STREAMS 0x64656d6f00000000u    // "demo": apart from what else draws from the same seed

typedef struct {
    const tokenizer *tokens;
    const char *path;
    id_list ids;
    int64_t *start, *bytes;
    double *nats;             // only when has_nats
    bool has_nats;
    int64_t documents, room;
} builder;

static heed_status no_memory(heed_error *error, const char *path) {
    return error_set(error, HEED_NO_MEMORY, "no memory for the documents of %s", file_shown(path));
}

static heed_status make_room(builder *b, heed_error *error) {
    if (b->documents + 2 <= b->room) return HEED_OK;
    const size_t room = (size_t)b->room * 2 + 1024;
    int64_t *start = realloc(b->start, room * sizeof *start);
    if (start != NULL) b->start = start;
    int64_t *bytes = realloc(b->bytes, room * sizeof *bytes);
    if (bytes != NULL) b->bytes = bytes;
    double *nats = b->has_nats ? realloc(b->nats, room * sizeof *nats) : NULL;
    if (nats != NULL) b->nats = nats;
    if (start == NULL || bytes == NULL || (b->has_nats && nats == NULL)) return no_memory(error, b->path);
    if (b->documents == 0) b->start[0] = 0;
    b->room = (int64_t)room;
    return HEED_OK;
}

static heed_status add_document(builder *b, const char *text, size_t n, double nats, heed_error *error) {
    heed_status status = make_room(b, error);
    if (status == HEED_OK) status = tokenizer_encode(b->tokens, text, n, &b->ids, error);
    if (status == HEED_OK) status = id_list_add(&b->ids, tokenizer_eos(b->tokens), error);
    if (status != HEED_OK) return status;
    b->bytes[b->documents] = (int64_t)n;
    if (b->has_nats) b->nats[b->documents] = nats;
    b->start[++b->documents] = b->ids.count;
    return HEED_OK;
}

static void drop(builder *b) {
    free(b->ids.id);
    free(b->start);
    free(b->bytes);
    free(b->nats);
}

static void sum_up(dataset *d) {
    double nats = 0;
    d->bytes = 0;
    d->tokens = d->start[d->documents];
    for (int64_t i = 0; i < d->documents; i++) {
        d->bytes += d->document_bytes[i];
        if (d->document_nats != NULL) nats += d->document_nats[i];
    }
    d->floor = d->document_nats != NULL ? nats / (double)d->tokens : NAN;
}

static void finish(dataset *d, const builder *b, const char *name) {
    *d = (dataset){.id = b->ids.id, .start = b->start, .document_bytes = b->bytes, .document_nats = b->nats,
                   .documents = b->documents, .first_nats = NAN};
    const size_t n = strlen(name), kept = n < DATASET_NAME ? n : DATASET_NAME - 1;
    memcpy(d->name, name, kept);
    sum_up(d);
}

// ---- .txt ---------------------------------------------------------------------------------------------------------

static bool is_blank(const char *text, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (text[i] != ' ' && (text[i] < '\t' || text[i] > '\r')) return false;
    return true;
}

static size_t skip_mark(const char *text, size_t n) { return n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0; }

// Lines are moved to the document's start without their CR, which never makes text longer, so that it is built in place.
static heed_status read_text(builder *b, char *text, size_t n, heed_error *error) {
    heed_status status = HEED_OK;
    size_t at = skip_mark(text, n), document = at, length = 0;
    while (at < n && status == HEED_OK) {
        const char *end = memchr(text + at, '\n', n - at);
        const size_t whole = end == NULL ? n - at : (size_t)(end - text) - at, next = at + whole + (end != NULL);
        if (is_blank(text + at, whole)) {
            if (length > 0) status = add_document(b, text + document, length, NAN, error);
            document = next;
            length = 0;
        } else {
            const size_t kept = whole - (end != NULL && text[at + whole - 1] == '\r');
            if (length > 0) text[document + length++] = '\n';
            memmove(text + document + length, text + at, kept);
            length += kept;
        }
        at = next;
    }
    if (length > 0 && status == HEED_OK) status = add_document(b, text + document, length, NAN, error);
    return status;
}

// ---- .jsonl -------------------------------------------------------------------------------------------------------

static heed_status add_record(builder *b, const char *line, size_t n, size_t number, heed_error *error) {
    json_t *record;
    heed_status status = json_line_parse(&record, line, n, b->path, number, error);
    if (status != HEED_OK) return status;
    const json_t *text = json_object_get(record, "text");
    if (text == NULL && json_object_get(record, "prompt") != NULL)
        status = error_set(error, HEED_REFUSED, "%s, line %zu: prompt and answer records are not built yet; \"text\" is",
                           file_shown(b->path),
                           number);
    else if (!json_is_string(text))
        status = error_set(error, HEED_INVALID, "%s, line %zu: \"text\" %s; a text is needed", file_shown(b->path), number,
                           text == NULL ? "is missing" : "is not a text");
    else status = add_document(b, json_string_value(text), json_string_length(text), NAN, error);
    json_decref(record);
    return status;
}

static heed_status read_records(builder *b, const char *text, size_t n, heed_error *error) {
    size_t number = 1;
    for (size_t at = skip_mark(text, n); at < n; number++) {
        const char *end = memchr(text + at, '\n', n - at);
        const size_t length = end == NULL ? n - at : (size_t)(end - text) - at;
        if (!is_blank(text + at, length)) {
            const heed_status status = add_record(b, text + at, length, number, error);
            if (status != HEED_OK) return status;
        }
        at += length + 1;
    }
    return HEED_OK;
}

// ---- the doors ----------------------------------------------------------------------------------------------------

typedef enum { ENDING_UNKNOWN, ENDING_LATER, ENDING_TXT, ENDING_JSONL } ending;

static ending find_ending(const char *path, const char **text) {
    static const struct { const char *text; ending kind; } endings[] = {
        {".txt", ENDING_TXT}, {".jsonl", ENDING_JSONL}, {".csv", ENDING_LATER}, {".tsv", ENDING_LATER}, {".bin", ENDING_LATER},
        {".parquet", ENDING_LATER},
    };
    const size_t n = strlen(path);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        const size_t length = strlen(endings[i].text);
        *text = endings[i].text;
        if (n > length && strcmp(path + n - length, endings[i].text) == 0) return endings[i].kind;
    }
    return ENDING_UNKNOWN;
}

heed_status dataset_read(dataset *d, const char *path, const tokenizer *tokens, heed_error *error) {
    *d = (dataset){0};
    const char *text_of_ending;
    const ending kind = find_ending(path, &text_of_ending);
    if (kind == ENDING_LATER)
        return error_set(error, HEED_REFUSED, "%s: %s data sets are not built yet; .txt and .jsonl are", file_shown(path),
                         text_of_ending);
    if (kind == ENDING_UNKNOWN)
        return error_set(error, HEED_REFUSED, "%s: a data set must end in .txt or .jsonl, or be the word demo", file_shown(path));
    char *text;
    size_t n;
    heed_status status = file_read(&text, &n, path, (size_t)PTRDIFF_MAX / 4, error);
    if (status != HEED_OK) return status;
    builder b = {.tokens = tokens, .path = path};
    status = kind == ENDING_TXT ? read_text(&b, text, n, error) : read_records(&b, text, n, error);
    free(text);
    if (status == HEED_OK && b.documents == 0)
        status = error_set(error, HEED_INVALID, "%s holds no document: it has %zu bytes, none of them text", file_shown(path), n);
    if (status != HEED_OK) {
        drop(&b);
        return status;
    }
    const char *slash = strrchr(path, '/');
    finish(d, &b, slash == NULL ? path : slash + 1);
    return HEED_OK;
}

heed_status dataset_demo(dataset *d, const tokenizer *tokens, uint64_t seed, int64_t documents, heed_error *error) {
    *d = (dataset){0};
    if (documents < 1 || documents > INT32_MAX)
        return error_set(error, HEED_INVALID, "%lld documents of the demo language; from 1 to %d are allowed",
                         (long long)documents, INT32_MAX);
    builder b = {.tokens = tokens, .path = "demo", .has_nats = true};
    heed_status status = HEED_OK;
    for (int64_t i = 0; i < documents && status == HEED_OK; i++) {
        random_stream stream = random_of(seed, DEMO_STREAMS + (uint64_t)i);    // one for each: independent of their number
        demo_document document;
        demo_write(&stream, &document);
        status = add_document(&b, document.text, (size_t)document.length, document.nats, error);
    }
    if (status == HEED_OK) finish(d, &b, "demo");
    else drop(&b);
    if (status == HEED_OK && strcmp(tokenizer_kind(tokens), "bytes") == 0) d->first_nats = demo_first_nats();
    return status;
}

// Documents [first, first + count) of `all`.
static heed_status take_view(dataset *d, const dataset *all, int64_t first, int64_t count, heed_error *error) {
    *d = *all;
    d->view = true;
    d->documents = count;
    d->id = all->id + all->start[first];
    d->document_bytes = all->document_bytes + first;
    if (all->document_nats != NULL) d->document_nats = all->document_nats + first;
    d->start = calloc((size_t)count + 1, sizeof *d->start);
    if (d->start == NULL) {
        *d = (dataset){0};
        return no_memory(error, all->name);
    }
    for (int64_t i = 0; i <= count; i++) d->start[i] = all->start[first + i] - all->start[first];
    sum_up(d);
    return HEED_OK;
}

heed_status dataset_split(const dataset *all, double held_out, dataset *train, dataset *eval, heed_error *error) {
    *train = *eval = (dataset){0};
    if (!(held_out > 0 && held_out < 1))
        return error_set(error, HEED_INVALID, "held-out part %g; above 0 and below 1 is allowed", held_out);
    if (all->documents < 2)
        return error_set(error, HEED_INVALID, "%s has one document, so none can be held out for evaluation; give "
                         "--eval_dataset, or separate documents by blank lines", all->name);
    const double wanted = ceil(held_out * (double)all->documents - 1e-9);    // 0.07 * 100 is a little above 7
    const int64_t count = wanted < 1 ? 1 : wanted > (double)(all->documents - 1) ? all->documents - 1 : (int64_t)wanted;
    heed_status status = take_view(train, all, 0, all->documents - count, error);
    if (status == HEED_OK) status = take_view(eval, all, all->documents - count, count, error);
    if (status != HEED_OK) dataset_free(train);
    return status;
}

void dataset_free(dataset *d) {
    free(d->start);
    if (!d->view) {
        free(d->id);
        free(d->document_bytes);
        free(d->document_nats);
    }
    *d = (dataset){0};
}
