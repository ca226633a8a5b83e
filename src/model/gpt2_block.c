// SPDX-License-Identifier: Apache-2.0
// Forward. Every operation is followed by the search for what is not finite.
#include "model/gpt2_block.h"

#include "nn/activation.h"
#include "nn/dropout.h"
#include "nn/embedding.h"

layer_norm gpt2_norm(const model *m, const parameter *weight) {
    return (layer_norm){m->config.width, m->config.epsilon, weight[0].value, weight[1].value, m->operands};
}

static bool search(const gpt2_work *w, int64_t layer, const char *operation, const float *x, int64_t width) {
    return gpt2_search_in(&w->search, layer, operation, false, HEED_F32, x, width);
}

static bool search_operands(const gpt2_work *w, int64_t layer, const char *operation, const void *x, int64_t width) {
    return gpt2_search_in(&w->search, layer, operation, false, w->model->operands, x, width);
}

const float *gpt2_drop(const gpt2_work *w, gpt2_drop_place place, int64_t layer, const float *x, float *y) {
    const double p = place == DROP_EMBEDDING ? w->dropout.embedding : w->dropout.residual;
    if (p == 0) return x;
    const dropout d = dropout_of(p, w->dropout.seed, layer + 1, (int64_t)place);
    dropout_apply(&w->model->engine, &d, w->tokens, w->model->config.width, x, y);
    return y;
}

// mid = x + proj(attention(qkv(norm_1(x)))), without the last sum
static heed_status forward_attention(const gpt2_work *w, int64_t layer, const float *before, const gpt2_kept *b,
                                     heed_error *error) {
    const model *m = w->model;
    const engine *e = &m->engine;
    const parameter *p = block_parameter(m, layer, 0);
    const int64_t T = w->tokens, C = m->config.width;
    float *branch = w->memory->branch;
    const layer_norm norm1 = gpt2_norm(m, &p[B_NORM1_W]);
    if (before == NULL) layer_norm_forward(e, &norm1, T, b->x, NULL, NULL, b->norm1, b->mean1, b->rstd1);
    else layer_norm_forward(e, &norm1, T, before, branch, b->x, b->norm1, b->mean1, b->rstd1);
    if (search(w, layer, "residual", b->x, C) || search_operands(w, layer, "norm 1", b->norm1, C)) return HEED_OK;
    linear_forward(e, gpt2_from_stream(m, 3 * C), T, b->norm1, gpt2_weight(&p[B_QKV_W]), p[B_QKV_B].value, b->qkv);
    if (search_operands(w, layer, "qkv", b->qkv, 3 * C)) return HEED_OK;
    const heed_status status = w->attention.forward(w->attention.context, layer, b, error);
    if (status != HEED_OK || search_operands(w, layer, "attention", b->att, C)) return status;
    linear_forward(e, gpt2_to_stream(m, C), T, b->att, gpt2_weight(&p[B_PROJ_W]), p[B_PROJ_B].value, branch);
    search(w, layer, "projection", branch, C);
    gpt2_drop(w, DROP_ATTENTION, layer, branch, branch);
    return HEED_OK;
}

// mid = x + branch;  fc = mlp_in(norm_2(mid))
static void forward_mlp_in(const gpt2_work *w, int64_t layer, const gpt2_kept *b) {
    const model *m = w->model;
    const engine *e = &m->engine;
    const parameter *p = block_parameter(m, layer, 0);
    const int64_t T = w->tokens, C = m->config.width, I = m->config.inner;
    const layer_norm norm2 = gpt2_norm(m, &p[B_NORM2_W]);
    layer_norm_forward(e, &norm2, T, b->x, w->memory->branch, b->mid, b->norm2, b->mean2, b->rstd2);
    if (search(w, layer, "residual", b->mid, C) || search_operands(w, layer, "norm 2", b->norm2, C)) return;
    linear_forward(e, gpt2_from_stream(m, I), T, b->norm2, gpt2_weight(&p[B_FC_W]), p[B_FC_B].value, b->fc);
    search_operands(w, layer, "mlp in", b->fc, I);
}

// branch = mlp_out(gelu(fc))
static void forward_mlp_out(const gpt2_work *w, int64_t layer, const gpt2_kept *b) {
    const model *m = w->model;
    const engine *e = &m->engine;
    const parameter *p = block_parameter(m, layer, 0);
    const int64_t T = w->tokens, C = m->config.width, I = m->config.inner;
    float *branch = w->memory->branch;
    void *gelu = w->memory->gelu;
    gelu_forward(e, m->operands, T * I, b->fc, gelu);
    if (search_operands(w, layer, "gelu", gelu, I)) return;
    linear_forward(e, gpt2_to_stream(m, I), T, gelu, gpt2_weight(&p[B_MLP_W]), p[B_MLP_B].value, branch);
    search(w, layer, "mlp out", branch, C);
    gpt2_drop(w, DROP_MLP, layer, branch, branch);
}

// One block. before: mid of the block before it, whose branch is in memory.branch; NULL: kept.x holds the block's input.
static heed_status block_forward(const gpt2_work *w, int64_t layer, const float *before, const gpt2_kept *b, heed_error *error) {
    const heed_status status = forward_attention(w, layer, before, b, error);
    if (status != HEED_OK || gpt2_search_ended(&w->search)) return status;
    forward_mlp_in(w, layer, b);
    if (!gpt2_search_ended(&w->search)) forward_mlp_out(w, layer, b);
    return HEED_OK;
}

heed_status gpt2_block_recompute(const gpt2_work *w, int64_t layer, const gpt2_kept *b, heed_error *error) {
    const heed_status status = forward_attention(w, layer, NULL, b, error);
    if (status == HEED_OK) forward_mlp_in(w, layer, b);
    return status;
}

heed_status gpt2_forward(const gpt2_work *w, const int32_t *id, const int32_t *position, heed_error *error) {
    const model *m = w->model;
    gpt2_memory *memory = w->memory;
    const int64_t T = w->tokens, C = m->config.width;
    float *x = gpt2_kept_of(w, 0)->x;
    embedding_forward(&m->engine, T, C, id, position, m->parameters[P_TOKENS].value, m->parameters[P_POSITIONS].value, x);
    search(w, -1, "embedding", x, C);
    gpt2_drop(w, DROP_EMBEDDING, -1, x, x);
    const float *before = NULL;
    for (int64_t i = 0; i < m->config.layers && !gpt2_search_ended(&w->search); i++) {
        const gpt2_kept *b = gpt2_kept_of(w, i);
        const heed_status status = block_forward(w, i, before, b, error);
        if (status != HEED_OK) return status;
        before = b->mid;
    }
    if (gpt2_search_ended(&w->search)) return HEED_OK;
    const layer_norm norm = gpt2_norm(m, final_parameter(m, 0));
    layer_norm_forward(&m->engine, &norm, T, before, memory->branch, memory->x_last, memory->normed, memory->mean, memory->rstd);
    if (!search(w, -1, "residual", memory->x_last, C)) search_operands(w, -1, "final norm", memory->normed, C);
    return HEED_OK;
}
