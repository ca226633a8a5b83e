// SPDX-License-Identifier: Apache-2.0
// What a page about a comparison draws, as numbers of bounded size whatever the problem's: errors in units of the floor by head
// and row, their histograms beside what the floor expects, and weights row by key. A cell of a map stands for `stride` places
// and holds the largest of them, on a logarithmic scale of one byte (picture_scale).
#pragma once

#include "compare/verdict.h"

// Whose errors, and against which formula. PICTURE_EXPLAINED: of the side that departs, against what explains it best.
typedef enum { PICTURE_A, PICTURE_B, PICTURE_EXPLAINED, PICTURE_VIEWS } picture_view;

enum { PICTURE_SIDE = 512, PICTURE_HEADS = 16, PICTURE_BINS = 64 };

// A scale of bytes: 0 is 0; 1 .. most are `least` and up by factors of 2^(1 / steps); 255 is what has no size: an error where one
// side only is finite, a weight that is NaN.
typedef struct { double least; int steps, most; } picture_scale;
extern const picture_scale picture_errors, picture_weights, picture_changes;

typedef struct { int64_t n_rows, n_columns, row_stride, column_stride, rows, columns; uint8_t *cell; } picture_map;

// Weights of one head by the claim and by what explains best (no cells where nothing does), and how they differ: on the scale
// picture_changes, plus 128 where the explanation's weight is the larger one.
typedef struct { int64_t batch, head; picture_map claim, explained, change; } picture_weight_maps;

typedef struct {
    picture_map errors[PICTURE_VIEWS];             // rows: batch * heads; columns: queries; no cells where there is no view
    int64_t positions;                             // of the lines below: queries, or so many parts of them
    double *worst[PICTURE_VIEWS], *usual[PICTURE_VIEWS];    // largest and rms of the rows' errors at a position, in units
    // |z| of every element of out and every lse: bin 0 below 2^-8, then two bins for each doubling; apart: not finite on one side
    int64_t z[PICTURE_VIEWS][PICTURE_BINS], apart[PICTURE_VIEWS];
    double z_expected[PICTURE_BINS];
    int64_t ulps[PICTURE_VIEWS][ULP_BINS];         // of out, as error_size has them
    double ulps_expected[ULP_BINS];                // what the floor expects of out
    picture_weight_maps weights[PICTURE_HEADS];    // the worst head first
    int n_weights;
    void *block[PICTURE_VIEWS * 3 + PICTURE_HEADS * 3];
    int blocks;
} picture;

// Free with picture_free, also after a failure.
heed_status picture_make(picture *, const call *, const observed *a, const observed *b, const verdict *, int n_threads,
                         heed_error *);
void picture_free(picture *);
