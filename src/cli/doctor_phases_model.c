// SPDX-License-Identifier: Apache-2.0
// A whole model by the program's own code, with the implementation under test for its attention, against the same model in double
// (model/gpt2_exact.h): logits, padded, token by token, in bf16; the loss; the gradient, by differences of the loss.
#include "cli/doctor_phases.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/random.h"
#include "cli/model_walk.h"
#include "model/kv_cache.h"

enum { VOCABULARY = 97, TOKENS = 14, SHORT = 5 };    // SHORT: tokens of the padded text
static const char size[] = "gpt2-nano";

typedef struct {
    model *m;
    phase_result *r;
    const phase_subject *s;
    exact_units units;
    int32_t id[2 * TOKENS], position[2 * TOKENS], target[2 * TOKENS], key_range[4];
    model_batch batch;
    float logits[2 * TOKENS * VOCABULARY];
} whole;

// Fresh weights make attention nearly uniform, which hides what it computes: those of q and k are made larger.
static void sharpen(model *m) {
    int64_t n;
    const parameter *p = model_parameters(m, &n);
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; strstr(p[i].name, "c_attn.weight") != NULL && k < parameter_count(&p[i]); k++)
            if (k % p[i].shape[1] < 2 * p[i].shape[0]) p[i].value[k] *= 8;
}

static heed_status make(whole *w, bool training, heed_error *error) {
    const phase_subject *s = w->s;
    const bool old = s->side.preset != NULL && strcmp(s->side.preset, "mps_pre28") == 0;
    const attention_choice choice = {.name = s->side.implementation, .preset = s->side.preset, .cpu = s->cpu,
                                     .fallback_refuse = true, .disable_mps_fix = old};
    heed_status status = model_create(&w->m, size, VOCABULARY, s->seed, error);
    if (status != HEED_OK) return status;
    sharpen(w->m);
    status = model_set_threads(w->m, s->threads, error);
    if (status == HEED_OK) status = model_set_attention(w->m, &choice, training, error);
    random_stream random = random_of(s->seed, 1);
    for (int i = 0; i < 2 * TOKENS; i++) {
        w->id[i] = (int32_t)random_below(&random, VOCABULARY);
        w->position[i] = i % TOKENS;
        w->target[i] = (int32_t)random_below(&random, VOCABULARY);
    }
    w->units = (exact_units){0x1p-24, 0x1p-24, 0};
    w->batch = (model_batch){.rows = 2, .length = TOKENS, .id = w->id, .position = w->position, .target = w->target};
    return status;
}

// ---- Logits -----------------------------------------------------------------------------------------------------------

typedef struct { const float *logits; int64_t n; } given;

static bool give(void *context, exact_component c, int64_t layer, const exact_state *in, double *to, double *unit) {
    const given *g = context;
    for (int64_t i = 0; c == EXACT_LOGITS && i < g->n; i++) to[i] = (double)g->logits[i];
    return c == EXACT_LOGITS;
}

// Holds the logits of some rows against the model in double.
static heed_status judge_logits(whole *w, const exact_batch *b, const float *logits, const char *of, double *largest,
                                heed_error *error) {
    given g = {logits, b->rows * b->length * VOCABULARY};
    const walk_side side = {.context = &g, .give = give, .recorded = true, .units = w->units};
    walk_findings found;
    const heed_status status = walk_models(&found, w->m, b, &side, error);
    if (status == HEED_OK) {
        const walk_step *last = &found.step[found.n - 1];
        *largest = last->largest;
        if (!last->inside) w->r->outcome = PHASE_FAIL;
        if (!last->finite) snprintf(w->r->sentence, sizeof w->r->sentence, "%s: logits are not finite", of);
        else if (!last->inside)
            snprintf(w->r->sentence, sizeof w->r->sentence, "%s: logits are wrong by up to %.3g, %.3g times what rounding does",
                     of, last->largest, last->peak);
    }
    walk_free(&found);
    return status;
}

static heed_status run_logits(whole *w, double *largest, heed_error *error) {
    const exact_batch b = {2, TOKENS, w->id};
    const heed_status status = model_logits(w->m, &w->batch, w->logits, error);
    return status == HEED_OK ? judge_logits(w, &b, w->logits, "two rows", largest, error) : status;
}

