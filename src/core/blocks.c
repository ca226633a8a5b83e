// SPDX-License-Identifier: Apache-2.0
#include "core/blocks.h"

#include "base/memory.h"

#include <string.h>

// Of a row of tiles: a slot for each tile, then the entries of the first `kept` cut ones. A slot is one of these, or
// SLOT_ENTRY + 2 * entry + (1 when its rows are intervals).
enum { SLOT_HIDDEN, SLOT_WHOLE, SLOT_ASK, SLOT_ENTRY };
enum { KEPT = 32 };    // entries of a row of tiles: 48 KB for 48 x 256, so that lists stay below 1 KB a row

struct block_view {
    blocks_shape shape;
    const char *lists;
    int64_t batch, head, row_tile, key_tile;    // the tile that was asked last
    uint16_t slot;
    _Alignas(8) uint8_t entry[];
};

static bool is_listed(const heed_mask *mask) { return mask->kind->keys_of_row == NULL; }

// ---- Sizes --------------------------------------------------------------------------------------------------------

blocks_shape blocks_shape_of(const heed_problem *p, int64_t tile_rows, int64_t tile_keys) {
    blocks_shape s = {.tile_rows = tile_rows, .tile_keys = tile_keys, .row_tiles = int64_ceil_div(p->queries, tile_rows),
                      .key_tiles = int64_ceil_div(p->keys, tile_keys)};
    unsigned axes = p->with & (HEED_KEY_COUNT | HEED_OFFSETS | HEED_KEY_RANGE) ? HEED_AXIS_BATCH : 0;
    for (int i = 0; i < HEED_EDITS && p->mask[i].kind != NULL; i++) {
        s.wanted |= is_listed(&p->mask[i]);
        axes |= p->mask[i].kind->axes == 0 ? HEED_AXES_ALL : p->mask[i].kind->axes;
    }
    if (!s.wanted || axes & HEED_AXIS_HEAD) return s;
    s.lists = axes & HEED_AXIS_BATCH ? p->batch : int64_min(p->batch, 1);
    s.kept = int64_min(s.key_tiles, KEPT);
    return s;
}

static size_t entry_bytes(const blocks_shape *s) { return (size_t)(s->tile_rows * s->tile_keys / 8); }    // intervals need less

static size_t slots_bytes(const blocks_shape *s) { return size_align(size_mul((size_t)s->key_tiles, sizeof(uint16_t))); }

static size_t row_bytes(const blocks_shape *s) {
    return size_align(size_add(slots_bytes(s), size_mul((size_t)s->kept, entry_bytes(s))));
}

size_t blocks_list_bytes(const blocks_shape *s) { return size_mul((size_t)(s->lists * s->row_tiles), row_bytes(s)); }

size_t blocks_scratch_bytes(const blocks_shape *s) { return s->wanted ? size_align(sizeof(block_view) + entry_bytes(s)) : 0; }

// ---- Asking -------------------------------------------------------------------------------------------------------

// The masks that must be asked pair by pair about a rect; false when one of them hides all of it.
typedef struct { const heed_mask *list[HEED_EDITS]; int n; } asked;

static bool masks_to_ask(const edit_sequence *s, edit_rect r, asked *a) {
    a->n = 0;
    for (int i = 0; i < HEED_EDITS && s->problem->mask[i].kind != NULL; i++) {
        const heed_mask *mask = &s->problem->mask[i];
        if (!is_listed(mask)) continue;
        const heed_rect rect = edit_rect_of(s, r);
        const heed_rect_class class = mask->kind->classify == NULL ? HEED_RECT_EDIT : mask->kind->classify(mask, &rect);
        if (class == HEED_RECT_SKIP) return false;
        if (class == HEED_RECT_EDIT) a->list[a->n++] = mask;
    }
    return true;
}

// What one row sees: bits, how many keys, and between which.
typedef struct { int64_t n, first, end; } row_seen;

static row_seen ask_row(const edit_sequence *s, const asked *a, edit_rect r, int64_t first, int64_t end, uint8_t *bits) {
    row_seen seen = {0, 0, 0};
    heed_pos at = edit_rect_of(s, r).first;
    for (int64_t key = first; key < end; key++) {
        at.key = r.key0 + key;
        bool visible = true;
        for (int i = 0; i < a->n && visible; i++) visible = a->list[i]->kind->visible(a->list[i], at);
        if (!visible) continue;
        bits[key / 8] |= (uint8_t)(1 << key % 8);
        if (seen.n++ == 0) seen.first = key;
        seen.end = key + 1;
    }
    return seen;
}

// The slot of a tile; an entry's number is 0.
static uint16_t ask(const blocks_shape *shape, const edit_sequence *s, edit_rect r, uint8_t *entry) {
    int32_t first[BLOCK_ROWS], end[BLOCK_ROWS];
    uint16_t ends[2][BLOCK_ROWS];
    asked a;
    if (!masks_to_ask(s, r, &a)) return SLOT_HIDDEN;
    edit_intervals(s, r, first, end);
    memset(entry, 0, entry_bytes(shape));
    int64_t n = 0;
    bool intervals = true;
    for (int64_t row = 0; row < r.rows; row++) {
        const edit_rect one = {r.head, r.row0 + row, 1, r.key0, r.keys};
        const row_seen seen = ask_row(s, &a, one, first[row], end[row], entry + row * shape->tile_keys / 8);
        n += seen.n;
        intervals &= seen.n == seen.end - seen.first;
        ends[0][row] = (uint16_t)seen.first;
        ends[1][row] = (uint16_t)seen.end;
    }
    if (n == 0) return SLOT_HIDDEN;
    if (n == r.rows * r.keys) return SLOT_WHOLE;
    if (!intervals) return SLOT_ENTRY;
    for (int i = 0; i < 2; i++)
        memcpy(entry + (size_t)i * (size_t)shape->tile_rows * sizeof(uint16_t), ends[i], (size_t)r.rows * sizeof(uint16_t));
    return SLOT_ENTRY + 1;
}

