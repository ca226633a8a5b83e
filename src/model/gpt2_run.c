// SPDX-License-Identifier: Apache-2.0
// GPT-2 forward and backward over a batch. With x the residual stream, block l is
//     mid = x + proj(attention(qkv(norm_1(x))))
//     x'  = mid + mlp_out(gelu(mlp_in(norm_2(mid))))
// and the head is the token embedding again: logits = norm_f(x') . wte^T.
// Backward runs the same lines from the last to the first; gelu is computed again there rather than kept.
#include "model/model_state.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "nn/activation.h"
#include "nn/attention.h"
#include "nn/embedding.h"
#include "nn/linear.h"
#include "nn/loss.h"
#include "nn/norm.h"

#include <math.h>
#include <string.h>

// Kept of each block from forward for backward; a forward-only pass has one of these for all blocks.
typedef struct { float *x, *norm1, *qkv, *att, *lse, *mid, *norm2, *fc, *mean1, *rstd1, *mean2, *rstd2; } block_memory;

typedef struct {
    model *m;
    const model_batch *batch;
    const gpt2_pass *pass;
    heed_error *error;
    int64_t T, C, I;                            // tokens of the batch, width, inner width
    attention_batch attention;
    const heed_plan *forward, *backward;
    int64_t forward_record, backward_record;    // in the list of records
    size_t workspace_bytes;

    char *at;                                   // cutting up m->memory; NULL counts only
    size_t used;
    int64_t blocks;                             // block_memory in use: layers, or 1
    float *x_last, *normed, *mean, *rstd;       // after the blocks
    float *dx, *small;                          // (T, C): gradient of the residual stream; a branch's output or gradient
    char *shared;                               // head scratch, or: wide, gelu, attention workspace and norm scratch
    float *wide, *gelu;                         // (T, inner) each
    void *workspace, *norm_scratch;
    block_memory block[];
} run;

// ---- Memory ---------------------------------------------------------------------------------------------------------

static void *cut(run *r, size_t bytes) {
    void *p = r->at == NULL ? NULL : r->at + r->used;
    r->used = size_add(r->used, size_align(bytes));
    return p;
}

static float *cut_floats(run *r, int64_t a, int64_t b) {
    return cut(r, size_mul(size_mul((size_t)a, (size_t)b), sizeof(float)));
}

static void lay_out(run *r) {
    const int64_t T = r->T, C = r->C, I = r->I;
    const model_config *c = &r->m->config;
    r->used = 0;
    for (int64_t i = 0; i < r->blocks; i++) {
        block_memory *b = &r->block[i];
        b->x = cut_floats(r, T, C), b->norm1 = cut_floats(r, T, C), b->qkv = cut_floats(r, T, 3 * C);
        b->att = cut_floats(r, T, C), b->lse = cut_floats(r, T, c->heads);
        b->mid = cut_floats(r, T, C), b->norm2 = cut_floats(r, T, C), b->fc = cut_floats(r, T, I);
        b->mean1 = cut_floats(r, T, 1), b->rstd1 = cut_floats(r, T, 1);
        b->mean2 = cut_floats(r, T, 1), b->rstd2 = cut_floats(r, T, 1);
    }
    r->x_last = cut_floats(r, T, C), r->normed = cut_floats(r, T, C), r->mean = cut_floats(r, T, 1), r->rstd = cut_floats(r, T, 1);
    r->small = cut_floats(r, T, C);
    r->dx = r->pass->gradient ? cut_floats(r, T, C) : NULL;
    const size_t before = r->used;
    r->shared = cut(r, r->pass->loss == NULL ? 0 : head_loss_scratch_bytes(T, C, c->vocabulary));
    const size_t head_end = r->used;
    r->used = before;
    r->gelu = cut_floats(r, T, I);
    r->wide = r->pass->gradient ? cut_floats(r, T, int64_max(I, 3 * C)) : NULL;
    r->workspace = cut(r, r->workspace_bytes);
    r->norm_scratch = cut(r, layer_norm_scratch_bytes(T, C));
    if (r->used < head_end) r->used = head_end;
}

