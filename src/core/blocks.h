// SPDX-License-Identifier: Apache-2.0
// Block lists: which tiles of the score grid the masks hide, show whole, or cut, where a mask says so only pair by pair
// (`visible`). A run asks once for each pair and remembers the answers, for all heads and sequences that share them
// (heed_mask_kind.axes); where heads differ, a tile is asked when it is met. Either way its rows are intervals or bits, so
// that what is computed, and in which order, is a function of what is visible alone.
#pragma once

#include "base/threads.h"
#include "core/edit.h"

// Sizes, from the problem and the algorithm's tiles (at most BLOCK_ROWS x BLOCK_KEYS; tile_keys a multiple of 8).
enum { BLOCK_ROWS = 64, BLOCK_KEYS = 256 };
typedef struct {
    bool wanted;                      // false: every mask tells the interval of each row, and there is nothing to list
    int64_t tile_rows, tile_keys, row_tiles, key_tiles;
    int64_t lists;                    // 0: heads differ; 1: one for all; else one a sequence
    int64_t kept;                     // cut tiles that a row of tiles remembers; others are asked again
} blocks_shape;

blocks_shape blocks_shape_of(const heed_problem *complete, int64_t tile_rows, int64_t tile_keys);
size_t blocks_list_bytes(const blocks_shape *);       // of a run; 0 where there are none
size_t blocks_scratch_bytes(const blocks_shape *);    // of a worker

// Asks the masks and writes the lists.
void blocks_make(const blocks_shape *, const heed_problem *, const heed_args *, const threads *, void *lists);

// A worker's view, in its scratch, to be put into edit_sequence.blocks; NULL where nothing is listed.
block_view *blocks_open(const blocks_shape *, const void *lists, void *scratch);

// What the masks (arrays apart) show of one tile.
typedef struct {
    heed_rect_class class;
    int64_t key0;
    const uint16_t *first, *end;      // of a cut tile whose rows see intervals: [first, end) of each, from key0 on; else NULL
    const uint8_t *bits;              // of another cut tile: a bit a key, from the lowest on, row_bytes a row
    int64_t row0, row_bytes;
} block_tile;

// The tile in which the rect lies; false when it lies across tiles. Valid until the next call on the same view.
bool blocks_tile(block_view *, const edit_sequence *, edit_rect, block_tile *);
