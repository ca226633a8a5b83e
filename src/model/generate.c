// SPDX-License-Identifier: Apache-2.0
// Slots 0 .. active - 1 of the cache are sequences that grow. A free slot takes the next prompt; one that ends is filled with
// the last, so that the batch stays without holes.
#include "model/generate.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "model/kv_cache.h"
#include "nn/linear.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static_assert(GENERATE_BATCH <= (int)LINEAR_FEW_ROWS, "a step's rows must not know of one another");

const char *const finish_names[] = {"eos", "length", "stop", "interrupted", NULL};

// Tokens of a prompt that are read at once: products are at full speed from a few hundred rows on, memory stays small, and
// an interruption is noticed in between.
enum { PIECE = 512 };

typedef struct {
    int64_t prompt, count;    // which, and how many ids it has
    int32_t *id;              // of the prompt, then the new ones
    random_stream stream;
} slot;

typedef struct {
    model *m;
    const generation *g;
    const generation_prompt *prompts;
    int64_t n_prompts, next, active, n_slots;
    kv_cache *cache;
    sampler *sampler;
    float *logits;            // (n_slots, vocabulary)
    slot *slots;
    generation_result *result;
    heed_error *error;
} job;

static bool interrupted(const job *j) { return j->g->interrupted != NULL && j->g->interrupted(j->g->context); }

// ---- One sequence -----------------------------------------------------------------------------------------------------

static heed_status find_origin(job *j, const slot *s) {
    generation_result *result = j->result;
    result->finite = false;
    result->prompt = s->prompt;
    int32_t *position = malloc((size_t)s->count * sizeof *position);
    if (position == NULL) return error_set(j->error, HEED_NO_MEMORY, "no memory to search for the origin of a NaN");
    for (int64_t i = 0; i < s->count; i++) position[i] = (int32_t)i;
    const model_batch b = {.rows = 1, .length = s->count, .id = s->id, .position = position};
    const heed_status status = model_nan_origin(j->m, &b, true, &result->origin, j->error);
    free(position);
    nan_origin *o = &result->origin;
    if (status != HEED_OK || o->found) return status;
    o->found = true;
    o->operation = "logits";
    o->position = s->count - 1;
    o->value = NAN;
    text_buffer text = {o->sentence, sizeof o->sentence, 0};
    text_add(&text, "a logit at position %lld is not finite, though every operation before the head is", (long long)o->position);
    if (o->parameter != NULL) text_add(&text, "; parameter %s itself holds a value that is not finite", o->parameter);
    return HEED_OK;
}

static bool all_finite(int64_t n, const float *x) {
    float zero = 0;
    for (int64_t i = 0; i < n; i++) zero += x[i] - x[i];    // NaN as soon as one is not finite
    return zero == 0;
}

// The next token of a slot from its logits. *ended: the sequence is finished, or a logit is not finite.
static heed_status take_token(job *j, slot *s, float *logits, bool *ended) {
    const generation *g = j->g;
    const generation_prompt *p = &j->prompts[s->prompt];
    *ended = true;
    if (!all_finite(model_config_of(j->m)->vocabulary, logits)) return find_origin(j, s);
    const int32_t id = sample(j->sampler, s->id, s->count, logits, &s->stream);
    s->id[s->count++] = id;
    const bool more = g->token(g->context, s->prompt, id);
    const bool eos = id == g->eos, full = s->count == p->count + p->most;
    *ended = eos || !more || full;
    if (*ended) g->finished(g->context, s->prompt, eos ? FINISH_EOS : !more ? FINISH_STOP : FINISH_LENGTH);
    return HEED_OK;
}

// ---- Steps ------------------------------------------------------------------------------------------------------------

// Reads the next prompt into the first free slot, up to its first token.
static heed_status admit(job *j) {
    const generation_prompt *p = &j->prompts[j->next];
    slot *s = &j->slots[j->active];
    int32_t *id = realloc(s->id, (size_t)(p->count + p->most) * sizeof *id);
    if (id == NULL) return error_set(j->error, HEED_NO_MEMORY, "no memory for the tokens of prompt %lld", (long long)j->next + 1);
    memcpy(id, p->id, (size_t)p->count * sizeof *id);
    *s = (slot){.prompt = j->next, .count = p->count, .id = id, .stream = random_of(j->g->seed, p->stream)};
    j->cache->length[j->active] = 0;
    const double began = clock_seconds();
    for (int64_t at = 0; at < p->count; at += PIECE) {
        if (interrupted(j)) return HEED_OK;    // the prompt is still to be finished, which the end of the job does
        const int64_t n = int64_min(PIECE, p->count - at);
        const model_tokens new = {.first_row = j->active, .rows = 1, .length = n, .id = p->id + at};
        const heed_status status = model_extend(j->m, j->cache, &new, at + n == p->count ? j->logits : NULL, j->error);
        if (status != HEED_OK) return status;
    }
    j->result->prefill_tokens += p->count;
    j->result->prefill_seconds += clock_seconds() - began;
    j->next++;
    bool ended;
    const heed_status status = take_token(j, s, j->logits, &ended);
    j->active += !ended;
    return status;
}

