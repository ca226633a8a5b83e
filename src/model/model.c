// SPDX-License-Identifier: Apache-2.0
#include "model/model.h"

#include "base/dtype.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "model/model_state.h"
#include "nn/activation.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// ---- Life -------------------------------------------------------------------------------------------------------------

heed_status model_begin(model **out, heed_error *error) {
    model *m = calloc(1, sizeof *m);
    if (m == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for a model");
    m->initializer_range = 0.02;
    m->config.bos = m->config.eos = -1;
    m->fresh = true;
    m->operands = HEED_F32;
    heed_status status = engine_create(&m->engine, 0, NULL, error);
    if (status == HEED_OK) {
        const attention_choice automatic = {.threads = m->engine.team.workers};
        status = attention_plans_create(&m->plans, &automatic, error);
    }
    if (status != HEED_OK) {
        model_free(m);
        return status;
    }
    *out = m;
    return HEED_OK;
}

void model_free(model *m) {
    if (m == NULL) return;
    if (m->json != NULL) json_decref(m->json);
    attention_plans_free(m->plans);
    engine_destroy(&m->engine);
    memory_free(m->values);
    memory_free(m->grads);
    memory_free(m->rounded);
    memory_free(m->memory);
    free(m->parameters);
    free(m->names);
    free(m);
}

const model_config *model_config_of(const model *m) { return &m->config; }
const engine *model_engine(const model *m) { return &m->engine; }

const parameter *model_parameters(const model *m, int64_t *count) {
    *count = m->count;
    return m->parameters;
}

const attention_record *model_attention_records(const model *m, int64_t *count) {
    return attention_plans_records(m->plans, count);
}

static heed_status replace_plans(model *m, heed_error *error) {
    attention_plans *plans;
    m->choice.threads = m->engine.team.workers;
    const heed_status status = attention_plans_create(&plans, &m->choice, error);
    if (status != HEED_OK) return status;
    attention_plans_free(m->plans);
    m->plans = plans;
    return HEED_OK;
}

heed_status model_set_threads(model *m, int n_threads, heed_error *error) {
    engine next;
    const heed_status status = engine_create(&next, n_threads, m->choice.cpu, error);
    if (status != HEED_OK) return status;
    engine_destroy(&m->engine);
    m->engine = next;
    m->n_threads = n_threads;
    return replace_plans(m, error);
}

heed_status model_set_attention(model *m, const attention_choice *choice, bool training, heed_error *error) {
    const heed_status status = attention_choice_check(choice, training, error);
    if (status != HEED_OK) return status;
    const int n_threads = choice->threads != 0 ? choice->threads : m->n_threads;
    m->choice = *choice;
    return model_set_threads(m, n_threads, error);
}

// The position embedding is looked up, never multiplied.
static bool is_multiplied(const model *m, int64_t i) { return m->parameters[i].dims == 2 && i != P_POSITIONS; }

heed_status model_set_precision(model *m, heed_dtype type, heed_error *error) {
    if (type != HEED_F32 && type != HEED_BF16)
        return error_set(error, HEED_INVALID, "the precision of a model is %s; it must be f32 or bf16", dtype_name(type));
    size_t n = 0;
    for (int64_t i = 0; i < m->count; i++) n += is_multiplied(m, i) ? (size_t)parameter_count(&m->parameters[i]) : 0;
    if (type == HEED_BF16 && m->rounded == NULL) m->rounded = memory_take(size_mul(n, sizeof *m->rounded));
    if (type == HEED_BF16 && m->rounded == NULL)
        return error_set(error, HEED_NO_MEMORY, "no memory for %.0f million weights in bf16", 1e-6 * (double)n);
    if (type == HEED_F32) {
        memory_free(m->rounded);
        m->rounded = NULL;
    }
    uint16_t *rounded = m->rounded;
    for (int64_t i = 0; i < m->count; i++) {
        parameter *p = &m->parameters[i];
        if (rounded == NULL || !is_multiplied(m, i)) {
            p->rounded = NULL;
            continue;
        }
        p->rounded = rounded;
        rounded += parameter_count(p);
        round_to_bf16(&m->engine, parameter_count(p), p->value, p->rounded);
    }
    m->operands = type;
    return HEED_OK;
}

void model_set_recompute(model *m, bool recompute) { m->recompute = recompute; }

static heed_status model_take_gradients(model *m, heed_error *error) {
    if (m->grads != NULL) return HEED_OK;
    m->grads = memory_take(size_mul((size_t)m->elements, sizeof(float)));
    if (m->grads == NULL)
        return error_set(error, HEED_NO_MEMORY, "no memory for %.0f million gradients", 1e-6 * (double)m->elements);
    m->fresh = true;
    float *grad = m->grads;
    for (int64_t i = 0; i < m->count; i++) {
        m->parameters[i].grad = grad;
        grad += parameter_count(&m->parameters[i]);
    }
    return HEED_OK;
}

void model_gradient_clear(model *m) { m->fresh = true; }

// ---- Batches ------------------------------------------------------------------------------------------------------------

static heed_status check_index(const model_batch *b, const char *name, const int32_t *x, int64_t least, int64_t end,
                               heed_error *error) {
    for (int64_t i = 0; i < b->rows * b->length; i++) {
        if (x[i] < least || x[i] >= end)
            return error_set(error, HEED_INVALID, "%s at row %lld, column %lld is %d; allowed are %lld to %lld", name,
                             (long long)(i / b->length), (long long)(i % b->length), x[i], (long long)least, (long long)end - 1);
    }
    return HEED_OK;
}

static heed_status check_batch(const model *m, const model_batch *b, bool scored, heed_error *error) {
    int64_t tokens;
    if (b->rows < 1 || b->length < 1 || !int64_mul(b->rows, b->length, &tokens) || tokens > INT32_MAX)
        return error_set(error, HEED_INVALID,
                         "a batch of %lld rows x %lld tokens; both must be at least 1 and their product below 2^31",
                         (long long)b->rows, (long long)b->length);
    if (b->id == NULL || b->position == NULL || (scored && b->target == NULL))
        return error_set(error, HEED_INVALID, "batch.%s is NULL",
                         b->id == NULL ? "id" : b->position == NULL ? "position" : "target");
    heed_status status = check_index(b, "token id", b->id, 0, m->config.vocabulary, error);
    if (status == HEED_OK) status = check_index(b, "position", b->position, 0, m->config.positions, error);
    if (status == HEED_OK && scored) status = check_index(b, "target", b->target, INT32_MIN, m->config.vocabulary, error);
    for (int64_t i = 0; status == HEED_OK && b->key_range != NULL && i < b->rows; i++) {
        const int32_t first = b->key_range[2 * i], end = b->key_range[2 * i + 1];
        if (first < 0 || end < first || end > b->length)
            return error_set(error, HEED_INVALID, "key range of row %lld is %d to %d; allowed is 0 <= first <= end <= %lld",
                             (long long)i, first, end, (long long)b->length);
    }
    return status;
}

heed_status model_loss(model *m, const model_batch *b, double *loss_sum, int64_t *scored, heed_error *error) {
    *loss_sum = 0;
    *scored = 0;
    const heed_status status = check_batch(m, b, true, error);
    return status != HEED_OK ? status : gpt2_run(m, b, &(gpt2_pass){.evaluation = true, .loss = loss_sum, .scored = scored}, error);
}

heed_status model_gradient(model *m, const model_batch *b, double scale, double *loss_sum, int64_t *scored, heed_error *error) {
    *loss_sum = 0;
    *scored = 0;
    heed_status status = check_batch(m, b, true, error);
    if (status == HEED_OK) status = model_take_gradients(m, error);
    const gpt2_pass pass = {.gradient = true, .scale = scale, .loss = loss_sum, .scored = scored};
    return status != HEED_OK ? status : gpt2_run(m, b, &pass, error);
}

heed_status model_logits(model *m, const model_batch *b, float *logits, heed_error *error) {
    const heed_status status = check_batch(m, b, false, error);
    return status != HEED_OK ? status : gpt2_run(m, b, &(gpt2_pass){.evaluation = true, .logits = logits}, error);
}

// ---- The origin of a NaN ----------------------------------------------------------------------------------------------

static const char *first_bad_parameter(const model *m) {
    for (int64_t i = 0; i < m->count; i++) {
        const int64_t n = parameter_count(&m->parameters[i]);
        for (int64_t j = 0; j < n; j++)
            if (!isfinite(m->parameters[i].value[j])) return m->parameters[i].name;
    }
    return NULL;
}

static void write_sentence(nan_origin *o) {
    text_buffer text = {o->sentence, sizeof o->sentence, 0};
    if (!o->found) {
        text_add(&text, "every activation, the loss and every gradient of this batch are finite");
    } else {
        text_add(&text, "%s first in the %s pass at ", isnan(o->value) ? "NaN" : o->value > 0 ? "infinity" : "-infinity",
                 o->backward ? "backward" : "forward");
        if (o->layer >= 0) text_add(&text, "layer %lld, ", (long long)o->layer);
        text_add(&text, "operation %s, batch row %lld, position %lld", o->operation, (long long)o->row, (long long)o->position);
        text_add(&text, "; that row sees %s in attention", o->no_visible_key ? "no key" : "at least one key");
    }
    if (o->parameter != NULL) text_add(&text, "; parameter %s itself holds a value that is not finite", o->parameter);
}

heed_status model_nan_origin(model *m, const model_batch *b, bool evaluation, nan_origin *o, heed_error *error) {
    *o = (nan_origin){.layer = -1};
    const bool gradient = !evaluation;
    heed_status status = check_batch(m, b, gradient || b->target != NULL, error);
    if (status == HEED_OK && gradient) status = model_take_gradients(m, error);
    if (status != HEED_OK) return status;
    double sum = 0;
    int64_t scored = 0;
    const gpt2_pass pass = {.evaluation = evaluation, .gradient = gradient, .scale = 1, .origin = o,
                            .loss = b->target == NULL ? NULL : &sum, .scored = &scored};
    status = gpt2_run(m, b, &pass, error);
    if (status != HEED_OK) return status;
    o->parameter = first_bad_parameter(m);
    write_sentence(o);
    return HEED_OK;
}
