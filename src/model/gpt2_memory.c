// SPDX-License-Identifier: Apache-2.0
#include "model/gpt2_memory.h"

#include "base/dtype.h"
#include "base/error.h"
#include "base/memory.h"
#include "model/model_state.h"
#include "nn/loss.h"
#include "nn/norm.h"

typedef struct { char *at; size_t used; heed_dtype type; } cutter;

static void *cut(cutter *c, size_t bytes) {
    void *p = c->at == NULL ? NULL : c->at + c->used;
    c->used = size_add(c->used, size_align(bytes));
    return p;
}

static float *cut_floats(cutter *c, int64_t a, int64_t b) {
    return cut(c, size_mul(size_mul((size_t)a, (size_t)b), sizeof(float)));
}

static void *cut_operands(cutter *c, int64_t a, int64_t b) {
    return cut(c, size_mul(size_mul((size_t)a, (size_t)b), dtype_bytes(c->type)));
}

// All of a block's but its input.
static void cut_kept(cutter *c, const model_config *config, int64_t T, gpt2_kept *b) {
    const int64_t C = config->width;
    b->norm1 = cut_operands(c, T, C), b->qkv = cut_operands(c, T, 3 * C);
    b->att = cut_operands(c, T, C), b->lse = cut_floats(c, T, config->heads);
    b->mid = cut_floats(c, T, C), b->norm2 = cut_operands(c, T, C), b->fc = cut_operands(c, T, config->inner);
    b->mean1 = cut_floats(c, T, 1), b->rstd1 = cut_floats(c, T, 1);
    b->mean2 = cut_floats(c, T, 1), b->rstd2 = cut_floats(c, T, 1);
}

// Cuts `at` up and returns the bytes it takes. at NULL: only counts.
static size_t lay_out(gpt2_memory *m, const model *of, const gpt2_memory_size *size, void *at) {
    const model_config *config = &of->config;
    const int64_t T = size->tokens, C = config->width, I = config->inner;
    cutter c = {at, 0, of->operands};
    for (int64_t i = 0; i < m->n_kept; i++) {
        if (m->recompute && i > 0) m->kept[i] = m->kept[0];
        else cut_kept(&c, config, T, &m->kept[i]);
        m->kept[i].x = cut_floats(&c, T, C);
    }
    m->x_last = cut_floats(&c, T, C), m->normed = cut_operands(&c, T, C);
    m->mean = cut_floats(&c, T, 1), m->rstd = cut_floats(&c, T, 1);
    m->branch = cut_floats(&c, T, C);
    m->dx = size->gradient ? cut_floats(&c, T, C) : NULL;
    m->dropped = size->gradient && m->drops ? cut_floats(&c, T, C) : NULL;
    m->dy = size->gradient && of->operands == HEED_BF16 ? cut_operands(&c, T, C) : NULL;
    const size_t before = c.used;
    m->head_scratch = cut(&c, size->loss ? head_loss_scratch_bytes(of->operands, T, C, config->vocabulary) : 0);
    const size_t head_end = c.used;
    c.used = before;
    m->gelu = cut_operands(&c, T, I);
    m->wide = size->gradient ? cut_operands(&c, T, int64_max(I, 3 * C)) : NULL;
    m->workspace = cut(&c, size->workspace_bytes);
    m->norm_scratch = cut(&c, layer_norm_scratch_bytes(T, C));
    return c.used > head_end ? c.used : head_end;
}

heed_status gpt2_memory_take(model *m, gpt2_memory *memory, const gpt2_memory_size *size, heed_error *error) {
    const size_t bytes = lay_out(memory, m, size, NULL);
    if (bytes > m->memory_bytes) {
        memory_free(m->memory);    // before the new one: never both at once
        m->memory_bytes = 0;
        m->memory = memory_take(bytes);
        if (m->memory == NULL)
            return error_set(error, HEED_NO_MEMORY, "no memory for a pass over %lld tokens (%.1f GB)", (long long)size->tokens,
                             1e-9 * (double)bytes);
        m->memory_bytes = bytes;
    }
    lay_out(memory, m, size, m->memory);
    return HEED_OK;
}
