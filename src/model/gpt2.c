// SPDX-License-Identifier: Apache-2.0
// GPT-2 (Radford et al. 2019): which parameters it has, what they are called, and how they begin.
#include "model/model_state.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/random.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct { const char *name; int64_t layers, heads, width, positions; } sizes[] = {
    {"gpt2-nano", 4, 4, 128, 256},
    {"gpt2-124m", 12, 12, 768, 1024},
};
static const char *const size_names[] = {"gpt2-nano", "gpt2-124m", NULL};

const char *const *model_sizes(void) { return size_names; }

bool model_is_size(const char *name) {
    for (const char *const *size = size_names; *size != NULL; size++)
        if (strcmp(*size, name) == 0) return true;
    return false;
}

// ---- Layout ---------------------------------------------------------------------------------------------------------

static void add_parameter(model *m, const char *name, int64_t rows, int64_t columns, bool decay) {
    parameter *p = &m->parameters[m->count];
    snprintf(m->names[m->count], sizeof m->names[0], "transformer.%s", name);
    *p = (parameter){.name = m->names[m->count], .shape = {rows, columns}, .dims = columns == 0 ? 1 : 2, .decay = decay};
    m->elements += parameter_count(p);
    m->count++;
}

static void add_block(model *m, int64_t layer) {
    static const char *const names[] = {
        "ln_1.weight", "ln_1.bias", "attn.c_attn.weight", "attn.c_attn.bias", "attn.c_proj.weight", "attn.c_proj.bias",
        "ln_2.weight", "ln_2.bias", "mlp.c_fc.weight", "mlp.c_fc.bias", "mlp.c_proj.weight", "mlp.c_proj.bias",
    };
    const int64_t C = m->config.width, I = m->config.inner;
    const int64_t shapes[][2] = {{C}, {C}, {C, 3 * C}, {3 * C}, {C, C}, {C}, {C}, {C}, {C, I}, {I}, {I, C}, {C}};
    for (int i = 0; i < GPT2_BLOCK_PARAMETERS; i++) {
        char name[MODEL_NAME / 2];
        snprintf(name, sizeof name, "h.%d.%s", (int)layer, names[i]);
        add_parameter(m, name, shapes[i][0], shapes[i][1], shapes[i][1] != 0);    // matrices decay; norms and biases do not
    }
}

heed_status gpt2_layout(model *m, heed_error *error) {
    const model_config *c = &m->config;
    // Each bound is far above any GPT-2 and keeps every product of sizes within 63 bits.
    const struct { const char *name; int64_t value, most; } sizes_given[] = {
        {"vocab_size", c->vocabulary, 1 << 24}, {"n_positions", c->positions, 1 << 24}, {"n_layer", c->layers, 1 << 12},
        {"n_head", c->heads, 1 << 12}, {"n_embd", c->width, 1 << 17}, {"n_inner", c->inner, 1 << 19},
    };
    for (size_t i = 0; i < sizeof sizes_given / sizeof *sizes_given; i++) {
        if (sizes_given[i].value < 1 || sizes_given[i].value > sizes_given[i].most)
            return error_set(error, HEED_INVALID, "%s is %lld; allowed are 1 to %lld", sizes_given[i].name,
                             (long long)sizes_given[i].value, (long long)sizes_given[i].most);
    }
    if (c->width % c->heads != 0)
        return error_set(error, HEED_INVALID, "n_embd %lld is not a multiple of n_head %lld", (long long)c->width,
                         (long long)c->heads);
    const int64_t count = c->layers * GPT2_BLOCK_PARAMETERS + 4;
    m->parameters = calloc((size_t)count, sizeof *m->parameters);
    m->names = calloc((size_t)count, sizeof *m->names);
    if (m->parameters == NULL || m->names == NULL)
        return error_set(error, HEED_NO_MEMORY, "no memory for %lld parameters", (long long)count);
    add_parameter(m, "wte.weight", c->vocabulary, c->width, true);
    add_parameter(m, "wpe.weight", c->positions, c->width, true);
    for (int64_t i = 0; i < c->layers; i++) add_block(m, i);
    add_parameter(m, "ln_f.weight", c->width, 0, false);
    add_parameter(m, "ln_f.bias", c->width, 0, false);

    m->values = memory_take(size_mul((size_t)m->elements, sizeof(float)));
    if (m->values == NULL)
        return error_set(error, HEED_NO_MEMORY, "no memory for %.0f million parameters", 1e-6 * (double)m->elements);
    float *value = m->values;
    for (int64_t i = 0; i < m->count; i++) {
        m->parameters[i].value = value;
        value += parameter_count(&m->parameters[i]);
    }
    return HEED_OK;
}

