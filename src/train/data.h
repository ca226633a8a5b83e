// SPDX-License-Identifier: Apache-2.0
// From documents to rows to batches.
//
// A piece is up to `length` consecutive tokens of one document; a document longer than a row is cut into consecutive pieces.
// Without packing a row is one piece. With packing the pieces follow one another, documents in their order, until the row is
// full; what does not fit begins the next row. Within a piece every token is scored but the first, which has nothing before it
// to be told from. Every token is in exactly one row, except that a row that would score nothing is left out and counted.
#pragma once

#include "io/dataset.h"
#include "model/model.h"

typedef struct { int64_t first, length; int64_t document; } row_piece;    // tokens id[first] .. id[first + length - 1]

typedef struct {
    const dataset *data;
    int64_t rows, *row;        // row r holds pieces row[r] .. row[r + 1] - 1
    row_piece *piece;
    int64_t length;            // the most tokens a row may hold
    int64_t longest;           // the most one does
    int64_t left_out;          // tokens of rows that would have scored nothing
    bool packed, leak;
} row_set;

typedef struct {
    int64_t length;    // of a row
    int64_t piece;     // the most tokens a piece may have; 0: as many as a row
    bool packed;
    bool leak;         // packed documents see each other; positions, targets and rows stay as they are, so losses compare
} row_layout;

// `data` is kept, not copied. HEED_INVALID when not a single row has anything to score.
heed_status rows_create(row_set *, const dataset *data, row_layout, heed_error *);
void rows_free(row_set *);

// Tokens of a row, and how many of them are scored.
int64_t rows_tokens(const row_set *, int64_t row);
int64_t rows_scored(const row_set *, int64_t row);

// Nats per scored token that no model can beat in expectation, over the documents that rows hold whole; NaN when unknown.
double rows_floor(const row_set *);

// Of layout and ids: equal for equal rows, so that a resumed run can tell that its data have changed.
uint64_t rows_hash(const row_set *);

// The order of the rows in an epoch: a permutation of 0 .. n - 1 that depends on nothing but seed, epoch and n
// (Fisher and Yates from the end, on stream `epoch` of the seed; base/random.h).
void rows_order(int64_t *order, int64_t n, uint64_t seed, int64_t epoch);

// A batch and its memory. Padding is marked by position: outside key_range, position 0, target -1; its id is `pad`.
typedef struct {
    model_batch view;
    int64_t scored, tokens;    // targets, and real tokens
    int32_t *memory;
    int64_t room;
} batch;

typedef struct { int32_t pad; bool left; } batch_padding;

// n rows, of one set or several with the same layout, as one batch: as wide as its longest row, rounded up to a multiple of 16
// (so that a run has few distinct shapes to plan for), and never wider than the layout's length. Memory is reused between calls.
typedef struct { const row_set *set; int64_t row; } row_pick;
heed_status batch_fill(batch *, const row_pick *, int64_t n, batch_padding, heed_error *);
void batch_free(batch *);
