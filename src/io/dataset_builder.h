// SPDX-License-Identifier: Apache-2.0
// What a file's format and the data set it becomes share; for the sources of this folder only. A format is one file,
// dataset_NAME.c, with a reader, and one row of the table in dataset.c.
#pragma once

#include "io/dataset.h"

#include <string.h>

typedef struct {
    const tokenizer *tokens;
    const char *path;         // of the file that is read, for sentences
    id_list ids;
    int64_t *start, *bytes;
    double *nats;             // only when has_nats
    bool has_nats;
    int64_t documents, room;
} dataset_builder;

// Both end the document in EOS. dataset_add_ids takes ids that were checked against the vocabulary, without EOS.
heed_status dataset_add(dataset_builder *, const char *text, size_t n, double nats, heed_error *);
heed_status dataset_add_ids(dataset_builder *, const int32_t *id, int64_t n, int64_t bytes, heed_error *);

// Adds every document of a file's bytes, which it may change; a zero byte follows them.
typedef heed_status dataset_reader(dataset_builder *, char *bytes, size_t n, heed_error *);
dataset_reader dataset_read_text, dataset_read_records, dataset_read_json, dataset_read_csv, dataset_read_tsv, dataset_read_ids;

// The length of a byte order mark at the start.
static inline size_t dataset_mark(const char *text, size_t n) { return n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0; }

// Only spaces, tabs, CR, LF, FF and VT.
static inline bool dataset_blank(const char *text, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (text[i] != ' ' && (text[i] < '\t' || text[i] > '\r')) return false;
    return true;
}
