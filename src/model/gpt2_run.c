// SPDX-License-Identifier: Apache-2.0
// A pass of GPT-2 over a checked batch: plans of attention, memory, blocks forward, head, blocks backward. What a block
// computes is model/gpt2_block.h.
#include "base/clock.h"
#include "base/dtype.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/philox.h"
#include "model/gpt2_block.h"
#include "nn/attention.h"
#include "nn/embedding.h"
#include "nn/loss.h"

#include <math.h>
#include <string.h>

enum { ATTENTION_SEEDS = 0x61747464 };    // the counter's last word: no place of an activation has it

typedef struct { const heed_plan *plan; int64_t record; } planned;    // record: its place in the list of records

typedef struct {
    model *m;
    const model_batch *batch;
    const gpt2_pass *pass;
    heed_error *error;
    attention_batch attention;
    planned forward, backward;
    size_t workspace_bytes;
    gpt2_work work;
    gpt2_memory memory;
    gpt2_kept kept[];
} run;

// ---- Attention --------------------------------------------------------------------------------------------------------

static heed_status find_plan(run *r, heed_pass pass, planned *plan) {
    const model_batch *b = r->batch;
    bool empty = false;
    for (int64_t i = 0; b->key_range != NULL && i < b->rows; i++) empty |= b->key_range[2 * i] > 0 || b->key_range[2 * i + 1] == 0;
    const heed_problem problem = attention_problem(&r->attention, pass);
    attention_record *found;
    const heed_status status = attention_plans_find(r->m->plans, &problem, r->pass->evaluation, empty, &plan->plan, &found,
                                                    r->error);
    if (status != HEED_OK) return status;
    int64_t count;
    plan->record = found - attention_plans_records(r->m->plans, &count);
    if (heed_workspace_bytes(plan->plan) > r->workspace_bytes) r->workspace_bytes = heed_workspace_bytes(plan->plan);
    return HEED_OK;
}

static void count_call(const run *r, const planned *plan, double began) {
    int64_t count;
    attention_record *record = (attention_record *)(uintptr_t)&attention_plans_records(r->m->plans, &count)[plan->record];
    record->calls++;
    record->seconds += clock_seconds() - began;
}

// The batch as attention of a layer takes it: dropout of each layer is seeded by its own.
static attention_batch batch_of_layer(const run *r, int64_t layer) {
    attention_batch b = r->attention;
    const philox_block words = philox(r->batch->seed, (uint32_t)layer, 0, 0, ATTENTION_SEEDS);
    b.seed = (uint64_t)words.word[1] << 32 | words.word[0];
    return b;
}

static heed_status attend(void *context, int64_t layer, const gpt2_kept *b, heed_error *error) {
    const run *r = context;
    const double began = clock_seconds();
    const attention_batch batch = batch_of_layer(r, layer);
    const heed_status status = attention_forward(r->forward.plan, &batch, b->qkv, b->att, b->lse, r->memory.workspace,
                                                 r->workspace_bytes, error);
    if (status == HEED_OK) count_call(r, &r->forward, began);
    return status;
}

static heed_status attend_backward(void *context, int64_t layer, const gpt2_kept *b, const void *datt, void *dqkv,
                                   heed_error *error) {
    const run *r = context;
    const double began = clock_seconds();
    const attention_batch batch = batch_of_layer(r, layer);
    const heed_status status = attention_backward(r->backward.plan, &batch, b->qkv, b->att, b->lse, datt, dqkv,
                                                  r->memory.workspace, r->workspace_bytes, error);
    if (status == HEED_OK) count_call(r, &r->backward, began);
    return status;
}

// ---- Head -------------------------------------------------------------------------------------------------------------

static void run_loss(run *r) {
    model *m = r->m;
    parameter *tokens = &m->parameters[P_TOKENS];
    head_loss head = {.rows = r->work.tokens, .width = m->config.width, .vocabulary = m->config.vocabulary,
                      .type = m->operands, .x = r->memory.normed, .w = gpt2_weight(tokens), .target = r->batch->target};
    if (r->pass->gradient) {
        head.scale = r->pass->scale;
        head.dx = r->memory.branch;
        head.dw = tokens->grad;
        head.dw_write = m->fresh;
    }
    head_loss_run(&m->engine, &head, r->pass->loss, r->pass->scored, r->memory.head_scratch);
}

// Which token's loss is not finite: the losses of one row of tokens at a time.
static void search_loss(run *r) {
    if (r->pass->origin == NULL || isfinite(*r->pass->loss)) return;
    model *m = r->m;
    for (int64_t t = 0; t < r->work.tokens; t++) {
        double sum = 0;
        int64_t scored = 0;
        const head_loss one = {.rows = 1, .width = m->config.width, .vocabulary = m->config.vocabulary, .type = m->operands,
                               .x = (const char *)r->memory.normed + (size_t)(t * m->config.width) * dtype_bytes(m->operands),
                               .w = gpt2_weight(&m->parameters[P_TOKENS]),
                               .target = r->batch->target + t};
        head_loss_run(&m->engine, &one, &sum, &scored, r->memory.head_scratch);
        if (isfinite(sum)) continue;
        gpt2_search_note(&r->work.search, -1, "loss", false, t, (double)(float)sum);
        return;
    }
}

