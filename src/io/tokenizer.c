// SPDX-License-Identifier: Apache-2.0
// Outline of encode: cut at <|endoftext|>; cut what remains into valid UTF-8 and runs of bytes that are none; cut the valid parts
// by GPT-2's pattern; merge inside each piece. A run of invalid bytes is one piece: bytes merge inside it, never with its
// neighbours, as at a document's end.
#include "io/tokenizer.h"

#include "io/bpe_files.h"
#include "io/tokenizer_split.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

// Words repeat: the ids of short pieces are kept, each in the one place its hash gives (a newcomer replaces it).
enum { CACHE_SLOTS = 1 << 15, CACHE_TEXT = 24, CACHE_IDS = 5 };
typedef struct {
    uint64_t word[CACHE_TEXT / 8];    // the piece, zeros after it
    uint8_t length, count;            // length 0: empty
    int32_t id[CACHE_IDS];
} cache_slot;

struct tokenizer {
    bpe *model;
    tokenizer_split *split;
    cache_slot *cache;
    int32_t eos;
};

static heed_status wrap(tokenizer **created, bpe *model, int32_t eos, heed_error *error) {
    tokenizer *t = calloc(1, sizeof *t);
    if (t == NULL) {
        bpe_free(model);
        return error_set(error, HEED_NO_MEMORY, "no memory for a tokenizer");
    }
    t->model = model;
    t->eos = eos;
    t->cache = calloc(CACHE_SLOTS, sizeof *t->cache);
    const heed_status status = t->cache != NULL ? tokenizer_split_create(&t->split, error) :
        error_set(error, HEED_NO_MEMORY, "no memory for a tokenizer");
    if (status != HEED_OK) {
        tokenizer_free(t);
        return status;
    }
    *created = t;
    return HEED_OK;
}

heed_status tokenizer_load(tokenizer **created, const char *folder, heed_error *error) {
    *created = NULL;
    bpe *model;
    int32_t eos;
    const heed_status status = bpe_read(&model, &eos, folder, error);
    return status == HEED_OK ? wrap(created, model, eos, error) : status;
}

heed_status tokenizer_create_bytes(tokenizer **created, heed_error *error) {
    *created = NULL;
    bpe *model;
    heed_status status = bpe_create(&model, 257, 256 + strlen(BPE_EOS), error);
    if (status != HEED_OK) return status;
    for (int i = 0; i < 256; i++) bpe_set_token(model, i, &(unsigned char){(unsigned char)i}, 1);
    bpe_set_token(model, 256, BPE_EOS, strlen(BPE_EOS));
    status = bpe_reserve_merges(model, 0, error);
    if (status == HEED_OK) return wrap(created, model, 256, error);
    bpe_free(model);
    return status;
}

void tokenizer_free(tokenizer *t) {
    if (t == NULL) return;
    bpe_free(t->model);
    tokenizer_split_free(t->split);
    free(t->cache);
    free(t);
}

int32_t tokenizer_size(const tokenizer *t) { return t->model->count; }
int32_t tokenizer_eos(const tokenizer *t) { return t->eos; }
const char *tokenizer_kind(const tokenizer *t) { return t->model->merges > 0 ? "gpt2" : "bytes"; }

heed_status tokenizer_save(const tokenizer *t, const char *folder, heed_error *error) {
    return bpe_write(t->model, t->eos, folder, error);
}

// ---- encode -------------------------------------------------------------------------------------------------------