static heed_status take_memory(run *r) {
    model *m = r->m;
    r->at = NULL;
    lay_out(r);
    if (r->used > m->memory_bytes) {
        memory_free(m->memory);    // before the new one: never both at once
        m->memory_bytes = 0;
        m->memory = memory_take(r->used);
        if (m->memory == NULL)
            return error_set(r->error, HEED_NO_MEMORY, "no memory for a batch of %lld x %lld tokens (%.1f GB)",
                             (long long)r->batch->rows, (long long)r->batch->length, 1e-9 * (double)r->used);
        m->memory_bytes = r->used;
    }
    r->at = m->memory;
    lay_out(r);
    return HEED_OK;
}

// ---- The search for the first non-finite value ------------------------------------------------------------------------

static bool sees_a_key(const model_batch *b, int64_t row, int64_t position) {
    const int64_t first = b->key_range == NULL ? 0 : b->key_range[2 * row];
    const int64_t end = b->key_range == NULL ? b->length : b->key_range[2 * row + 1];
    for (int64_t key = first; key <= position && key < end; key++) {
        const int32_t *document = b->document == NULL ? NULL : b->document + row * b->length;
        if (document == NULL || document[key] == document[position]) return true;
    }
    return false;
}

// Searches the result of an operation when the pass is a search; true: found, the pass ends.
static bool search(run *r, int64_t layer, const char *operation, bool backward, const float *x, int64_t width) {
    nan_origin *o = r->pass->origin;
    if (o == NULL) return false;
    for (int64_t i = 0; i < r->T * width; i++) {
        if (isfinite(x[i])) continue;
        const int64_t token = i / width;
        o->found = true;
        o->backward = backward;
        o->layer = layer;
        o->operation = operation;
        o->row = token / r->batch->length;
        o->position = token % r->batch->length;
        o->value = (double)x[i];
        o->no_visible_key = !sees_a_key(r->batch, o->row, o->position);
        return true;
    }
    return false;
}

// ---- Forward ----------------------------------------------------------------------------------------------------------

static heed_status find_plan(run *r, heed_pass pass, const heed_plan **plan, int64_t *record) {
    const model_batch *b = r->batch;
    bool empty = false;
    for (int64_t i = 0; b->key_range != NULL && i < b->rows; i++) empty |= b->key_range[2 * i] > 0 || b->key_range[2 * i + 1] == 0;
    const heed_problem problem = attention_problem(&r->attention, pass);
    attention_record *found;
    const heed_status status = attention_plans_find(r->m->plans, &problem, r->pass->evaluation, empty, plan, &found, r->error);
    if (status != HEED_OK) return status;
    int64_t count;
    *record = found - attention_plans_records(r->m->plans, &count);
    if (heed_workspace_bytes(*plan) > r->workspace_bytes) r->workspace_bytes = heed_workspace_bytes(*plan);
    return HEED_OK;
}

static void count_call(run *r, int64_t at, double began) {
    int64_t count;
    attention_record *record = (attention_record *)(uintptr_t)&attention_plans_records(r->m->plans, &count)[at];
    record->calls++;
    record->seconds += clock_seconds() - began;
}

static layer_norm norm_of(const model *m, const parameter *weight) {
    return (layer_norm){m->config.width, m->config.epsilon, weight[0].value, weight[1].value};    // the bias follows its weight
}