// ---- Backward ---------------------------------------------------------------------------------------------------------

static heed_status backward_all(run *r) {
    model *m = r->m;
    const gpt2_memory *memory = &r->memory;
    const gpt2_search *search = &r->work.search;
    const int64_t T = r->work.tokens, C = m->config.width;
    if (gpt2_search_in(search, -1, "loss", true, HEED_F32, memory->branch, C)) return HEED_OK;
    const layer_norm norm = gpt2_norm(m, final_parameter(m, 0));
    memset(memory->dx, 0, (size_t)(T * C) * sizeof(float));
    layer_norm_backward(&m->engine, &norm, T, memory->x_last, memory->mean, memory->rstd, memory->branch, memory->dx,
                        final_parameter(m, 0)->grad, final_parameter(m, 1)->grad, !m->fresh, memory->norm_scratch);
    gpt2_search_in(search, -1, "final norm", true, HEED_F32, memory->dx, C);
    for (int64_t i = m->config.layers - 1; i >= 0 && !gpt2_search_ended(search); i--) {
        const gpt2_kept *b = gpt2_kept_of(&r->work, i);
        heed_status status = HEED_OK;    // what the last block kept is still there
        if (memory->recompute && i < m->config.layers - 1) status = gpt2_block_recompute(&r->work, i, b, r->error);
        if (status == HEED_OK) status = gpt2_block_backward(&r->work, i, b, r->error);
        if (status != HEED_OK) return status;
    }
    if (gpt2_search_ended(search)) return HEED_OK;
    gpt2_drop(&r->work, DROP_EMBEDDING, -1, memory->dx, memory->dx);    // forward: x = dropout(tokens + positions)
    parameter *positions = &m->parameters[P_POSITIONS];
    if (m->fresh) memset(positions->grad, 0, (size_t)parameter_count(positions) * sizeof(float));
    embedding_backward(&m->engine, T, C, r->batch->id, r->batch->position, memory->dx, m->parameters[P_TOKENS].grad,
                       positions->grad);
    m->fresh = false;
    return HEED_OK;
}

// ---- The pass ---------------------------------------------------------------------------------------------------------

static heed_status run_pass(run *r) {
    heed_status status = find_plan(r, HEED_FORWARD, &r->forward);
    if (status == HEED_OK && r->pass->gradient) status = find_plan(r, HEED_BACKWARD, &r->backward);
    const gpt2_memory_size size = {r->work.tokens, r->pass->gradient, r->pass->loss != NULL, r->workspace_bytes};
    if (status == HEED_OK) status = gpt2_memory_take(r->m, &r->memory, &size, r->error);
    if (status == HEED_OK) status = gpt2_forward(&r->work, r->batch->id, r->batch->position, r->error);
    if (status != HEED_OK || gpt2_search_ended(&r->work.search)) return status;
    if (r->pass->logits != NULL) {
        const linear_shape head = {r->m->config.width, r->m->config.vocabulary, LINEAR_OUT_IN, .type = r->m->operands};
        linear_forward(&r->m->engine, head, r->work.tokens, r->memory.normed, gpt2_weight(&r->m->parameters[P_TOKENS]), NULL,
                       r->pass->logits);
    }
    if (r->pass->loss == NULL) return HEED_OK;
    run_loss(r);
    search_loss(r);
    return gpt2_search_ended(&r->work.search) || !r->pass->gradient ? HEED_OK : backward_all(r);
}

heed_status gpt2_run(model *m, const model_batch *b, const gpt2_pass *pass, heed_error *error) {
    const model_config *c = &m->config;
    const int64_t n_kept = pass->gradient ? c->layers : 1;
    const double most = fmax(fmax(c->dropout_embedding, c->dropout_attention), c->dropout_residual);
    if (pass->gradient && !philox_can_drop(most))
        return error_set(error, HEED_INVALID, "the model's config drops with probability %g, which leaves nothing to train; "
                         "embd_pdrop, attn_pdrop and resid_pdrop must be below 1", most);
    run *r = memory_take_zeroed(sizeof *r + (size_t)n_kept * sizeof(gpt2_kept));
    if (r == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for the model's pass");
    r->m = m, r->batch = b, r->pass = pass, r->error = error;
    r->attention = (attention_batch){.rows = b->rows, .length = b->length, .heads = c->heads, .channels = c->width / c->heads,
                                     .type = m->operands, .key_range = b->key_range, .document = b->document,
                                     .seen = attention_plans_seen(m->plans)};
    r->memory = (gpt2_memory){.n_kept = n_kept, .kept = r->kept, .recompute = m->recompute};
    r->work = (gpt2_work){.model = m, .tokens = b->rows * b->length, .attention = {r, attend, attend_backward},
                          .search = {b, pass->origin}, .memory = &r->memory};
    if (pass->gradient) {
        r->work.dropout = (gpt2_dropout){c->dropout_embedding, c->dropout_residual, b->seed};
        r->attention.dropout = c->dropout_attention;
        r->memory.drops = c->dropout_residual > 0;
    }
    const heed_status status = run_pass(r);
    memory_free(r);
    return status;
}