// The second text is short and stands at the right, behind pads; in double it stands alone.
static heed_status run_padded(whole *w, heed_error *error) {
    double largest;
    const int64_t pads = TOKENS - SHORT;
    for (int i = 0; i < TOKENS; i++) w->position[TOKENS + i] = i < pads ? 0 : (int32_t)(i - pads);
    memcpy(w->key_range, (const int32_t[]){0, TOKENS, (int32_t)pads, TOKENS}, sizeof w->key_range);
    w->batch.key_range = w->key_range;
    heed_status status = model_logits(w->m, &w->batch, w->logits, error);
    const exact_batch full = {1, TOKENS, w->id}, padded = {1, SHORT, w->id + TOKENS + pads};
    if (status == HEED_OK) status = judge_logits(w, &full, w->logits, "the full row", &largest, error);
    if (status == HEED_OK)
        status = judge_logits(w, &padded, w->logits + (TOKENS + pads) * VOCABULARY, "the padded row", &largest, error);
    return status;
}

// Each row's tokens one after the other, through the cache.
static heed_status run_cached(whole *w, heed_error *error) {
    double largest;
    kv_cache *cache = NULL;
    heed_status status = kv_cache_create(&cache, w->m, 1, TOKENS, error);
    for (int t = 0; status == HEED_OK && t < TOKENS; t++) {
        const model_tokens one = {.rows = 1, .length = 1, .id = w->id + t};
        status = model_extend(w->m, cache, &one, w->logits + t * VOCABULARY, error);
    }
    kv_cache_free(cache);
    const exact_batch b = {1, TOKENS, w->id};
    return status == HEED_OK ? judge_logits(w, &b, w->logits, "token by token", &largest, error) : status;
}

static heed_status run_bf16(whole *w, heed_error *error) {
    double largest;
    w->units = (exact_units){0x1p-24, 0x1p-8, 0x1p-8};
    const heed_status status = model_set_precision(w->m, HEED_BF16, error);
    return status == HEED_OK ? run_logits(w, &largest, error) : status;
}

// ---- Loss and gradient ------------------------------------------------------------------------------------------------

static double loss_in_double(const whole *w, const exact_state *state, double *row) {
    const exact_batch b = {2, TOKENS, w->id};
    exact_state s = *state;
    for (int c = 0; c < EXACT_COMPONENTS; c++) {
        const bool block = c >= EXACT_NORM_1 && c <= EXACT_OUT;
        if (block && c > EXACT_NORM_1) continue;
        for (int64_t layer = 0; layer < (block ? model_config_of(w->m)->layers : 1); layer++)
            for (int k = c; k <= (block ? (int)EXACT_OUT : c); k++)
                exact_compute(w->m, &b, (exact_component)k, layer, &s, &w->units, s.of[k == EXACT_EMBEDDING ? EXACT_OUT : k], NULL,
                              row);
    }
    return exact_loss(w->m, &b, s.of[EXACT_LOGITS], w->target);
}

// A loss is a difference of two sums of logits: wrong by at most twice what those are wrong by.
static heed_status run_loss(whole *w, const exact_state *state, double *row, heed_error *error) {
    double seen, largest;
    int64_t scored;
    heed_status status = run_logits(w, &largest, error);
    if (status == HEED_OK) status = model_loss(w->m, &w->batch, &seen, &scored, error);
    if (status != HEED_OK || w->r->outcome == PHASE_FAIL) return status;
    const double right = loss_in_double(w, state, row), bound = 2 * (double)scored * largest + 0x1p-20 * fabs(right);
    if (fabs(seen - right) <= bound) return HEED_OK;
    w->r->outcome = PHASE_FAIL;
    snprintf(w->r->sentence, sizeof w->r->sentence, "the loss is %.9g; in double it is %.9g", seen, right);
    return HEED_OK;
}