static heed_status make_room(id_list *list, size_t extra, heed_error *error) {
    if (extra <= (size_t)(list->room - list->count)) return HEED_OK;
    if (extra > SIZE_MAX / 16 - (size_t)list->count) return error_set(error, HEED_NO_MEMORY, "no memory for %zu tokens", extra);
    const size_t room = ((size_t)list->count + extra) * 3 / 2 + 64;
    int32_t *id = realloc(list->id, room * sizeof *id);
    if (id == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for %zu tokens", room);
    list->id = id;
    list->room = (int64_t)room;
    return HEED_OK;
}

heed_status id_list_add(id_list *list, int32_t id, heed_error *error) {
    const heed_status status = make_room(list, 1, error);
    if (status == HEED_OK) list->id[list->count++] = id;
    return status;
}

static heed_status encode_piece(const tokenizer *t, const char *text, size_t n, id_list *list, heed_error *error) {
    const heed_status status = make_room(list, n, error);
    if (status != HEED_OK) return status;
    int32_t *id = list->id + list->count;
    cache_slot *slot = NULL;
    uint64_t word[CACHE_TEXT / 8] = {0};
    if (n <= CACHE_TEXT) {
        memcpy(word, text, n);
        uint64_t h = (word[0] ^ n) * 0x9E3779B97F4A7C15u;
        h = (h ^ h >> 29 ^ word[1]) * 0xD6E8FEB86659FD93u;
        h = (h ^ h >> 32 ^ word[2]) * 0xBF58476D1CE4E5B9u;
        slot = &t->cache[(h >> 40) % CACHE_SLOTS];
        if (slot->length == n && memcmp(slot->word, word, sizeof word) == 0) {
            memcpy(id, slot->id, slot->count * sizeof *id);
            list->count += slot->count;
            return HEED_OK;
        }
    }
    for (size_t i = 0; i < n; i++) id[i] = t->model->byte_id[(unsigned char)text[i]];
    const int64_t count = bpe_merge(t->model, id, (int64_t)n);
    if (count < 0) return error_set(error, HEED_NO_MEMORY, "no memory to merge a word of %zu bytes (at most 2^30 are allowed)", n);
    if (slot != NULL && count <= CACHE_IDS) {
        memcpy(slot->word, word, sizeof word);
        memcpy(slot->id, id, (size_t)count * sizeof *id);
        slot->length = (uint8_t)n;
        slot->count = (uint8_t)count;
    }
    list->count += count;
    return HEED_OK;
}

// Valid UTF-8 from text[0] on: its length. Where the first byte is invalid: 0.
static size_t valid_run(const char *text, size_t n) {
    size_t at = 0;
    for (size_t length = 1; at < n && length > 0; at += length) {
        if ((unsigned char)text[at] < 0x80) length = 1;
        else length = utf8_length((const unsigned char *)text + at, n - at);
    }
    return at;
}

static size_t invalid_run(const char *text, size_t n) {
    size_t at = 0;
    while (at < n && utf8_length((const unsigned char *)text + at, n - at) == 0) at++;
    return at;
}

// Text without <|endoftext|>.
static heed_status encode_stretch(const tokenizer *t, const char *text, size_t n, id_list *list, heed_error *error) {
    if (t->model->merges == 0) {
        const heed_status status = make_room(list, n, error);
        for (size_t i = 0; i < n && status == HEED_OK; i++) list->id[list->count++] = t->model->byte_id[(unsigned char)text[i]];
        return status;
    }
    heed_status status = HEED_OK;
    for (size_t at = 0; at < n && status == HEED_OK;) {
        const size_t valid = valid_run(text + at, n - at);
        for (size_t i = 0, length; i < valid && status == HEED_OK; i += length) {
            status = tokenizer_split_next(t->split, text + at, valid, i, &length, error);
            if (status == HEED_OK) status = encode_piece(t, text + at + i, length, list, error);
        }
        at += valid;
        const size_t invalid = invalid_run(text + at, n - at);
        if (status == HEED_OK && invalid > 0) status = encode_piece(t, text + at, invalid, list, error);
        at += invalid;
    }
    return status;
}

heed_status tokenizer_encode(const tokenizer *t, const char *text, size_t n, id_list *list, heed_error *error) {
    heed_status status = HEED_OK;
    for (size_t at = 0; at < n && status == HEED_OK;) {
        const char *special = memmem(text + at, n - at, BPE_EOS, strlen(BPE_EOS));
        const size_t end = special == NULL ? n : (size_t)(special - text);
        status = encode_stretch(t, text + at, end - at, list, error);
        if (status == HEED_OK && special != NULL) status = id_list_add(list, t->eos, error);
        at = end + (special == NULL ? 0 : strlen(BPE_EOS));
    }
    return status;
}

heed_status tokenizer_decode(const tokenizer *t, const int32_t *id, int64_t n, text_string *text, heed_error *error) {
    const bpe *b = t->model;
    for (int64_t i = 0; i < n; i++) {
        if (id[i] < 0 || id[i] >= b->count)
            return error_set(error, HEED_INVALID, "token %lld has id %d; ids from 0 to %d are allowed", (long long)i, id[i],
                             b->count - 1);
        text_append(text, (const char *)b->bytes + b->start[id[i]], b->length[id[i]]);
    }
    return text->failed ? error_set(error, HEED_NO_MEMORY, "no memory for the text of %lld tokens", (long long)n) : HEED_OK;
}
