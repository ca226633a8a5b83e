// SPDX-License-Identifier: Apache-2.0
// One call of attention as somebody observed it: what it claims to compute, and what it was given, as exact doubles, dense.
// What came out of it is ref_results, a separate thing: two results are compared for one call.
#pragma once

#include "compare/drawn.h"
#include "core/problem_text.h"
#include "ref/attention.h"

typedef struct {
    problem_line line;        // the claim as text says it
    heed_problem problem;     // the same, complete, with dense strides
    int64_t batch, heads, kv_heads, group, queries, keys, channels, value_channels;
    // (batch, heads, queries, channels), (batch, kv_heads, keys, channels), (.., value_channels), (batch, heads, queries, ..)
    double *q, *k, *v, *dout;
    double *sinks, *slopes, *bias;     // (heads); bias: dense over problem.bias_axes
    uint8_t *mask, *keep;              // dense over problem.mask_axes; keep: (batch, heads, queries, keys), 1 = not dropped
    int32_t *key_range, *key_count, *offsets, *documents;
    double *cos, *sin;                 // (positions, channels / 2): rotary tables that were captured; NULL: from the claim
    int64_t positions;
    void *memory, *tables;             // tables: of cos and sin
} call;

// A call of the claim with arrays of its own, all zero, for the caller to fill. Free with call_free, also after a failure.
heed_status call_begin(call *, const problem_line *claim, heed_error *);
void call_free(call *);

// Of a drawn problem (its inputs; outputs are not looked at).
heed_status call_of_drawn(call *, const drawn *, heed_error *);

// Where a sequence's rows stand, which keys it has, and which of them are no padding.
typedef struct { int64_t n_key, offset, first_valid, end_valid; } call_sequence;
call_sequence call_sequence_of(const call *, int64_t batch);
