// SPDX-License-Identifier: Apache-2.0
#include "nn/attention.h"

#include "base/dtype.h"

// The masks of the layer as one function of the position: what heed is told of them is this question alone.
static bool visible(const heed_mask *mask, heed_pos at) {
    const attention_seen *b = mask->data;
    if (at.key > at.position) return false;
    if (b->key_range != NULL && (at.key < b->key_range[2 * at.batch] || at.key >= b->key_range[2 * at.batch + 1])) return false;
    const int32_t *document = b->document == NULL ? NULL : b->document + at.batch * b->length;
    return document == NULL || document[at.position] == document[at.key];
}
static bool causal(const heed_mask *mask, heed_pos at) { return at.key <= at.position; }

static const heed_mask_kind causal_function = {.name = "causal_function", .visible = causal,
                                               .axes = HEED_AXIS_QUERY | HEED_AXIS_KEY};
static const heed_mask_kind batch_function = {.name = "batch_function", .visible = visible,
                                              .axes = HEED_AXIS_BATCH | HEED_AXIS_QUERY | HEED_AXIS_KEY};

heed_mask attention_causal_function(attention_seen *seen) { return (heed_mask){.kind = &causal_function, .data = seen}; }

heed_problem attention_problem(const attention_batch *b, heed_pass pass) {
    const int64_t C = b->heads * b->channels, D = b->channels;
    const heed_stride fused = {b->length * 3 * C, D, 3 * C}, plain = {b->length * C, D, C};
    heed_problem p = {
        .batch = b->rows, .heads = b->heads, .queries = b->length, .keys = b->length, .channels = D, .pass = pass,
        .dtype = b->type, .dropout = b->dropout,
        .align = HEED_TOP_LEFT,    // the model says where its rows stand: no preset can move them
        .mask = {heed_causal()},
        .q = fused, .k = fused, .v = fused, .out = plain, .dout = plain, .dq = fused, .dk = fused, .dv = fused,
    };
    if (b->seen != NULL) {
        const bool same = b->key_range == NULL && b->document == NULL;    // for every sequence
        p.mask[0] = same ? attention_causal_function(b->seen) : (heed_mask){.kind = &batch_function, .data = b->seen};
        return p;
    }
    if (b->key_range != NULL) p.with |= HEED_KEY_RANGE;
    if (b->document != NULL) p.with |= HEED_DOCUMENTS;
    return p;
}

// The arrays as the problem takes them: with the call, or where its mask function looks.
static void give_masks(const attention_batch *b, heed_args *args) {
    if (b->seen != NULL) {
        *b->seen = (attention_seen){b->length, b->key_range, b->document};
    } else {
        args->key_range = b->key_range;
        args->documents = b->document;
    }
}

// Bytes from q to k, and from k to v, of a token.
static size_t to_next(const attention_batch *b) { return (size_t)(b->heads * b->channels) * dtype_bytes(b->type); }

heed_status attention_forward(const heed_plan *plan, const attention_batch *b, const void *qkv, void *out, float *lse,
                              void *workspace, size_t workspace_bytes, heed_error *error) {
    const size_t skip = to_next(b);
    heed_args args = {
        .q = qkv, .k = (const char *)qkv + skip, .v = (const char *)qkv + 2 * skip, .out = out, .lse = lse,
        .seed = b->seed, .workspace = workspace, .workspace_bytes = workspace_bytes,
    };
    give_masks(b, &args);
    return heed_run(plan, &args, error);
}

heed_status attention_backward(const heed_plan *plan, const attention_batch *b, const void *qkv, const void *out,
                               const float *lse, const void *dout, void *dqkv, void *workspace, size_t workspace_bytes,
                               heed_error *error) {
    const size_t skip = to_next(b);
    heed_args args = {
        .q = qkv, .k = (const char *)qkv + skip, .v = (const char *)qkv + 2 * skip,
        .out = (void *)(uintptr_t)out, .lse = (float *)(uintptr_t)lse, .dout = dout,
        .dq = dqkv, .dk = (char *)dqkv + skip, .dv = (char *)dqkv + 2 * skip,
        .seed = b->seed, .workspace = workspace, .workspace_bytes = workspace_bytes,
    };
    give_masks(b, &args);
    return heed_run(plan, &args, error);
}