// Every key of the tile, whichever part of it a caller is at.
static edit_rect tile_rect(const blocks_shape *shape, const edit_sequence *s, int64_t head, int64_t row_tile, int64_t key_tile) {
    const int64_t row0 = row_tile * shape->tile_rows, key0 = key_tile * shape->tile_keys;
    return (edit_rect){head, row0, int64_min(shape->tile_rows, s->problem->queries - row0), key0,
                       int64_min(shape->tile_keys, s->n_key - key0)};
}

typedef struct { const blocks_shape *shape; const heed_problem *problem; const heed_args *args; char *lists; } call;

static void make_row(void *context, int64_t item, int worker) {
    const call *c = context;
    const blocks_shape *shape = c->shape;
    const edit_sequence s = edit_begin(c->problem, c->args, item / shape->row_tiles);
    char *row = c->lists + (size_t)item * row_bytes(shape);
    uint16_t *slot = (uint16_t *)(void *)row;
    uint8_t *entries = (uint8_t *)row + slots_bytes(shape), spare[BLOCK_ROWS * BLOCK_KEYS / 8];
    int64_t kept = 0;
    for (int64_t key_tile = 0; key_tile < shape->key_tiles; key_tile++) {
        const edit_rect r = tile_rect(shape, &s, 0, item % shape->row_tiles, key_tile);
        uint8_t *entry = kept < shape->kept ? entries + (size_t)kept * entry_bytes(shape) : spare;
        slot[key_tile] = r.keys <= 0 ? SLOT_HIDDEN : ask(shape, &s, r, entry);
        if (slot[key_tile] < SLOT_ENTRY) continue;
        if (entry == spare) slot[key_tile] = SLOT_ASK;
        else slot[key_tile] = (uint16_t)(slot[key_tile] + 2 * kept++);
    }
}

void blocks_make(const blocks_shape *shape, const heed_problem *p, const heed_args *args, const threads *team, void *lists) {
    call c = {shape, p, args, lists};
    threads_for(team, shape->lists * shape->row_tiles, make_row, &c);
}

// ---- Looking up ---------------------------------------------------------------------------------------------------

block_view *blocks_open(const blocks_shape *shape, const void *lists, void *scratch) {
    if (!shape->wanted) return NULL;
    block_view *b = scratch;
    b->shape = *shape;
    b->lists = lists;
    b->batch = -1;
    return b;
}

static void ask_here(block_view *b, const edit_sequence *s, int64_t head, int64_t row_tile, int64_t key_tile) {
    if (b->batch == s->batch && b->head == head && b->row_tile == row_tile && b->key_tile == key_tile) return;
    edit_sequence alone = *s;
    alone.blocks = NULL;
    b->slot = ask(&b->shape, &alone, tile_rect(&b->shape, s, head, row_tile, key_tile), b->entry);
    b->batch = s->batch, b->head = head, b->row_tile = row_tile, b->key_tile = key_tile;
}

bool blocks_tile(block_view *b, const edit_sequence *s, edit_rect r, block_tile *tile) {
    const blocks_shape *shape = &b->shape;
    const int64_t row_tile = r.row0 / shape->tile_rows, key_tile = r.key0 / shape->tile_keys;
    if ((r.row0 + r.rows - 1) / shape->tile_rows != row_tile || (r.key0 + r.keys - 1) / shape->tile_keys != key_tile) return false;
    uint16_t slot = SLOT_ASK;
    const uint8_t *entry = NULL;
    if (shape->lists > 0) {
        const int64_t list = shape->lists == 1 ? 0 : s->batch;
        const char *row = b->lists + (size_t)(list * shape->row_tiles + row_tile) * row_bytes(shape);
        slot = ((const uint16_t *)(const void *)row)[key_tile];
        if (slot >= SLOT_ENTRY)
            entry = (const uint8_t *)row + slots_bytes(shape) + (size_t)((slot - SLOT_ENTRY) / 2) * entry_bytes(shape);
    }
    if (slot == SLOT_ASK) {
        ask_here(b, s, r.head, row_tile, key_tile);
        slot = b->slot;
        entry = b->entry;
    }
    *tile = (block_tile){.class = slot == SLOT_HIDDEN ? HEED_RECT_SKIP : slot == SLOT_WHOLE ? HEED_RECT_KEEP : HEED_RECT_EDIT,
                         .row0 = row_tile * shape->tile_rows, .key0 = key_tile * shape->tile_keys,
                         .row_bytes = shape->tile_keys / 8};
    if (slot < SLOT_ENTRY) return true;
    if ((slot - SLOT_ENTRY) % 2 == 0) {
        tile->bits = entry;
    } else {
        tile->first = (const uint16_t *)(const void *)entry;
        tile->end = tile->first + shape->tile_rows;
    }
    return true;
}
