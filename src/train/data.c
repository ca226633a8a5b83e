// SPDX-License-Identifier: Apache-2.0
#include "train/data.h"

#include "base/memory.h"
#include "base/random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH_STEP = 16 };                 // widths of batches are multiples of it
#define ORDER_STREAM (1ull << 40)         // streams of the seed from here on belong to the order of rows

// Grows *array to hold `need` elements of `bytes` each; amortised.
static bool reserve(void **array, int64_t *room, int64_t need, size_t bytes) {
    if (need <= *room) return true;
    const int64_t wanted = int64_max(need, *room + *room / 2 + 1024);
    const size_t total = size_mul((size_t)wanted, bytes);
    void *grown = total == SIZE_MAX ? NULL : realloc(*array, total);
    if (grown == NULL) return false;
    *array = grown;
    *room = wanted;
    return true;
}

typedef struct { row_set *set; int64_t piece_room, row_room, pieces, fill, piece_most; } row_builder;

// Ends the row being filled: keeps it when it scores something.
static bool row_end(row_builder *b) {
    row_set *set = b->set;
    if (b->fill == 0) return true;
    const int64_t first = set->row[set->rows];
    if (b->fill == b->pieces - first) {    // pieces of one token only: no token has a next one
        set->left_out += b->fill;
        b->pieces = first;
    } else {
        if (!reserve((void **)&set->row, &b->row_room, set->rows + 2, sizeof *set->row)) return false;
        set->row[++set->rows] = b->pieces;
        set->longest = int64_max(set->longest, b->fill);
    }
    b->fill = 0;
    return true;
}

static bool document_add(row_builder *b, int64_t document) {
    row_set *set = b->set;
    int64_t at = set->data->start[document];
    const int64_t end = set->data->start[document + 1];
    while (at < end) {
        const int64_t n = int64_min(int64_min(end - at, b->piece_most), set->length - b->fill);
        if (!reserve((void **)&set->piece, &b->piece_room, b->pieces + 1, sizeof *set->piece)) return false;
        set->piece[b->pieces++] = (row_piece){at, n, document};
        b->fill += n;
        at += n;
        if ((!set->packed || b->fill == set->length) && !row_end(b)) return false;
    }
    return set->packed || row_end(b);
}

heed_status rows_create(row_set *set, const dataset *data, row_layout layout, heed_error *error) {
    *set = (row_set){.data = data, .length = layout.length, .packed = layout.packed, .leak = layout.leak};
    row_builder b = {.set = set, .piece_most = layout.piece > 0 ? layout.piece : layout.length};
    bool held = reserve((void **)&set->row, &b.row_room, 1, sizeof *set->row);
    if (held) set->row[0] = 0;
    for (int64_t d = 0; held && d < data->documents; d++) held = document_add(&b, d);
    held = held && row_end(&b);
    if (!held) {
        rows_free(set);
        return error_set(error, HEED_NO_MEMORY, "no memory for the rows of data set \"%s\"", data->name);
    }
    if (set->rows > 0) return HEED_OK;
    rows_free(set);
    return error_set(error, HEED_INVALID, "data set \"%s\" has no document of two or more tokens, so there is nothing to score",
                     data->name);
}

void rows_free(row_set *set) {
    free(set->row);
    free(set->piece);
    *set = (row_set){0};
}

int64_t rows_tokens(const row_set *set, int64_t row) {
    int64_t tokens = 0;
    for (int64_t p = set->row[row]; p < set->row[row + 1]; p++) tokens += set->piece[p].length;
    return tokens;
}

int64_t rows_scored(const row_set *set, int64_t row) { return rows_tokens(set, row) - (set->row[row + 1] - set->row[row]); }

// The first token of a document is not scored, so what it tells is not in the floor either.
double rows_floor(const row_set *set) {
    const dataset *data = set->data;
    double nats = 0;
    int64_t scored = 0;
    if (data->document_nats == NULL) return NAN;
    for (int64_t p = 0; p < set->row[set->rows]; p++) {
        const row_piece *piece = &set->piece[p];
        const int64_t d = piece->document;
        if (piece->length != data->start[d + 1] - data->start[d]) continue;
        nats += data->document_nats[d] - data->first_nats;
        scored += piece->length - 1;
    }
    return scored > 0 ? nats / (double)scored : NAN;
}

