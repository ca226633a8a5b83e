// SPDX-License-Identifier: Apache-2.0
// A vocabulary of byte strings and the ranked merges between them.
#pragma once

#include "base/error.h"

typedef struct { int32_t left, right; } bpe_pair;

typedef struct {
    int32_t count;                       // tokens
    unsigned char *bytes;                // of all tokens, in the order they were set
    uint32_t used;
    uint32_t *start, *length;            // by id
    int32_t byte_id[256];
    bpe_pair *merge;                     // by rank
    int32_t merges;
    struct bpe_slot { uint64_t pair; int32_t rank, id; } *slot;    // hash of pairs, open addressing; id < 0: empty
    uint64_t slots, salt;                // a power of two, at least twice `merges`; salt: no file can choose collisions
    struct bpe_scratch *scratch;
} bpe;

// For `count` tokens of `bytes` bytes together (below 2^32). Then bpe_set_token once for each id;
// a token of one byte becomes that byte's id.
heed_status bpe_create(bpe **, int32_t count, size_t bytes, heed_error *);
void bpe_free(bpe *);    // NULL is fine
void bpe_set_token(bpe *, int32_t id, const void *bytes, size_t n);

// Room for `merges` pairs; then each in the order of rank. False: the pair is there already.
heed_status bpe_reserve_merges(bpe *, int32_t merges, heed_error *);
bool bpe_add_merge(bpe *, int32_t left, int32_t right, int32_t id);

// Merges the ids in place, always the lowest rank first and of equals the leftmost; returns how many remain, -1 without memory.
int64_t bpe_merge(bpe *, int32_t *id, int64_t n);