// The last active slot moves into one that has ended.
static void leave(job *j, int64_t at) {
    const int64_t last = --j->active;
    kv_cache_copy(j->cache, at, last);
    const slot gone = j->slots[at];
    j->slots[at] = j->slots[last];
    j->slots[last] = gone;
}

// One token more for every active slot.
static heed_status step(job *j) {
    const int64_t n = j->active, vocabulary = model_config_of(j->m)->vocabulary;
    int32_t id[GENERATE_BATCH];
    for (int64_t i = 0; i < n; i++) id[i] = j->slots[i].id[j->slots[i].count - 1];
    const double began = clock_seconds();
    const model_tokens new = {.rows = n, .length = 1, .id = id};
    heed_status status = model_extend(j->m, j->cache, &new, j->logits, j->error);
    bool ended[GENERATE_BATCH] = {false};
    for (int64_t i = 0; i < n && status == HEED_OK && j->result->finite; i++)
        status = take_token(j, &j->slots[i], j->logits + i * vocabulary, &ended[i]);
    j->result->decode_tokens += n;
    j->result->decode_seconds += clock_seconds() - began;
    for (int64_t i = n - 1; i >= 0; i--)    // from behind: what moves in has been looked at
        if (ended[i]) leave(j, i);
    return status;
}

static heed_status run(job *j) {
    heed_status status = HEED_OK;
    while (status == HEED_OK && j->result->finite && !interrupted(j) && (j->active > 0 || j->next < j->n_prompts))
        status = j->active < j->n_slots && j->next < j->n_prompts ? admit(j) : step(j);
    if (status != HEED_OK || !j->result->finite) return status;
    for (int64_t i = 0; i < j->active; i++) j->g->finished(j->g->context, j->slots[i].prompt, FINISH_INTERRUPTED);
    for (; j->next < j->n_prompts; j->next++) j->g->finished(j->g->context, j->next, FINISH_INTERRUPTED);
    return HEED_OK;
}

// ---- The job ------------------------------------------------------------------------------------------------------------

static heed_status check(const model *m, const generation *g, const generation_prompt *prompts, int64_t n, heed_error *error) {
    const model_config *c = model_config_of(m);
    if (g->batch < 1 || g->batch > GENERATE_BATCH)
        return error_set(error, HEED_INVALID, "%lld sequences at once; allowed are 1 to %d", (long long)g->batch, GENERATE_BATCH);
    for (int64_t i = 0; i < n; i++) {
        const generation_prompt *p = &prompts[i];
        if (p->count < 1)
            return error_set(error, HEED_INVALID, "prompt %lld has no token; it needs at least one", (long long)i + 1);
        if (p->most < 1 || p->count > c->positions || p->most > c->positions - p->count)
            return error_set(error, HEED_INVALID, "prompt %lld has %lld tokens and gets %lld more; model %s has %lld positions",
                             (long long)i + 1, (long long)p->count, (long long)p->most, c->name, (long long)c->positions);
        for (int64_t t = 0; t < p->count; t++)
            if (p->id[t] < 0 || p->id[t] >= c->vocabulary)
                return error_set(error, HEED_INVALID, "token %lld of prompt %lld is %d; allowed are 0 to %lld", (long long)t,
                                 (long long)i + 1, p->id[t], (long long)c->vocabulary - 1);
    }
    return HEED_OK;
}

heed_status generate(model *m, const generation *g, const generation_prompt *prompts, int64_t n, generation_result *result,
                     heed_error *error) {
    *result = (generation_result){.finite = true};
    heed_status status = check(m, g, prompts, n, error);
    if (status != HEED_OK || n == 0) return status;
    const model_config *c = model_config_of(m);
    job j = {.m = m, .g = g, .prompts = prompts, .n_prompts = n, .n_slots = int64_min(g->batch, n), .result = result,
             .error = error};
    // Always all positions: what a sequence's attention does must not depend on how long its neighbours are. Memory behind a
    // row's tokens is never touched.
    status = kv_cache_create(&j.cache, m, j.n_slots, c->positions, error);
    if (status == HEED_OK) status = sampler_create(&j.sampler, model_engine(m), &g->sampling, c->vocabulary, error);
    j.logits = memory_take(size_mul(size_mul((size_t)j.n_slots, (size_t)c->vocabulary), sizeof(float)));
    j.slots = calloc((size_t)j.n_slots, sizeof *j.slots);
    if (status == HEED_OK && (j.logits == NULL || j.slots == NULL))
        status = error_set(error, HEED_NO_MEMORY, "no memory for the logits of %lld sequences", (long long)j.n_slots);
    if (status == HEED_OK) status = run(&j);
    for (int64_t i = 0; i < j.n_slots && j.slots != NULL; i++) free(j.slots[i].id);
    free(j.slots);
    memory_free(j.logits);
    sampler_free(j.sampler);
    kv_cache_free(j.cache);
    return status;
}
