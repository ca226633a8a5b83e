// SPDX-License-Identifier: Apache-2.0
// What a computation may have done otherwise than its call claims. variant_of gives what is claimed; a hypothesis changes a
// field or two; formula.c computes what that gives. Zero of every enum is "as claimed".
#pragma once

#include "compare/call.h"

typedef enum { OFFSET_CLAIMED, OFFSET_TOP, OFFSET_BOTTOM } variant_offset;
typedef enum { MASK_CLAIMED, MASK_NONE, MASK_INVERTED, MASK_AS_BIAS } variant_mask;
typedef enum { PADDING_CLAIMED, PADDING_NONE, PADDING_OTHER_SIDE, PADDING_ZERO_SCORES } variant_padding;
typedef enum { DOCS_CLAIMED, DOCS_NONE, DOCS_LATE, DOCS_EARLY } variant_docs;    // edges one token late or early
typedef enum { CAP_CLAIMED, CAP_NONE, CAP_BEFORE_SCALE, CAP_AFTER_MASK } variant_cap;
typedef enum { ALIBI_CLAIMED, ALIBI_NONE, ALIBI_SIGN, ALIBI_UNSHIFTED, ALIBI_ABSOLUTE } variant_alibi;
typedef enum { BIAS_CLAIMED, BIAS_TRANSPOSED } variant_bias;
typedef enum { SINK_CLAIMED, SINK_NONE, SINK_SCALED, SINK_FULL_ROWS, SINK_AFTER_SOFTMAX, SINK_IN_VALUE } variant_sink;
typedef enum { SINK_ORDER_CLAIMED, SINK_ORDER_GROUPED, SINK_ORDER_REVERSED } variant_sink_order;
typedef enum { HEADS_CLAIMED, HEADS_TILED, HEADS_PLUS_ONE, HEADS_REVERSED, HEADS_FIRST } variant_heads;
typedef enum { ROLES_CLAIMED, ROLES_QK_SWAPPED, ROLES_KV_SWAPPED } variant_roles;
// STAGES is what plain code in a storage type does, and correct: each operation's result is rounded once.
typedef enum {
    ROUND_CLAIMED, ROUND_SOFTMAX, ROUND_ACCUMULATE, ROUND_SCORES, ROUND_OVERFLOW, ROUND_STAGES
} variant_rounding;
typedef enum { TILE_CLAIMED, TILE_TAIL_DROPPED, TILE_TAIL_ZERO, TILE_NO_RESCALE, TILE_UNWEIGHTED } variant_tile;
typedef enum { LSE_CLAIMED, LSE_BASE2, LSE_NO_SINK } variant_lse;
typedef enum { CACHE_CLAIMED, CACHE_ONE_MORE, CACHE_ONE_LESS, CACHE_STALE_LAST, CACHE_PAGE_ORDER } variant_cache;
typedef enum { DROPOUT_CLAIMED, DROPOUT_NONE, DROPOUT_NOT_RESCALED, DROPOUT_BEFORE_SOFTMAX } variant_dropout;
typedef enum {
    LAYOUT_CLAIMED, LAYOUT_V_TRANSPOSED, LAYOUT_STRIDES_IGNORED,
    LAYOUT_OUT_SEQ_HEAD, LAYOUT_OUT_BATCH_HEAD    // of out, misread by who looks at it: formula_source_row
} variant_layout;
typedef enum {
    GRAD_CLAIMED, GRAD_SINK_MISSING, GRAD_SINK_SIGN, GRAD_DELTA_MISSING, GRAD_GROUP_NOT_SUMMED, GRAD_SCALE_MISSING,
    GRAD_SCALE_TWICE, GRAD_MASK_MISSING, GRAD_SOFTCAP_SLOPE_MISSING
} variant_grad;

typedef struct {
    rope_layout layout;          // ROPE_NONE: q and k are used as they are
    double theta, yarn;
    double concentration;        // power of YaRN's factor on cos and sin: 1 as published, 0 none, 2 twice
    bool partial;                // the first half of the channels only, exponents over that half
    bool inverse;                // turned the other way
    bool q_only;
    int64_t q_shift;             // added to the positions of q
    bool no_offset;              // q stands at its row, not at row + offset
    bool bf16_table;             // cos and sin rounded to bf16
    // What correct code may do too (DIAGNOSIS, "noise floor", 5): results or products rounded to storage, angles in f32.
    bool round_result, round_products, f32_angles;
} variant_rope;

typedef struct {
    // who sees whom
    bool causal;
    int64_t prefix, left, right;      // -1: none, open, open
    int64_t right_shift;              // added to the right edge of causal, prefix and window
    variant_offset offset;            // of masks only
    variant_mask mask;
    variant_padding padding;
    variant_docs docs;
    heed_empty empty;
    bool empty_mean_of_shown;         // with HEED_EMPTY_MEAN: over the keys that everything but padding shows
    // scores
    double scale;
    double sink_factor;               // on sinks
    double exponent_factor;           // on scores after their edits: ln 2 where powers of 2 are taken
    variant_cap cap;
    variant_alibi alibi;
    variant_bias bias;
    double bias_factor;
    // heads and roles
    variant_heads heads;
    variant_roles roles;
    variant_sink sink;
    variant_sink_order sink_order;
    variant_rope rope;
    variant_layout layout;
    variant_cache cache;
    variant_dropout dropout;
    // arithmetic
    variant_rounding rounding;
    variant_tile tile;
    int64_t tile_keys;
    variant_lse lse;
    variant_grad grad;
} variant;

variant variant_of(const call *);

// What correct code may compute for the claim: list[0] is variant_of; with a rotary embedding, also its results or products rounded
// to storage, and its angles in f32. How many.
enum { VARIANTS_CORRECT = 6 };
int variants_correct(const call *, variant list[VARIANTS_CORRECT]);
