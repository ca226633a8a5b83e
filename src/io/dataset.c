// SPDX-License-Identifier: Apache-2.0
// Files are read as a whole, in one pass; each document is encoded as soon as its end is found. Progress is linear in the
// file's size whatever the lengths of its lines. What a document is, each format's file says.
#include "io/dataset_builder.h"

#include "io/demo.h"
#include "io/file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DEMO_STREAMS 0x64656d6f00000000u    // "demo": apart from what else draws from the same seed

static heed_status no_memory(heed_error *error, const char *path) {
    return error_set(error, HEED_NO_MEMORY, "no memory for the documents of %s", file_shown(path));
}

static heed_status make_room(dataset_builder *b, heed_error *error) {
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

// What follows the ids of a document, wherever they came from.
static heed_status end_document(dataset_builder *b, int64_t bytes, double nats, heed_error *error) {
    const heed_status status = id_list_add(&b->ids, tokenizer_eos(b->tokens), error);
    if (status != HEED_OK) return status;
    b->bytes[b->documents] = bytes;
    if (b->has_nats) b->nats[b->documents] = nats;
    b->start[++b->documents] = b->ids.count;
    return HEED_OK;
}

heed_status dataset_add(dataset_builder *b, const char *text, size_t n, double nats, heed_error *error) {
    heed_status status = make_room(b, error);
    if (status == HEED_OK) status = tokenizer_encode(b->tokens, text, n, &b->ids, error);
    return status == HEED_OK ? end_document(b, (int64_t)n, nats, error) : status;
}

heed_status dataset_add_ids(dataset_builder *b, const int32_t *id, int64_t n, int64_t bytes, heed_error *error) {
    heed_status status = make_room(b, error);
    for (int64_t i = 0; status == HEED_OK && i < n; i++) status = id_list_add(&b->ids, id[i], error);
    return status == HEED_OK ? end_document(b, bytes, NAN, error) : status;
}

static void drop(dataset_builder *b) {
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

static void finish(dataset *d, const dataset_builder *b, const char *name) {
    *d = (dataset){.id = b->ids.id, .start = b->start, .document_bytes = b->bytes, .document_nats = b->nats,
                   .documents = b->documents, .first_nats = NAN};
    const size_t n = strlen(name), kept = n < DATASET_NAME ? n : DATASET_NAME - 1;
    memcpy(d->name, name, kept);
    sum_up(d);
}

// ---- files --------------------------------------------------------------------------------------------------------

static const struct { const char *ending; dataset_reader *read; } formats[] = {
    {".txt", dataset_read_text}, {".jsonl", dataset_read_records}, {".json", dataset_read_json}, {".csv", dataset_read_csv},
    {".tsv", dataset_read_tsv}, {".bin", dataset_read_ids},
};

static bool ends_in(const char *path, const char *ending) {
    const size_t n = strlen(path), length = strlen(ending);
    return n > length && strcmp(path + n - length, ending) == 0;
}

static dataset_reader *find_reader(const char *path) {
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (ends_in(path, formats[i].ending)) return formats[i].read;
    return NULL;
}

bool dataset_readable(const char *path) { return find_reader(path) != NULL; }

static heed_status refuse_ending(const char *path, heed_error *error) {
    if (ends_in(path, ".parquet"))
        return error_set(error, HEED_REFUSED, "%s: .parquet is not built yet; convert it: python3 -c \"import pandas; pandas."
                         "read_parquet('FILE').to_json('FILE.jsonl', orient='records', lines=True)\"", file_shown(path));
    return error_set(error, HEED_REFUSED, "%s: a data set must end in .txt, .jsonl, .json, .csv, .tsv or .bin, be in the "
                     "Hugging Face cache, or be the word demo", file_shown(path));
}

static heed_status add_bytes(dataset_builder *b, const char *path, char *bytes, size_t n, heed_error *error) {
    dataset_reader *read = find_reader(path);
    if (read == NULL) return refuse_ending(path, error);
    b->path = path;
    const int64_t before = b->documents;
    const heed_status status = read(b, bytes, n, error);
    if (status != HEED_OK || b->documents > before) return status;
    return error_set(error, HEED_INVALID, "%s holds no document: it has %zu bytes, none of them text", file_shown(path), n);
}

static const char *last_part(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

heed_status dataset_parse(dataset *d, const char *name, char *bytes, size_t n, const tokenizer *tokens, heed_error *error) {
    *d = (dataset){0};
    dataset_builder b = {.tokens = tokens};
    const heed_status status = add_bytes(&b, name, bytes, n, error);
    if (status == HEED_OK) finish(d, &b, last_part(name));
    else drop(&b);
    return status;
}

heed_status dataset_read_files(dataset *d, const char *name, const char *const *paths, int64_t count, const tokenizer *tokens,
                               heed_error *error) {
    *d = (dataset){0};
    dataset_builder b = {.tokens = tokens};
    heed_status status = HEED_OK;
    for (int64_t i = 0; status == HEED_OK && i < count; i++) {
        char *bytes = NULL;
        size_t n = 0;
        status = dataset_readable(paths[i]) ? file_read(&bytes, &n, paths[i], (size_t)PTRDIFF_MAX / 4, error)
            : refuse_ending(paths[i], error);
        if (status == HEED_OK) status = add_bytes(&b, paths[i], bytes, n, error);
        free(bytes);
    }
    if (status == HEED_OK) finish(d, &b, name);
    else drop(&b);
    return status;
}

heed_status dataset_read(dataset *d, const char *path, const tokenizer *tokens, heed_error *error) {
    return dataset_read_files(d, last_part(path), &path, 1, tokens, error);
}

heed_status dataset_demo(dataset *d, const tokenizer *tokens, uint64_t seed, int64_t documents, heed_error *error) {
    *d = (dataset){0};
    if (documents < 1 || documents > INT32_MAX)
        return error_set(error, HEED_INVALID, "%lld documents of the demo language; from 1 to %d are allowed",
                         (long long)documents, INT32_MAX);
    dataset_builder b = {.tokens = tokens, .path = "demo", .has_nats = true};
    heed_status status = HEED_OK;
    for (int64_t i = 0; i < documents && status == HEED_OK; i++) {
        random_stream stream = random_of(seed, DEMO_STREAMS + (uint64_t)i);    // one for each: independent of their number
        demo_document document;
        demo_write(&stream, &document);
        status = dataset_add(&b, document.text, (size_t)document.length, document.nats, error);
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
