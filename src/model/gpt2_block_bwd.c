// SPDX-License-Identifier: Apache-2.0
// The lines of gpt2_block.c from the last to the first; gelu is computed again rather than kept.
#include "model/gpt2_block.h"

#include "nn/activation.h"

static bool search(const gpt2_work *w, int64_t layer, const char *operation, const float *x, int64_t width) {
    return gpt2_search_in(&w->search, layer, operation, true, HEED_F32, x, width);
}

static bool search_operands(const gpt2_work *w, int64_t layer, const char *operation, const void *x, int64_t width) {
    return gpt2_search_in(&w->search, layer, operation, true, w->model->operands, x, width);
}

// The gradient of a branch before its dropout, as products take it.
// forward: x' = mid + dropout(branch)      so:  dbranch = dropout(dx)
static const void *branch_gradient(const gpt2_work *w, gpt2_drop_place place, int64_t layer) {
    const gpt2_memory *memory = w->memory;
    const float *dx = gpt2_drop(w, place, layer, memory->dx, memory->dropped);
    if (memory->dy == NULL) return dx;
    round_to_bf16(&w->model->engine, w->tokens * w->model->config.width, dx, memory->dy);
    return memory->dy;
}

static void backward_mlp(const gpt2_work *w, int64_t layer, const gpt2_kept *b) {
    const model *m = w->model;
    const engine *e = &m->engine;
    const parameter *p = block_parameter(m, layer, 0);
    const int64_t T = w->tokens, C = m->config.width, I = m->config.inner;
    float *dx = w->memory->dx, *branch = w->memory->branch;
    void *wide = w->memory->wide, *gelu = w->memory->gelu;
    const bool add = !m->fresh;
    const linear_shape in = gpt2_from_stream(m, I), out = gpt2_to_stream(m, I);
    // forward: x' = mid + out(gelu(in(norm_2(mid))))
    const void *dy = branch_gradient(w, DROP_MLP, layer);
    linear_dx(e, out, T, dy, gpt2_weight(&p[B_MLP_W]), wide);
    if (search_operands(w, layer, "mlp out", wide, I)) return;
    gelu_backward(e, m->operands, T * I, b->fc, wide, wide, gelu);
    linear_dw(e, out, T, gelu, dy, p[B_MLP_W].grad, p[B_MLP_B].grad, add);
    if (search_operands(w, layer, "gelu", wide, I)) return;
    linear_dx(e, in, T, wide, gpt2_weight(&p[B_FC_W]), branch);
    linear_dw(e, in, T, b->norm2, wide, p[B_FC_W].grad, p[B_FC_B].grad, add);
    if (search(w, layer, "mlp in", branch, C)) return;
    const layer_norm norm2 = gpt2_norm(m, &p[B_NORM2_W]);
    layer_norm_backward(e, &norm2, T, b->mid, b->mean2, b->rstd2, branch, dx, p[B_NORM2_W].grad, p[B_NORM2_B].grad, add,
                        w->memory->norm_scratch);
    search(w, layer, "norm 2", dx, C);
}

static heed_status backward_attention(const gpt2_work *w, int64_t layer, const gpt2_kept *b, heed_error *error) {
    const model *m = w->model;
    const engine *e = &m->engine;
    const parameter *p = block_parameter(m, layer, 0);
    const int64_t T = w->tokens, C = m->config.width;
    float *dx = w->memory->dx, *branch = w->memory->branch;
    void *wide = w->memory->wide, *datt = branch;
    const bool add = !m->fresh;
    const linear_shape proj = gpt2_to_stream(m, C), qkv = gpt2_from_stream(m, 3 * C);
    // forward: mid = x + proj(attention(qkv(norm_1(x))))
    const void *dy = branch_gradient(w, DROP_ATTENTION, layer);
    linear_dx(e, proj, T, dy, gpt2_weight(&p[B_PROJ_W]), datt);
    linear_dw(e, proj, T, b->att, dy, p[B_PROJ_W].grad, p[B_PROJ_B].grad, add);
    if (search_operands(w, layer, "projection", datt, C)) return HEED_OK;
    const heed_status status = w->attention.backward(w->attention.context, layer, b, datt, wide, error);
    if (status != HEED_OK || search_operands(w, layer, "attention", wide, 3 * C)) return status;
    linear_dx(e, qkv, T, wide, gpt2_weight(&p[B_QKV_W]), branch);
    linear_dw(e, qkv, T, b->norm1, wide, p[B_QKV_W].grad, p[B_QKV_B].grad, add);
    if (search(w, layer, "qkv", branch, C)) return HEED_OK;
    const layer_norm norm1 = gpt2_norm(m, &p[B_NORM1_W]);
    layer_norm_backward(e, &norm1, T, b->x, b->mean1, b->rstd1, branch, dx, p[B_NORM1_W].grad, p[B_NORM1_B].grad, add,
                        w->memory->norm_scratch);
    search(w, layer, "norm 1", dx, C);
    return HEED_OK;
}

heed_status gpt2_block_backward(const gpt2_work *w, int64_t layer, const gpt2_kept *b, heed_error *error) {
    backward_mlp(w, layer, b);
    return gpt2_search_ended(&w->search) ? HEED_OK : backward_attention(w, layer, b, error);
}
