// SPDX-License-Identifier: Apache-2.0
// Sennrich et al. 2016, over bytes. The ids of a piece form a linked list; a heap holds the pairs that can merge, ordered by
// (rank, place). An entry whose pair has changed since it was pushed is recognised by its rank and dropped: O(n log n).
#include "io/bpe.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct { int32_t rank, at; } candidate;
struct bpe_scratch { int32_t *next, *previous; candidate *heap; int64_t room, held; };

heed_status bpe_create(bpe **created, int32_t count, size_t bytes, heed_error *error) {
    *created = NULL;
    bpe *b = calloc(1, sizeof *b);
    if (b == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for a vocabulary of %d tokens", count);
    b->count = count;
    b->bytes = malloc(bytes + 1);
    b->start = calloc((size_t)count + 1, sizeof *b->start);
    b->length = calloc((size_t)count + 1, sizeof *b->length);
    b->scratch = calloc(1, sizeof *b->scratch);
    if (b->bytes == NULL || b->start == NULL || b->length == NULL || b->scratch == NULL || getentropy(&b->salt,
            sizeof b->salt) != 0) {
        bpe_free(b);
        return error_set(error, HEED_NO_MEMORY, "no memory for a vocabulary of %d tokens", count);
    }
    for (int i = 0; i < 256; i++) b->byte_id[i] = -1;
    *created = b;
    return HEED_OK;
}

void bpe_free(bpe *b) {
    if (b == NULL) return;
    if (b->scratch != NULL) {
        free(b->scratch->next);
        free(b->scratch->previous);
        free(b->scratch->heap);
        free(b->scratch);
    }
    free(b->bytes);
    free(b->start);
    free(b->length);
    free(b->merge);
    free(b->slot);
    free(b);
}

void bpe_set_token(bpe *b, int32_t id, const void *bytes, size_t n) {
    memcpy(b->bytes + b->used, bytes, n);
    b->start[id] = b->used;
    b->length[id] = (uint32_t)n;
    b->used += (uint32_t)n;
    if (n == 1) b->byte_id[*(const unsigned char *)bytes] = id;
}

heed_status bpe_reserve_merges(bpe *b, int32_t merges, heed_error *error) {
    uint64_t slots = 64;
    while (slots < 2 * (uint64_t)merges) slots *= 2;
    b->merge = malloc(((size_t)merges + 1) * sizeof *b->merge);
    b->slot = malloc((size_t)slots * sizeof *b->slot);
    if (b->merge == NULL || b->slot == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for %d merges", merges);
    b->slots = slots;
    for (uint64_t i = 0; i < slots; i++) b->slot[i].id = -1;
    return HEED_OK;
}

// The slot that holds the pair, or the empty one where it belongs.
static struct bpe_slot *find(const bpe *b, int32_t left, int32_t right) {
    const uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    uint64_t x = (pair ^ b->salt) * 0x9E3779B97F4A7C15u;
    x = (x ^ x >> 32) * 0xD6E8FEB86659FD93u;
    for (uint64_t i = x ^ x >> 32;; i++) {
        struct bpe_slot *s = &b->slot[i & (b->slots - 1)];
        if (s->id < 0 || s->pair == pair) return s;
    }
}

bool bpe_add_merge(bpe *b, int32_t left, int32_t right, int32_t id) {
    struct bpe_slot *s = find(b, left, right);
    if (s->id >= 0) return false;
    *s = (struct bpe_slot){(uint64_t)(uint32_t)left << 32 | (uint32_t)right, b->merges, id};
    b->merge[b->merges++] = (bpe_pair){left, right};
    return true;
}

static bool make_room(struct bpe_scratch *s, int64_t n) {
    if (n <= s->room) return true;
    const int64_t room = n + n / 2 + 64;
    int32_t *next = realloc(s->next, (size_t)room * sizeof *next);
    if (next != NULL) s->next = next;
    int32_t *previous = realloc(s->previous, (size_t)room * sizeof *previous);
    if (previous != NULL) s->previous = previous;
    // A merge takes away one entry and pushes at most two, and there are at most n - 1 merges: 2 n are always enough.
    candidate *heap = realloc(s->heap, 2 * (size_t)room * sizeof *heap);
    if (heap != NULL) s->heap = heap;
    if (next == NULL || previous == NULL || heap == NULL) return false;
    s->room = room;
    return true;
}

static bool before(candidate a, candidate b) { return a.rank != b.rank ? a.rank < b.rank : a.at < b.at; }

static void push(struct bpe_scratch *s, candidate c) {
    int64_t i = s->held++;
    for (; i > 0 && before(c, s->heap[(i - 1) / 2]); i = (i - 1) / 2) s->heap[i] = s->heap[(i - 1) / 2];
    s->heap[i] = c;
}

static candidate pop(struct bpe_scratch *s) {
    const candidate top = s->heap[0], last = s->heap[--s->held];
    int64_t i = 0;
    for (int64_t child; (child = 2 * i + 1) < s->held; i = child) {
        if (child + 1 < s->held && before(s->heap[child + 1], s->heap[child])) child++;
        if (!before(s->heap[child], last)) break;
        s->heap[i] = s->heap[child];
    }
    s->heap[i] = last;
    return top;
}

// Pushes the pair (at, next of at) if it can merge.
static void offer(const bpe *b, const int32_t *id, int32_t at) {
    const int32_t next = b->scratch->next[at];
    if (next < 0) return;
    const struct bpe_slot *s = find(b, id[at], id[next]);
    if (s->id >= 0) push(b->scratch, (candidate){s->rank, at});
}

int64_t bpe_merge(bpe *b, int32_t *id, int64_t n) {
    struct bpe_scratch *s = b->scratch;
    if (n < 2 || b->merges == 0) return n;
    if (n > INT32_MAX / 2 || !make_room(s, n)) return -1;
    s->held = 0;
    for (int32_t i = 0; i < n; i++) {
        s->next[i] = i + 1 < n ? i + 1 : -1;
        s->previous[i] = i - 1;
    }
    for (int32_t i = 0; i + 1 < n; i++) offer(b, id, i);
    while (s->held > 0) {
        const candidate c = pop(s);
        const int32_t right = id[c.at] < 0 ? -1 : s->next[c.at];
        if (right < 0) continue;    // the place was swallowed, or is the last
        const struct bpe_slot *slot = find(b, id[c.at], id[right]);
        if (slot->id < 0 || slot->rank != c.rank) continue;
        id[c.at] = slot->id;
        id[right] = -1;
        s->next[c.at] = s->next[right];
        if (s->next[right] >= 0) s->previous[s->next[right]] = c.at;
        if (s->previous[c.at] >= 0) offer(b, id, s->previous[c.at]);
        offer(b, id, c.at);
    }
    int64_t count = 0;
    for (int32_t i = 0; i >= 0; i = s->next[i]) id[count++] = id[i];
    return count;
}