// *found: the search ended here.
static heed_status forward_block(run *r, int64_t layer, const block_memory *b, bool *found) {
    model *m = r->m;
    const engine *e = &m->engine;
    const parameter *p = block_parameter(m, layer, 0);
    const int64_t T = r->T, C = r->C, I = r->I;
    const layer_norm norm1 = norm_of(m, &p[B_NORM1_W]), norm2 = norm_of(m, &p[B_NORM2_W]);
    *found = true;
    if (layer == 0) layer_norm_forward(e, &norm1, T, b->x, NULL, NULL, b->norm1, b->mean1, b->rstd1);
    else layer_norm_forward(e, &norm1, T, b[r->blocks == 1 ? 0 : -1].mid, r->small, b->x, b->norm1, b->mean1, b->rstd1);
    if (search(r, layer, "residual", false, b->x, C) || search(r, layer, "norm 1", false, b->norm1, C)) return HEED_OK;
    linear_forward(e, (linear_shape){C, 3 * C, LINEAR_IN_OUT}, T, b->norm1, p[B_QKV_W].value, p[B_QKV_B].value, b->qkv);
    if (search(r, layer, "qkv", false, b->qkv, 3 * C)) return HEED_OK;
    const double began = clock_seconds();
    const heed_status status = attention_forward(r->forward, &r->attention, b->qkv, b->att, b->lse, r->workspace,
                                                 r->workspace_bytes, r->error);
    if (status != HEED_OK) return status;
    count_call(r, r->forward_record, began);
    if (search(r, layer, "attention", false, b->att, C)) return HEED_OK;
    linear_forward(e, (linear_shape){C, C, LINEAR_IN_OUT}, T, b->att, p[B_PROJ_W].value, p[B_PROJ_B].value, r->small);
    if (search(r, layer, "projection", false, r->small, C)) return HEED_OK;
    layer_norm_forward(e, &norm2, T, b->x, r->small, b->mid, b->norm2, b->mean2, b->rstd2);
    if (search(r, layer, "residual", false, b->mid, C) || search(r, layer, "norm 2", false, b->norm2, C)) return HEED_OK;
    linear_forward(e, (linear_shape){C, I, LINEAR_IN_OUT}, T, b->norm2, p[B_FC_W].value, p[B_FC_B].value, b->fc);
    if (search(r, layer, "mlp in", false, b->fc, I)) return HEED_OK;
    gelu_forward(e, T * I, b->fc, r->gelu);
    if (search(r, layer, "gelu", false, r->gelu, I)) return HEED_OK;
    linear_forward(e, (linear_shape){I, C, LINEAR_IN_OUT}, T, r->gelu, p[B_MLP_W].value, p[B_MLP_B].value, r->small);
    *found = search(r, layer, "mlp out", false, r->small, C);
    return HEED_OK;
}

static heed_status forward_all(run *r, bool *found) {
    model *m = r->m;
    const engine *e = &m->engine;
    embedding_forward(e, r->T, r->C, r->batch->id, r->batch->position, m->parameters[P_TOKENS].value,
                      m->parameters[P_POSITIONS].value, r->block[0].x);
    *found = search(r, -1, "embedding", false, r->block[0].x, r->C);
    for (int64_t i = 0; i < m->config.layers && !*found; i++) {
        const heed_status status = forward_block(r, i, &r->block[r->blocks == 1 ? 0 : i], found);
        if (status != HEED_OK) return status;
    }
    if (*found) return HEED_OK;
    const layer_norm norm = norm_of(m, final_parameter(m, 0));
    layer_norm_forward(e, &norm, r->T, r->block[r->blocks - 1].mid, r->small, r->x_last, r->normed, r->mean, r->rstd);
    *found = search(r, -1, "residual", false, r->x_last, r->C) || search(r, -1, "final norm", false, r->normed, r->C);
    return HEED_OK;
}

// ---- Head -------------------------------------------------------------------------------------------------------------

static void run_loss(run *r) {
    model *m = r->m;
    parameter *tokens = &m->parameters[P_TOKENS];
    head_loss head = {.rows = r->T, .width = r->C, .vocabulary = m->config.vocabulary, .x = r->normed, .w = tokens->value,
                      .target = r->batch->target};
    if (r->pass->gradient) {
        head.scale = r->pass->scale;
        head.dx = r->small;
        head.dw = tokens->grad;
        head.dw_write = m->fresh;
    }
    head_loss_run(&m->engine, &head, r->pass->loss, r->pass->scored, r->shared);
}

