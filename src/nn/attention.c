// SPDX-License-Identifier: Apache-2.0
#include "nn/attention.h"

heed_problem attention_problem(const attention_batch *b, heed_pass pass) {
    const int64_t C = b->heads * b->channels, D = b->channels;
    const heed_stride fused = {b->length * 3 * C, D, 3 * C}, plain = {b->length * C, D, C};
    heed_problem p = {
        .batch = b->rows, .heads = b->heads, .queries = b->length, .keys = b->length, .channels = D, .pass = pass,
        .align = HEED_TOP_LEFT,    // the model says where its rows stand: no preset can move them
        .mask = {heed_causal()},
        .q = fused, .k = fused, .v = fused, .out = plain, .dout = plain, .dq = fused, .dk = fused, .dv = fused,
    };
    if (b->key_range != NULL) p.with |= HEED_KEY_RANGE;
    if (b->document != NULL) p.with |= HEED_DOCUMENTS;
    return p;
}

heed_status attention_forward(const heed_plan *plan, const attention_batch *b, const float *qkv, float *out, float *lse,
                              void *workspace, size_t workspace_bytes, heed_error *error) {
    const int64_t C = b->heads * b->channels;
    const heed_args args = {
        .q = qkv, .k = qkv + C, .v = qkv + 2 * C, .out = out, .lse = lse, .key_range = b->key_range, .documents = b->document,
        .workspace = workspace, .workspace_bytes = workspace_bytes,
    };
    return heed_run(plan, &args, error);
}

heed_status attention_backward(const heed_plan *plan, const attention_batch *b, const float *qkv, const float *out,
                               const float *lse, const float *dout, float *dqkv, void *workspace, size_t workspace_bytes,
                               heed_error *error) {
    const int64_t C = b->heads * b->channels;
    const heed_args args = {
        .q = qkv, .k = qkv + C, .v = qkv + 2 * C, .out = (float *)(uintptr_t)out, .lse = (float *)(uintptr_t)lse, .dout = dout,
        .dq = dqkv, .dk = dqkv + C, .dv = dqkv + 2 * C, .key_range = b->key_range, .documents = b->document,
        .workspace = workspace, .workspace_bytes = workspace_bytes,
    };
    return heed_run(plan, &args, error);
}