// One parameter: along a random direction, what its gradient says against the loss in double on both sides. The weights are stored
// in f32, so the direction is what was really added. Its third derivative and f32 leave up to 2e-4 of the gradient's size
// (measured).
static void judge_gradient(whole *w, const parameter *p, const exact_state *state, double *row, float *kept) {
    static const double allowed = 2e-3;
    const int64_t n = parameter_count(p);
    double said = 0, norm = 0, length = 0, mean = 0, losses[2];
    for (int64_t i = 0; i < n; i++) mean += (double)p->value[i] * (double)p->value[i] / (double)n;
    const double step = 0x1p-10 * fmax(sqrt(mean), 0x1p-6);
    memcpy(kept, p->value, (size_t)n * sizeof *kept);
    for (int side = 0; side < 2; side++) {
        random_stream random = random_of(w->s->seed, 2);
        for (int64_t i = 0; i < n; i++) {
            const double d = step * random_normal(&random);
            p->value[i] = kept[i] + (float)(side == 0 ? d : -d);
            const double moved = (double)p->value[i] - (double)kept[i];
            said += (side == 0 ? 1 : -1) * moved * (double)p->grad[i];
            norm += (double)p->grad[i] * (double)p->grad[i] / 2;
            length += moved * moved / 2;
        }
        losses[side] = loss_in_double(w, state, row);
    }
    memcpy(p->value, kept, (size_t)n * sizeof *kept);
    const double right = losses[0] - losses[1], scale = 2 * sqrt(norm * length / (double)n);
    if (fabs(said - right) <= allowed * scale || w->r->outcome == PHASE_FAIL) return;
    w->r->outcome = PHASE_FAIL;
    snprintf(w->r->sentence, sizeof w->r->sentence, "the gradient of %.60s says %.6g along a direction; the loss in double "
             "moves by %.6g", p->name, said, right);
}

static heed_status run_gradient(whole *w, const exact_state *state, double *row, heed_error *error) {
    double loss;
    int64_t scored, n, most = 0;
    model_gradient_clear(w->m);
    heed_status status = model_gradient(w->m, &w->batch, 1, &loss, &scored, error);
    if (status != HEED_OK) return status;
    const parameter *p = model_parameters(w->m, &n);
    for (int64_t i = 0; i < n; i++) most = int64_max(most, parameter_count(&p[i]));
    float *kept = memory_take((size_t)most * sizeof *kept);
    if (kept == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for a copy of a parameter");
    for (int64_t i = 0; i < n; i++) judge_gradient(w, &p[i], state, row, kept);
    memory_free(kept);
    return HEED_OK;
}

static heed_status run_double(whole *w, bool gradient, heed_error *error) {
    const exact_batch b = {2, TOKENS, w->id};
    exact_state state;
    heed_status status = exact_state_make(&state, w->m, &b, error);
    double *row = memory_take(4096 * sizeof *row);    // the widest row of gpt2-nano has 512
    if (status == HEED_OK && row == NULL) status = error_set(error, HEED_NO_MEMORY, "out of memory");
    if (status == HEED_OK) status = gradient ? run_gradient(w, &state, row, error) : run_loss(w, &state, row, error);
    memory_free(row);
    exact_state_free(&state);
    return status;
}

static heed_status run_what(whole *w, const char *text, heed_error *error) {
    double largest;
    if (strstr(text, "grad") != NULL) return run_double(w, true, error);
    if (strstr(text, "loss") != NULL) return run_double(w, false, error);
    if (strstr(text, "pad:left") != NULL) return run_padded(w, error);
    if (strstr(text, "cache") != NULL) return run_cached(w, error);
    return strstr(text, "bf16") != NULL ? run_bf16(w, error) : run_logits(w, &largest, error);
}

heed_status phase_run_model(phase_result *r, const phase_row *row, const phase_subject *s, heed_error *error) {
    whole *w = calloc(1, sizeof *w);
    if (w == NULL) return error_set(error, HEED_NO_MEMORY, "out of memory");
    w->r = r, w->s = s;
    heed_status status = make(w, strstr(row->text, "grad") != NULL, error);
    if (status == HEED_OK) status = run_what(w, row->text, error);
    model_free(w->m);
    free(w);
    return status;
}