// Which token's loss is not finite: the losses of one row of tokens at a time.
static bool search_loss(run *r) {
    if (r->pass->origin == NULL || isfinite(*r->pass->loss)) return false;
    model *m = r->m;
    for (int64_t t = 0; t < r->T; t++) {
        double sum = 0;
        int64_t scored = 0;
        const head_loss one = {.rows = 1, .width = r->C, .vocabulary = m->config.vocabulary, .x = r->normed + t * r->C,
                               .w = m->parameters[P_TOKENS].value, .target = r->batch->target + t};
        head_loss_run(&m->engine, &one, &sum, &scored, r->shared);
        const float value = (float)sum;
        if (isfinite(sum)) continue;
        nan_origin *o = r->pass->origin;
        *o = (nan_origin){.found = true, .layer = -1, .operation = "loss", .row = t / r->batch->length,
                          .position = t % r->batch->length, .value = (double)value,
                          .no_visible_key = !sees_a_key(r->batch, t / r->batch->length, t % r->batch->length)};
        return true;
    }
    return false;
}

// ---- Backward ---------------------------------------------------------------------------------------------------------

static heed_status backward_attention(run *r, int64_t layer, const block_memory *b, bool *found) {
    model *m = r->m;
    const engine *e = &m->engine;
    const parameter *p = block_parameter(m, layer, 0);
    const int64_t T = r->T, C = r->C;
    const bool add = !m->fresh;
    const linear_shape proj = {C, C, LINEAR_IN_OUT}, qkv = {C, 3 * C, LINEAR_IN_OUT};
    // forward: mid = x + proj(attention(qkv(norm_1(x))))
    linear_dx(e, proj, T, r->dx, p[B_PROJ_W].value, r->small);
    linear_dw(e, proj, T, b->att, r->dx, p[B_PROJ_W].grad, p[B_PROJ_B].grad, add);
    if ((*found = search(r, layer, "projection", true, r->small, C))) return HEED_OK;
    const double began = clock_seconds();
    const heed_status status = attention_backward(r->backward, &r->attention, b->qkv, b->att, b->lse, r->small, r->wide,
                                                  r->workspace, r->workspace_bytes, r->error);
    if (status != HEED_OK) return status;
    count_call(r, r->backward_record, began);
    if ((*found = search(r, layer, "attention", true, r->wide, 3 * C))) return HEED_OK;
    linear_dx(e, qkv, T, r->wide, p[B_QKV_W].value, r->small);
    linear_dw(e, qkv, T, b->norm1, r->wide, p[B_QKV_W].grad, p[B_QKV_B].grad, add);
    if ((*found = search(r, layer, "qkv", true, r->small, C))) return HEED_OK;
    const layer_norm norm1 = norm_of(m, &p[B_NORM1_W]);
    layer_norm_backward(e, &norm1, T, b->x, b->mean1, b->rstd1, r->small, r->dx, p[B_NORM1_W].grad, p[B_NORM1_B].grad, add,
                        r->norm_scratch);
    *found = search(r, layer, "norm 1", true, r->dx, C);
    return HEED_OK;
}

static bool backward_mlp(run *r, int64_t layer, const block_memory *b) {
    model *m = r->m;
    const engine *e = &m->engine;
    const parameter *p = block_parameter(m, layer, 0);
    const int64_t T = r->T, C = r->C, I = r->I;
    const bool add = !m->fresh;
    const linear_shape in = {C, I, LINEAR_IN_OUT}, out = {I, C, LINEAR_IN_OUT};
    // forward: x' = mid + out(gelu(in(norm_2(mid))))
    linear_dx(e, out, T, r->dx, p[B_MLP_W].value, r->wide);
    if (search(r, layer, "mlp out", true, r->wide, I)) return true;
    gelu_backward(e, T * I, b->fc, r->wide, r->wide, r->gelu);
    linear_dw(e, out, T, r->gelu, r->dx, p[B_MLP_W].grad, p[B_MLP_B].grad, add);
    if (search(r, layer, "gelu", true, r->wide, I)) return true;
    linear_dx(e, in, T, r->wide, p[B_FC_W].value, r->small);
    linear_dw(e, in, T, b->norm2, r->wide, p[B_FC_W].grad, p[B_FC_B].grad, add);
    if (search(r, layer, "mlp in", true, r->small, C)) return true;
    const layer_norm norm2 = norm_of(m, &p[B_NORM2_W]);
    layer_norm_backward(e, &norm2, T, b->mid, b->mean2, b->rstd2, r->small, r->dx, p[B_NORM2_W].grad, p[B_NORM2_B].grad, add,
                        r->norm_scratch);
    return search(r, layer, "norm 2", true, r->dx, C);
}

