// SPDX-License-Identifier: Apache-2.0
// What tests/python drives: the tokenizer and safetensors from a command line. Not a test itself.
//   encode WHAT FILE        ids of the file's bytes, one a line; WHAT: a folder, or "bytes"
//   encode-each WHAT FILE   the file holds texts ending in a zero byte; the ids of each on one line
//   decode WHAT FILE        the bytes of the ids in FILE
//   save WHAT FOLDER        the tokenizer's files
//   demo SEED COUNT         documents of the demo language: -log p, a tab, the text, one a line
//   documents WHAT FILE     a data set's documents, each as n bytes, a newline (a table's texts, say)
//   documents-ids WHAT FILE the ids of each document, EOS included, on a line of its own
//   copy FILE OUT           a safetensors or .npz file, read and written again
//   names FILE              its tensors: name, dtype, shape
#include "io/dataset.h"
#include "io/demo.h"
#include "io/file.h"
#include "io/npz.h"
#include "io/safetensors.h"
#include "io/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const heed_error *e) {
    fprintf(stderr, "%s\n", e->text);
    return 1;
}

static heed_status open_tokenizer(tokenizer **t, const char *what, heed_error *e) {
    return strcmp(what, "bytes") == 0 ? tokenizer_create_bytes(t, e) : tokenizer_load(t, what, e);
}

static void print_ids(const id_list *list, char between) {
    for (int64_t i = 0; i < list->count; i++) printf("%d%c", list->id[i], between);
}

static heed_status encode(const tokenizer *t, const char *text, size_t n, bool each, heed_error *e) {
    id_list list = {0};
    heed_status status = HEED_OK;
    for (size_t at = 0; at < n && status == HEED_OK;) {
        const size_t length = each ? strnlen(text + at, n - at) : n;
        list.count = 0;
        status = tokenizer_encode(t, text + at, length, &list, e);
        print_ids(&list, each ? ' ' : '\n');
        if (each) putchar('\n');
        at += length + each;
    }
    free(list.id);
    return status;
}

static heed_status decode(const tokenizer *t, const char *text, heed_error *e) {
    id_list list = {0};
    heed_status status = HEED_OK;
    for (char *end; status == HEED_OK; text = end) {
        const long id = strtol(text, &end, 10);
        if (end == text) break;
        status = id_list_add(&list, (int32_t)id, e);
    }
    text_string out = {0};
    if (status == HEED_OK) status = tokenizer_decode(t, list.id, list.count, &out, e);
    if (status == HEED_OK && out.length > 0) fwrite(out.text, 1, out.length, stdout);
    free(list.id);
    free(out.text);
    return status;
}

// "N BYTES\n" for each document, or its ids.
static heed_status documents(const tokenizer *t, const char *path, bool ids, heed_error *e) {
    dataset d;
    heed_status status = dataset_read(&d, path, t, e);
    for (int64_t i = 0; status == HEED_OK && ids && i < d.documents; i++) {
        for (int64_t at = d.start[i]; at < d.start[i + 1]; at++) printf("%d ", d.id[at]);
        putchar('\n');
    }
    if (status == HEED_OK && ids) {
        dataset_free(&d);
        return status;
    }
    text_string text = {0};
    for (int64_t i = 0; status == HEED_OK && i < d.documents; i++) {
        text.length = 0;
        status = tokenizer_decode(t, d.id + d.start[i], d.start[i + 1] - d.start[i] - 1, &text, e);
        printf("%zu ", text.length);
        if (text.length > 0) fwrite(text.text, 1, text.length, stdout);
        putchar('\n');
    }
    free(text.text);
    dataset_free(&d);
    return status;
}

static int run_tokenizer(const char *verb, const char *what, const char *path) {
    heed_error e;
    tokenizer *t;
    if (open_tokenizer(&t, what, &e) != HEED_OK) return fail(&e);
    heed_status status;
    if (strcmp(verb, "save") == 0) status = tokenizer_save(t, path, &e);
    else if (strncmp(verb, "documents", 9) == 0) status = documents(t, path, strcmp(verb, "documents-ids") == 0, &e);
    else {
        char *text;
        size_t n;
        status = file_read(&text, &n, path, 1 << 30, &e);
        if (status == HEED_OK && strcmp(verb, "decode") == 0) status = decode(t, text, &e);
        else if (status == HEED_OK) status = encode(t, text, n, strcmp(verb, "encode-each") == 0, &e);
        free(text);
    }
    tokenizer_free(t);
    return status == HEED_OK ? 0 : fail(&e);
}

static void print_names(const tensor_view *t, int64_t count) {
    for (int64_t i = 0; i < count; i++, t++) {
        printf("%s %s", t->name, tensor_type_name(t->type));
        for (int d = 0; d < t->dims; d++) printf(" %lld", (long long)t->shape[d]);
        putchar('\n');
    }
}

static int run_npz(const char *path, const char *out) {
    heed_error e;
    npz *f;
    if (npz_open(&f, path, &e) != HEED_OK) return fail(&e);
    const heed_status status = out == NULL ? HEED_OK : npz_write(out, npz_at(f, 0), npz_count(f), NULL, 0, &e);
    if (out == NULL) print_names(npz_at(f, 0), npz_count(f));
    npz_close(f);
    return status == HEED_OK ? 0 : fail(&e);
}

static int run_tensors(const char *path, const char *out) {
    heed_error e;
    safetensors *f;
    const size_t length = strlen(path);
    if (length > 4 && strcmp(path + length - 4, ".npz") == 0) return run_npz(path, out);
    if (safetensors_open(&f, path, &e) != HEED_OK) return fail(&e);
    const int64_t count = safetensors_count(f);
    heed_status status = HEED_OK;
    if (out != NULL) status = safetensors_write(out, count > 0 ? safetensors_at(f, 0) : NULL, count, NULL, 0, &e);
    else if (count > 0) print_names(safetensors_at(f, 0), count);
    safetensors_close(f);
    return status == HEED_OK ? 0 : fail(&e);
}

static int run_demo(const char *seed, const char *count) {
    for (int64_t i = 0; i < atoll(count); i++) {
        random_stream stream = random_of((uint64_t)atoll(seed), (uint64_t)i);
        demo_document d;
        demo_write(&stream, &d);
        printf("%.17g\t%.*s\n", d.nats, d.length, d.text);
    }
    return 0;
}

int main(int n, char **word) {
    if (n == 4 && strcmp(word[1], "copy") == 0) return run_tensors(word[2], word[3]);
    if (n == 3 && strcmp(word[1], "names") == 0) return run_tensors(word[2], NULL);
    if (n == 4 && strcmp(word[1], "demo") == 0) return run_demo(word[2], word[3]);
    if (n == 4) return run_tokenizer(word[1], word[2], word[3]);
    return 64;
}
