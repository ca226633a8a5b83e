// SPDX-License-Identifier: Apache-2.0
// Two GPT-2 checkpoints tensor by tensor, before anything is computed.
#pragma once

#include "heed/heed.h"

typedef enum {
    WEIGHT_EQUAL, WEIGHT_ROUNDED, WEIGHT_DIFFERS, WEIGHT_TRANSPOSED, WEIGHT_SHAPE, WEIGHT_MISSING, WEIGHT_EXTRA, WEIGHT_KINDS
} weight_kind;
extern const char *const weight_kinds[WEIGHT_KINDS];    // "equal", ...

typedef struct {
    char name[96], shape[2][48];       // as A has it and as B has it; "" where it has none
    const char *type[2];
    weight_kind kind;
    uint32_t checksum[2];              // CRC-32 of the bytes
    double largest;                    // |a - b|
    int64_t at, differ;                // where; how many elements
} weight_row;

typedef struct {
    weight_row *row;
    int64_t n, count[WEIGHT_KINDS];
    const char *copy;      // "B is A rounded to bf16", where every tensor is that; NULL
    double unit;           // of that rounding, relative; 0 without
} weight_map;

// Of the files model.safetensors of two folders. Names with and without "transformer." are the same; buffers and a tied head that
// old files hold are no weights.
heed_status weight_map_make(weight_map *, const char *folder_a, const char *folder_b, heed_error *);
void weight_map_free(weight_map *);    // also after a failure
