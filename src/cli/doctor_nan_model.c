// SPDX-License-Identifier: Apache-2.0
#include "cli/doctor_nan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"

enum { PAD_ID = 256, VOCABULARY = 257 };    // a byte each, and the end of text, with which GPT-2 pads

static heed_status no_memory(heed_error *error) { return error_set(error, HEED_NO_MEMORY, "out of memory"); }

// ---- Texts ------------------------------------------------------------------------------------------------------------

static void place(nan_texts *t, int64_t row) {
    const int64_t n = (int64_t)strlen(t->text[row]), pads = t->length - n;
    t->pads[row] = pads;
    t->key_range[2 * row] = (int32_t)pads;
    t->key_range[2 * row + 1] = (int32_t)t->length;
    for (int64_t i = 0; i < t->length; i++) {
        const int64_t at = row * t->length + i, token = i - pads;
        t->id[at] = token < 0 ? PAD_ID : (unsigned char)t->text[row][token];
        t->position[at] = token < 0 ? 0 : (int32_t)token;
        t->target[at] = token < 0 || token + 1 == n ? -1 : (unsigned char)t->text[row][token + 1];
    }
}

heed_status nan_texts_make(nan_texts *t, heed_error *error) {
    *t = (nan_texts){.text = {"Attention looks back.", "Attention looks back at every word that came before it."}};
    t->length = (int64_t)strlen(t->text[1]);
    const size_t bytes = (size_t)(NAN_TEXTS * t->length) * sizeof(int32_t);
    t->id = malloc(bytes);
    t->position = malloc(bytes);
    t->target = malloc(bytes);
    if (t->id == NULL || t->position == NULL || t->target == NULL) return no_memory(error);
    for (int64_t row = 0; row < NAN_TEXTS; row++) place(t, row);
    t->batch = (model_batch){.rows = NAN_TEXTS, .length = t->length, .id = t->id, .position = t->position, .target = t->target,
                             .key_range = t->key_range};
    return HEED_OK;
}

void nan_texts_free(nan_texts *t) {
    free(t->id);
    free(t->position);
    free(t->target);
}

// ---- In the model -----------------------------------------------------------------------------------------------------

static void read_logits(nan_result *r, const float *logits, const nan_texts *t) {
    double sum = 0, sum_real = 0;
    int64_t n_real = 0;
    for (int64_t b = 0; b < NAN_TEXTS; b++)
        for (int64_t i = 0; i < t->length; i++) {
            bool bad = false;
            for (int64_t c = 0; c < VOCABULARY; c++) {
                const double x = (double)logits[(b * t->length + i) * VOCABULARY + c];
                sum += x;
                if (i >= t->pads[b]) sum_real += x, n_real++;
                if (isfinite(x)) continue;
                bad = true;
                if (r->first[0] < 0) memcpy(r->first, (const int64_t[]){b, i, c}, sizeof r->first);
            }
            r->bad_rows[b] += bad;
        }
    r->output_mean = sum / (double)(NAN_TEXTS * t->length * VOCABULARY);
    r->output_mean_real = sum_real / (double)n_real;
}

static heed_status evaluate(model *m, nan_result *r, const nan_texts *t, heed_error *error) {
    float *logits = memory_take((size_t)(NAN_TEXTS * t->length * VOCABULARY) * sizeof *logits);
    if (logits == NULL) return no_memory(error);
    double sum;
    int64_t scored;
    r->bad_rows[0] = r->bad_rows[1] = 0;
    heed_status status = model_logits(m, &t->batch, logits, error);
    if (status == HEED_OK) {
        read_logits(r, logits, t);
        status = model_loss(m, &t->batch, &sum, &scored, error);
    }
    if (status == HEED_OK) r->loss = sum / (double)scored;
    r->finite = r->first[0] < 0 && isfinite(r->loss);
    memory_free(logits);
    return status;
}

static double norm_of_gradients(const model *m) {
    int64_t count;
    const parameter *p = model_parameters(m, &count);
    double squares = 0;
    for (int64_t i = 0; i < count; i++)
        for (int64_t j = 0; j < parameter_count(&p[i]); j++) squares += (double)p[i].grad[j] * (double)p[i].grad[j];
    return sqrt(squares);
}

static heed_status train(model *m, nan_result *r, const nan_texts *t, heed_error *error) {
    double sum;
    int64_t scored = 0;
    for (int64_t i = 0; i < NAN_TEXTS * t->length; i++) scored += t->target[i] >= 0;
    model_gradient_clear(m);
    const heed_status status = model_gradient(m, &t->batch, 1.0 / (double)scored, &sum, &scored, error);
    if (status != HEED_OK) return status;
    r->loss = sum / (double)scored;
    r->gradient_norm = norm_of_gradients(m);
    r->finite = isfinite(r->loss) && isfinite(r->gradient_norm);
    return HEED_OK;
}

static void keep_record(nan_result *r, const model *m) {
    int64_t count;
    const attention_record *record = model_attention_records(m, &count);
    if (count == 0) return;
    r->implementation = record[0].actual;
    r->preset = record[0].preset;
    memcpy(r->problem, record[0].problem, sizeof r->problem);
    memcpy(r->reason, record[0].reason, sizeof r->reason);
}

heed_status nan_result_compute(nan_result *r, const nan_operator *o, bool training, const nan_texts *t, uint64_t seed,
                               int n_threads, heed_error *error) {
    *r = (nan_result){.label = o->label, .training = training, .first = {-1, -1, -1}, .bad_rows = {-1, -1},
                      .output_mean = NAN, .output_mean_real = NAN, .gradient_norm = NAN};
    model *m;
    heed_status status = model_create(&m, "gpt2-nano", VOCABULARY, seed, error);
    if (status != HEED_OK) return status;
    status = model_set_threads(m, n_threads, error);
    if (status == HEED_OK) status = model_set_attention(m, &o->choice, training, error);
    if (status == HEED_OK) status = training ? train(m, r, t, error) : evaluate(m, r, t, error);
    if (status == HEED_OK) keep_record(r, m);
    if (status == HEED_OK) status = model_nan_origin(m, &t->batch, !training, &r->origin, error);
    model_free(m);
    return status;
}
