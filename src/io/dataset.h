// SPDX-License-Identifier: Apache-2.0
// Documents as ids. What a document is:
// .txt    one per run of non-blank lines (a line of only spaces, tabs, CR, FF and VT is blank). Lines of one document are joined
//         by "\n", the last without; CR LF counts as one newline, and a byte order mark at the start of the file is dropped. Any
//         other byte, zero and invalid UTF-8 included, is kept.
// .jsonl  one per line, the value of "text" (which may be empty); blank lines are skipped, other keys are ignored. A line that is
//         no JSON object, or not UTF-8, is an error.
// .json   the same, or one list of such objects.
// .csv    one per record, the field of the column "text" (which may be empty). The first record names the columns; others are
//         ignored; every record has as many fields. A field that begins with a quote ends at the next single one, and holds
//         separators, line ends and, written twice, quotes; in any other field a quote is an ordinary character. CR LF, LF and CR
//         end a record, a byte order mark is dropped, empty lines are skipped, and every other byte is kept (RFC 4180).
// .tsv    the same with tabs for commas.
// .bin    ids, little-endian, of two bytes each, or of four where the vocabulary has more than 65,536; EOS ends a document, and
//         the end of the file does.
// demo    a document of the built-in language, see demo.h.
// Every document ends in the tokenizer's EOS.
#pragma once

#include "io/tokenizer.h"

enum { DATASET_NAME = 64 };

typedef struct {
    int32_t *id;                  // all documents, one after another
    int64_t *start;               // document d is id[start[d]] .. id[start[d + 1] - 1], its EOS last; start[0] is 0
    int64_t *document_bytes;      // bytes of text of each document, without its EOS
    double *document_nats;        // -log p of each document, its end included; NULL when unknown (only demo knows)
    double first_nats;            // of a document's nats, those its first token tells (a trainer that shifts does not score it);
                                  // NaN when unknown: then also for demo, where tokens are not bytes
    int64_t documents, tokens, bytes;    // bytes: of text the tokens stand for (bits per byte), EOS not counted
    double floor;                 // nats per token of these documents (EOS is a token) that no model can beat in expectation: the
                                  // mean of the true -log p. NaN when unknown
    char name[DATASET_NAME];      // the file's name without folder, or "demo"
    bool view;                    // id, document_bytes and document_nats belong to the data set it was split from
} dataset;

// By the file's ending; another one: HEED_REFUSED. No document in the file: HEED_INVALID.
heed_status dataset_read(dataset *, const char *path, const tokenizer *, heed_error *);
bool dataset_readable(const char *path);    // it has one of the endings above

// Several files as one data set, in their order; and one file's bytes, which are changed (bytes[n] must be 0).
heed_status dataset_read_files(dataset *, const char *name, const char *const *paths, int64_t count, const tokenizer *,
                               heed_error *);
heed_status dataset_parse(dataset *, const char *name, char *bytes, size_t n, const tokenizer *, heed_error *);

// `documents` documents of the demo language; equal seeds give equal documents, and the first n do not depend on how many follow.
heed_status dataset_demo(dataset *, const tokenizer *, uint64_t seed, int64_t documents, heed_error *);

// The last ceil(held_out * documents) documents become `eval`, the others `train`; each has at least one. Both are views:
// free them too, and before `all`.
heed_status dataset_split(const dataset *all, double held_out, dataset *train, dataset *eval, heed_error *);

void dataset_free(dataset *);    // a zeroed one is fine
