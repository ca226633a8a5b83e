// SPDX-License-Identifier: Apache-2.0
// GPT-2 over new tokens only: the recipe of model/gpt2_block.h, whose attention step appends keys and values to the cache and
// lets the new queries meet all of them. One problem serves every step of a row's life: keys are the cache's capacity, their
// count comes at run time, and the last query stands at the last key.
#include "base/clock.h"
#include "base/dtype.h"
#include "base/error.h"
#include "base/memory.h"
#include "model/gpt2_block.h"
#include "model/kv_cache.h"
#include "nn/linear.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    model *m;
    kv_cache *cache;
    const model_tokens *new;
    const heed_plan *plan;
    attention_record *record;
    size_t workspace_bytes;
    int32_t *key_count, *position;    // (rows); (rows, length)
    gpt2_memory memory;
    gpt2_kept kept;
} extension;

static heed_problem problem_of(const extension *x) {
    const kv_cache *c = x->cache;
    const int64_t D = c->channels, C = c->heads * D, n = x->new->length, cap = c->capacity;
    const heed_stride q = {n * 3 * C, D, 3 * C}, kv = {c->heads * cap * D, cap * D, D}, out = {n * C, D, C};
    attention_seen *seen = attention_plans_seen(x->m->plans);
    return (heed_problem){
        .batch = x->new->rows, .heads = c->heads, .queries = n, .keys = cap, .channels = D, .dtype = c->type,
        .with = HEED_KEY_COUNT, .align = HEED_BOTTOM_RIGHT,
        .mask = {seen != NULL ? attention_causal_function(seen) : heed_causal()}, .q = q, .k = kv, .v = kv, .out = out,
    };
}

// The new tokens' keys and values go behind those that are there.
static void append(const extension *x, int64_t layer, const char *qkv) {
    const kv_cache *c = x->cache;
    const int64_t heads = c->heads, n = x->new->length;
    const size_t D = (size_t)c->channels * dtype_bytes(c->type), C = (size_t)heads * D;    // bytes of a head, of a token
    for (int64_t r = 0; r < x->new->rows; r++) {
        const int64_t row = x->new->first_row + r;
        const size_t old = (size_t)c->length[row] * D;
        for (int64_t h = 0; h < heads; h++) {
            char *k = (char *)kv_cache_at(c, layer, 0, row, h) + old, *v = (char *)kv_cache_at(c, layer, 1, row, h) + old;
            const char *token = qkv + (size_t)(r * n) * 3 * C + (size_t)h * D;
            for (int64_t i = 0; i < n; i++, k += D, v += D, token += 3 * C) {
                memcpy(k, token + C, D);
                memcpy(v, token + 2 * C, D);
            }
        }
    }
}

static heed_status attend(void *context, int64_t layer, const gpt2_kept *b, heed_error *error) {
    const extension *x = context;
    const double began = clock_seconds();
    append(x, layer, b->qkv);
    const heed_args args = {
        .q = b->qkv, .k = kv_cache_at(x->cache, layer, 0, x->new->first_row, 0),
        .v = kv_cache_at(x->cache, layer, 1, x->new->first_row, 0), .out = b->att, .key_count = x->key_count,
        .workspace = x->memory.workspace, .workspace_bytes = x->workspace_bytes,
    };
    const heed_status status = heed_run(x->plan, &args, error);
    x->record->calls++;
    x->record->seconds += clock_seconds() - began;
    return status;
}

// Of all new tokens, or of each row's last.
static void head(const extension *x, float *logits) {
    const model *m = x->m;
    const int64_t C = m->config.width, n = x->new->length;
    const linear_shape shape = {C, m->config.vocabulary, LINEAR_OUT_IN, .type = m->operands};
    const size_t token = (size_t)C * dtype_bytes(m->operands);
    int64_t rows = x->new->rows * n;
    char *normed = x->memory.normed;
    if (!x->new->every) {
        rows = x->new->rows;
        for (int64_t r = 0; r < rows; r++) memmove(normed + (size_t)r * token, normed + (size_t)(r * n + n - 1) * token, token);
    }
    linear_forward(&m->engine, shape, rows, normed, gpt2_weight(&m->parameters[P_TOKENS]), NULL, logits);
}