// FNV-1a (Fowler, Noll, Vo 1991), a word at a time: a fingerprint, no protection.
static uint64_t hash_words(uint64_t hash, const void *words, int64_t n, size_t bytes) {
    for (int64_t i = 0; i < n; i++) {
        const uint64_t word = bytes == 4 ? ((const uint32_t *)words)[i] : ((const uint64_t *)words)[i];
        hash = (hash ^ word) * 0x100000001b3ull;
    }
    return hash;
}

uint64_t rows_hash(const row_set *set) {
    const int64_t layout[] = {set->rows, set->length, set->packed, set->leak};
    uint64_t hash = hash_words(0xcbf29ce484222325ull, layout, 4, sizeof *layout);
    hash = hash_words(hash, set->row, set->rows + 1, sizeof *set->row);
    for (int64_t p = 0; p < set->row[set->rows]; p++) {
        hash = hash_words(hash, &set->piece[p].length, 1, sizeof set->piece[p].length);
        hash = hash_words(hash, set->data->id + set->piece[p].first, set->piece[p].length, sizeof *set->data->id);
    }
    return hash;
}

void rows_order(int64_t *order, int64_t n, uint64_t seed, int64_t epoch) {
    random_stream stream = random_of(seed, ORDER_STREAM + (uint64_t)epoch);
    for (int64_t i = 0; i < n; i++) order[i] = i;
    for (int64_t i = n - 1; i > 0; i--) {
        const int64_t other = (int64_t)random_below(&stream, (uint64_t)i + 1), held = order[i];
        order[i] = order[other];
        order[other] = held;
    }
}

// ---- batches ----

typedef struct { int32_t *id, *position, *target, *document, *range; } batch_arrays;

// One row of the batch: `width` places, its tokens at the right end when padding is left.
static int64_t row_fill(const row_set *set, int64_t row, batch_arrays to, int64_t width, batch_padding padding, int64_t *tokens) {
    const int64_t first = set->row[row], end = set->row[row + 1];
    const int64_t used = rows_tokens(set, row);
    int64_t scored = 0;
    for (int64_t i = 0; i < width; i++) {
        to.id[i] = padding.pad;
        to.position[i] = 0;
        to.target[i] = -1;
        to.document[i] = padding.left ? 0 : (int32_t)(end - first - 1);    // that of its neighbour: right padding is no empty row
    }
    int64_t at = padding.left ? width - used : 0;
    to.range[0] = (int32_t)at;
    to.range[1] = (int32_t)(at + used);
    for (int64_t p = first; p < end; p++) {
        const row_piece *piece = &set->piece[p];
        const int32_t *id = set->data->id + piece->first;
        for (int64_t i = 0; i < piece->length; i++, at++) {
            to.id[at] = id[i];
            to.position[at] = (int32_t)i;
            to.document[at] = (int32_t)(p - first);
            if (i + 1 < piece->length) to.target[at] = id[i + 1];
        }
        scored += piece->length - 1;
    }
    *tokens += used;
    return scored;
}

heed_status batch_fill(batch *b, const row_pick *pick, int64_t n, batch_padding padding, heed_error *error) {
    const row_set *layout = pick[0].set;
    int64_t width = 0, shortest = INT64_MAX;
    for (int64_t r = 0; r < n; r++) {
        const int64_t tokens = rows_tokens(pick[r].set, pick[r].row);
        width = int64_max(width, tokens);
        shortest = int64_min(shortest, tokens);
    }
    width = int64_min(int64_ceil_div(width, WIDTH_STEP) * WIDTH_STEP, layout->length);
    int64_t places;
    if (!int64_mul(n, width, &places) || places > INT64_MAX / 8 || !reserve((void **)&b->memory, &b->room, 4 * places + 2 * n,
        sizeof *b->memory))
        return error_set(error, HEED_NO_MEMORY, "no memory for a batch of %lld rows of %lld tokens", (long long)n,
                         (long long)width);
    const batch_arrays all = {b->memory, b->memory + places, b->memory + 2 * places, b->memory + 3 * places,
                              b->memory + 4 * places};
    b->scored = b->tokens = 0;
    for (int64_t r = 0; r < n; r++) {
        const batch_arrays one = {all.id + r * width, all.position + r * width, all.target + r * width, all.document + r * width,
                                  all.range + 2 * r};
        b->scored += row_fill(pick[r].set, pick[r].row, one, width, padding, &b->tokens);
    }
    b->view = (model_batch){.rows = n, .length = width, .id = all.id, .position = all.position, .target = all.target};
    if (shortest < width) b->view.key_range = all.range;
    if (layout->packed && !layout->leak) b->view.document = all.document;
    return HEED_OK;
}

void batch_free(batch *b) {
    free(b->memory);
    *b = (batch){0};
}
