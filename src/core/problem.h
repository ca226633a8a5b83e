// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "heed/heed.h"

enum {
    PROBLEM_SIZE_MAX = 0x7fffffff,    // of every axis: tables of positions are int32
};
#define PROBLEM_REACH_MAX ((int64_t)1 << 40)    // of offsets and windows: sums of a few stay far from overflow

// Is it a meaningful problem? Then *complete is it with every default written out: kv_heads, keys (0 for HEED_NO_KEYS),
// value_channels, types, scale, strides, axes. The one place where a problem is validated. complete may be problem.
heed_status problem_complete(const heed_problem *problem, heed_problem *complete, heed_error *error);

// The memory of one run against a complete problem: NULL, alignment, ranges, counts, documents, overlap, workspace. Reads
// only the small tables; writes nothing.
heed_status problem_check_args(const heed_problem *complete, const heed_args *args, size_t workspace_bytes, heed_error *error);

// The same for a call that only looks (heed_inspect): it reads q, k, the arrays of masks and edits and, with `lse`, lse; it
// writes `written` (at NULL: not wanted) and the workspace. v, out and gradients are left alone.
typedef struct { const char *name; const void *at; int64_t bytes; } problem_memory;
heed_status problem_check_reading(const heed_problem *complete, const heed_args *args, bool lse, size_t workspace_bytes,
                                  const problem_memory *written, int n_written, heed_error *error);

// Visible scores of all sequences and heads as far as the problem alone tells (arrays are taken to hide nothing); from a
// sample of rows where there are many.
double problem_visible(const heed_problem *complete);

// One array of a complete problem: what it is, where its strides are, how many heads, tokens, channels.
typedef struct { const char *name; heed_dtype dtype; heed_stride stride; int64_t heads, tokens, channels; } problem_array;
enum { PROBLEM_Q, PROBLEM_K, PROBLEM_V, PROBLEM_OUT, PROBLEM_DOUT, PROBLEM_DQ, PROBLEM_DK, PROBLEM_DV, PROBLEM_ARRAYS };
problem_array problem_array_of(const heed_problem *complete, int which);

// Elements of a bias, bool mask or dbias over the axes it has, when dense.
int64_t problem_grid_size(const heed_problem *complete, unsigned axes);
heed_grid_stride problem_grid_dense(const heed_problem *complete, unsigned axes);