static heed_status run_pass(extension *x, float *logits, heed_error *error) {
    model *m = x->m;
    const heed_problem problem = problem_of(x);
    heed_status status = attention_plans_find(m->plans, &problem, true, false, &x->plan, &x->record, error);
    if (status != HEED_OK) return status;
    x->workspace_bytes = heed_workspace_bytes(x->plan);
    const gpt2_memory_size size = {x->new->rows * x->new->length, false, false, x->workspace_bytes};
    x->memory.n_kept = 1, x->memory.kept = &x->kept;
    status = gpt2_memory_take(m, &x->memory, &size, error);
    const gpt2_work work = {.model = m, .tokens = size.tokens, .attention = {x, attend, NULL}, .memory = &x->memory};
    if (status == HEED_OK) status = gpt2_forward(&work, x->new->id, x->position, error);
    if (status == HEED_OK && logits != NULL) head(x, logits);
    return status;
}

static heed_status check(const model *m, const kv_cache *c, const model_tokens *t, heed_error *error) {
    int64_t tokens;
    if (c->type != m->operands)
        return error_set(error, HEED_INVALID, "the cache holds %s, the model's precision is %s; they must be the same",
                         dtype_name(c->type), dtype_name(m->operands));
    if (t->rows < 1 || t->length < 1 || !int64_mul(t->rows, t->length, &tokens) || tokens > INT32_MAX)
        return error_set(error, HEED_INVALID, "%lld rows x %lld new tokens; both must be at least 1 and their product below 2^31",
                         (long long)t->rows, (long long)t->length);
    if (t->first_row < 0 || t->rows > c->rows || t->first_row > c->rows - t->rows)
        return error_set(error, HEED_INVALID, "rows %lld to %lld are extended; the cache has rows 0 to %lld",
                         (long long)t->first_row, (long long)(t->first_row + t->rows - 1), (long long)c->rows - 1);
    for (int64_t r = t->first_row; r < t->first_row + t->rows; r++) {
        if (t->length > c->capacity - c->length[r])
            return error_set(error, HEED_INVALID, "row %lld has %d tokens and gets %lld more; its cache holds %lld%s", (long long)r,
                             c->length[r], (long long)t->length, (long long)c->capacity,
                             c->capacity == m->config.positions ? ", which are all the model's positions" : "");
    }
    for (int64_t i = 0; i < tokens; i++) {
        if (t->id[i] < 0 || t->id[i] >= m->config.vocabulary)
            return error_set(error, HEED_INVALID, "token id at row %lld, new token %lld is %d; allowed are 0 to %lld",
                             (long long)(i / t->length), (long long)(i % t->length), t->id[i], (long long)m->config.vocabulary - 1);
    }
    return HEED_OK;
}

heed_status model_extend(model *m, kv_cache *c, const model_tokens *t, float *logits, heed_error *error) {
    heed_status status = check(m, c, t, error);
    if (status != HEED_OK) return status;
    extension x = {.m = m, .cache = c, .new = t};
    x.key_count = calloc((size_t)t->rows, sizeof *x.key_count);
    x.position = calloc((size_t)(t->rows * t->length), sizeof *x.position);
    if (x.key_count == NULL || x.position == NULL) status = error_set(error, HEED_NO_MEMORY, "no memory for the model's pass");
    for (int64_t r = 0; r < t->rows && status == HEED_OK; r++) {
        const int32_t old = c->length[t->first_row + r];
        x.key_count[r] = old + (int32_t)t->length;
        for (int64_t i = 0; i < t->length; i++) x.position[r * t->length + i] = old + (int32_t)i;
    }
    if (status == HEED_OK) status = run_pass(&x, logits, error);
    for (int64_t r = 0; r < t->rows && status == HEED_OK; r++) c->length[t->first_row + r] = x.key_count[r];
    free(x.key_count);
    free(x.position);
    return status;
}