// ---- Initialisation ---------------------------------------------------------------------------------------------------

enum { ITEM = 1 << 16 };    // values of one item; a multiple of 4

typedef struct {
    uint64_t seed;
    uint32_t stream;
    float *value, deviation;
    int64_t n;
} normal_work;

// Four normal numbers a block of Philox (Box and Muller 1958). Block i of stream s is a function of (seed, s, i): any number
// of threads draws the same weights.
static void draw_item(void *context, int64_t item, int worker) {
    const normal_work *w = context;
    const int64_t end = int64_min(w->n, (item + 1) * ITEM);
    for (int64_t at = item * ITEM; at < end; at += 4) {
        const uint64_t block = (uint64_t)at / 4;
        const philox_block bits = philox(w->seed, (uint32_t)block, (uint32_t)(block >> 32), w->stream, 0x6e6e0001u);
        for (int i = 0; i < 4 && at + i < end; i += 2) {
            const float radius = sqrtf(-2.0f * logf(((float)(bits.word[i] >> 8) + 0.5f) * 0x1p-24f)) * w->deviation;
            const float angle = (float)(bits.word[i + 1] >> 8) * (0x1p-24f * 6.2831853072f);
            w->value[at + i] = radius * cosf(angle);
            if (at + i + 1 < end) w->value[at + i + 1] = radius * sinf(angle);
        }
    }
}

// As GPT2PreTrainedModel._init_weights: matrices normal(0, range), the projections into the residual stream divided by
// sqrt(2 layers), biases 0, norms 1.
void gpt2_initialize(model *m, uint64_t seed) {
    for (int64_t i = 0; i < m->count; i++) {
        const parameter *p = &m->parameters[i];
        normal_work w = {seed, (uint32_t)i, p->value, (float)m->initializer_range, parameter_count(p)};
        if (p->dims == 2) {
            if (strstr(p->name, "c_proj.weight") != NULL) w.deviation /= (float)sqrt(2.0 * (double)m->config.layers);
            threads_for(&m->engine.team, int64_ceil_div(w.n, ITEM), draw_item, &w);
        } else {
            const float value = strstr(p->name, ".ln_") != NULL && strstr(p->name, "weight") != NULL ? 1 : 0;
            for (int64_t j = 0; j < w.n; j++) p->value[j] = value;
        }
    }
}

heed_status model_create(model **out, const char *builtin_size, int64_t vocabulary, uint64_t seed, heed_error *error) {
    *out = NULL;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        if (strcmp(sizes[i].name, builtin_size) != 0) continue;
        model *m;
        heed_status status = model_begin(&m, error);
        if (status != HEED_OK) return status;
        // Both tokenizers have <|endoftext|> as their last id.
        m->config = (model_config){.vocabulary = vocabulary, .positions = sizes[i].positions, .layers = sizes[i].layers,
                                   .heads = sizes[i].heads, .width = sizes[i].width, .inner = 4 * sizes[i].width, .epsilon = 1e-5,
                                   .bos = (int32_t)(vocabulary - 1), .eos = (int32_t)(vocabulary - 1)};
        snprintf(m->config.name, sizeof m->config.name, "%s", sizes[i].name);
        status = gpt2_layout(m, error);
        if (status != HEED_OK) {
            model_free(m);
            return status;
        }
        gpt2_initialize(m, seed);
        *out = m;
        return HEED_OK;
    }
    return error_set(error, HEED_INVALID, "model size '%.40s' is unknown; built in are gpt2-nano and gpt2-124m", builtin_size);
}