static heed_status backward_all(run *r, bool *found) {
    model *m = r->m;
    const engine *e = &m->engine;
    *found = search(r, -1, "loss", true, r->small, r->C);
    if (*found) return HEED_OK;
    const layer_norm norm = norm_of(m, final_parameter(m, 0));
    memset(r->dx, 0, (size_t)(r->T * r->C) * sizeof(float));
    layer_norm_backward(e, &norm, r->T, r->x_last, r->mean, r->rstd, r->small, r->dx, final_parameter(m, 0)->grad,
                        final_parameter(m, 1)->grad, !m->fresh, r->norm_scratch);
    *found = search(r, -1, "final norm", true, r->dx, r->C);
    for (int64_t i = m->config.layers - 1; i >= 0 && !*found; i--) {
        *found = backward_mlp(r, i, &r->block[i]);
        if (*found) break;
        const heed_status status = backward_attention(r, i, &r->block[i], found);
        if (status != HEED_OK) return status;
    }
    if (*found) return HEED_OK;
    parameter *positions = &m->parameters[P_POSITIONS];
    if (m->fresh) memset(positions->grad, 0, (size_t)parameter_count(positions) * sizeof(float));
    embedding_backward(e, r->T, r->C, r->batch->id, r->batch->position, r->dx, m->parameters[P_TOKENS].grad, positions->grad);
    m->fresh = false;
    return HEED_OK;
}

// ---- The pass ---------------------------------------------------------------------------------------------------------

static heed_status run_pass(run *r) {
    heed_status status = find_plan(r, HEED_FORWARD, &r->forward, &r->forward_record);
    if (status == HEED_OK && r->pass->gradient) status = find_plan(r, HEED_BACKWARD, &r->backward, &r->backward_record);
    if (status == HEED_OK) status = take_memory(r);
    if (status != HEED_OK) return status;
    bool found;
    status = forward_all(r, &found);
    if (status != HEED_OK || found) return status;
    if (r->pass->logits != NULL) {
        const linear_shape head = {r->C, r->m->config.vocabulary, LINEAR_OUT_IN};
        linear_forward(&r->m->engine, head, r->T, r->normed, r->m->parameters[P_TOKENS].value, NULL, r->pass->logits);
    }
    if (r->pass->loss == NULL) return HEED_OK;
    run_loss(r);
    if (search_loss(r) || !r->pass->gradient) return HEED_OK;
    return backward_all(r, &found);
}

heed_status gpt2_run(model *m, const model_batch *b, const gpt2_pass *pass, heed_error *error) {
    const model_config *c = &m->config;
    const int64_t blocks = pass->gradient ? c->layers : 1;
    run *r = memory_take_zeroed(sizeof *r + (size_t)blocks * sizeof(block_memory));
    if (r == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for the model's pass");
    r->m = m, r->batch = b, r->pass = pass, r->error = error;
    r->T = b->rows * b->length, r->C = c->width, r->I = c->inner, r->blocks = blocks;
    r->attention = (attention_batch){.rows = b->rows, .length = b->length, .heads = c->heads, .channels = c->width / c->heads,
                                     .key_range = b->key_range, .document = b->document};
    const heed_status status = run_pass(r);
    memory_free(r);
    return status;
}
