// SPDX-License-Identifier: Apache-2.0
// The loop of generation against the plain one, which runs the whole sequence again for every token: random prompts, limits,
// ends of text, neighbours, places in the batch, and interruptions. generate SEED runs one drawn case.
#include "../test.h"

#include "base/memory.h"
#include "model/generate.h"
#include "model/model_state.h"

#include <stdlib.h>
#include <string.h>

static heed_error error;

enum { POSITIONS = 48, VOCABULARY = 31, PROMPTS = 12, CASES = 40 };

static model *make(const char *attention, int n_threads) {
    model *m;
    if (model_begin(&m, &error) != HEED_OK) return NULL;
    m->config = (model_config){.name = "drawn", .vocabulary = VOCABULARY, .positions = POSITIONS, .layers = 2, .heads = 2,
                               .width = 16, .inner = 64, .epsilon = 1e-5, .bos = -1, .eos = -1};
    const attention_choice choice = {.name = attention, .threads = n_threads};
    if (gpt2_layout(m, &error) != HEED_OK || model_set_attention(m, &choice, false, &error) != HEED_OK) {
        model_free(m);
        return NULL;
    }
    m->initializer_range = 0.4;    // varied texts
    gpt2_initialize(m, 21);
    return m;
}

typedef struct {
    int32_t prompt[POSITIONS], id[PROMPTS][POSITIONS];
    int64_t count[PROMPTS], enough[PROMPTS];    // new tokens so far; how many the caller takes
    int finished[PROMPTS];                      // calls
    finish_reason reason[PROMPTS];
    int64_t tokens, most_tokens;                // of all; an interruption comes with the last
} heard;

static bool on_token(void *context, int64_t at, int32_t id) {
    heard *h = context;
    CHECK(h->finished[at] == 0, "a token of sequence %lld after its end", (long long)at);
    h->id[at][h->count[at]++] = id;
    h->tokens++;
    return h->count[at] < h->enough[at];
}

static void on_finished(void *context, int64_t at, finish_reason reason) {
    heard *h = context;
    h->finished[at]++;
    h->reason[at] = reason;
}

static bool on_ask(void *context) {
    const heard *h = context;
    return h->tokens >= h->most_tokens;
}

// What generate must equal: every token from the logits of the whole sequence.
static void plain(model *m, const generation *g, const generation_prompt *p, int64_t enough, uint64_t seed, const heard *h,
                  int64_t at) {
    int32_t id[POSITIONS + 1], position[POSITIONS];
    float logits[POSITIONS * VOCABULARY];
    sampler *s;
    CHECK(sampler_create(&s, model_engine(m), &g->sampling, VOCABULARY, &error) == HEED_OK, "%s", error.text);
    random_stream stream = random_of(g->seed, p->stream);
    memcpy(id, p->id, (size_t)p->count * sizeof *id);
    finish_reason why = FINISH_LENGTH;
    int64_t n = p->count;
    for (bool more = true; more;) {
        for (int64_t i = 0; i < n; i++) position[i] = (int32_t)i;
        const model_batch b = {.rows = 1, .length = n, .id = id, .position = position};
        CHECK(model_logits(m, &b, logits, &error) == HEED_OK, "%s", error.text);
        id[n] = sample(s, id, n, logits + (n - 1) * VOCABULARY, &stream);
        n++;
        more = false;
        if (id[n - 1] == g->eos) why = FINISH_EOS;
        else if (n - p->count == enough) why = FINISH_STOP;
        else if (n - p->count < p->most) more = true;
    }
    sampler_free(s);
    const bool cut = h->reason[at] == FINISH_INTERRUPTED;
    CHECK(cut ? h->count[at] <= n - p->count : h->count[at] == n - p->count && h->reason[at] == why,
          "sequence %lld has %lld tokens and ends by %s, not %lld by %s (generate %llu)", (long long)at, (long long)h->count[at],
          finish_names[h->reason[at]], (long long)(n - p->count), finish_names[why], (unsigned long long)seed);
    CHECK(memcmp(h->id[at], id + p->count, (size_t)h->count[at] * sizeof *id) == 0,
          "sequence %lld has other tokens (generate %llu)", (long long)at, (unsigned long long)seed);
}

static void test_case(uint64_t seed) {
    static const char *const names[] = {"auto", "eager", "sdpa", "flash_attention_2", "flex_attention"};
    random_stream s = random_of(seed, 5);
    model *m = make(names[random_below(&s, 5)], 1 + (int)random_below(&s, 2));
    static heard h;
    static int32_t ids[PROMPTS][POSITIONS];
    generation_prompt prompts[PROMPTS];
    h = (heard){.most_tokens = random_below(&s, 3) == 0 ? (int64_t)random_below(&s, 60) : INT64_MAX};
    const int64_t n = 1 + (int64_t)random_below(&s, PROMPTS);
    for (int64_t i = 0; i < n; i++) {
        const int64_t count = 1 + (int64_t)random_below(&s, POSITIONS - 1);
        for (int64_t t = 0; t < count; t++) ids[i][t] = (int32_t)random_below(&s, VOCABULARY);
        prompts[i] = (generation_prompt){.id = ids[i], .count = count, .stream = (uint64_t)i,
                                         .most = 1 + (int64_t)random_below(&s, (uint64_t)(POSITIONS - count))};
        h.enough[i] = random_below(&s, 3) == 0 ? 1 + (int64_t)random_below(&s, 10) : INT64_MAX;
    }
    const generation g = {
        .sampling = {.greedy = random_below(&s, 2) == 0, .repetition_penalty = random_below(&s, 2) == 0 ? 1 : 1.3,
                     .temperature = 1.5, .top_k = 20, .top_p = 0.9},
        .seed = seed, .eos = random_below(&s, 2) == 0 ? -1 : (int32_t)random_below(&s, VOCABULARY),
        .batch = 1 + (int64_t)random_below(&s, 8), .context = &h, .token = on_token, .finished = on_finished, .interrupted = on_ask,
    };
    generation_result result;
    CHECK(generate(m, &g, prompts, n, &result, &error) == HEED_OK && result.finite, "%s", error.text);
    for (int64_t i = 0; i < n; i++) {
        CHECK(h.finished[i] == 1, "sequence %lld was finished %d times (generate %llu)", (long long)i, h.finished[i],
              (unsigned long long)seed);
        plain(m, &g, &prompts[i], h.enough[i], seed, &h, i);
    }
    CHECK(h.most_tokens == INT64_MAX || h.tokens <= h.most_tokens + g.batch, "%lld tokens, interrupted after %lld",
          (long long)h.tokens, (long long)h.most_tokens);
    model_free(m);
}

static void test_errors(void) {
    model *m = make("auto", 0);
    static heard h;
    h = (heard){.most_tokens = INT64_MAX};
    generation g = {.sampling = sample_greedy, .eos = -1, .batch = 1, .context = &h, .token = on_token, .finished = on_finished};
    const int32_t id[] = {1, VOCABULARY};
    generation_result result;
    const generation_prompt bad[] = {
        {.id = id, .count = 0, .most = 1}, {.id = id, .count = 1, .most = 0}, {.id = id, .count = 1, .most = POSITIONS},
        {.id = id, .count = 1, .most = INT64_MAX}, {.id = id, .count = 2, .most = 1}, {.id = id, .count = INT64_MAX, .most = 1},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(generate(m, &g, &bad[i], 1, &result, &error) == HEED_INVALID && strstr(error.text, "prompt 1") != NULL,
              "prompt %zu: %s", i, error.text);
    g.batch = GENERATE_BATCH + 1;
    const generation_prompt good = {.id = id, .count = 1, .most = 1};
    CHECK(generate(m, &g, &good, 1, &result, &error) == HEED_INVALID, "a batch of 17");
    g.batch = 1;
    CHECK(generate(m, &g, &good, 0, &result, &error) == HEED_OK && h.tokens == 0, "no prompts");
    block_parameter(m, 1, B_PROJ_W)->value[3] = NAN;
    CHECK(generate(m, &g, &good, 1, &result, &error) == HEED_OK && !result.finite && h.tokens == 0 && result.origin.layer == 1 &&
          strcmp(result.origin.operation, "projection") == 0, "a NaN: %s", result.origin.sentence);
    model_free(m);
}

int main(int argc, char **argv) {
    uint64_t first = 0, end = CASES;
    if (argc > 1) first = strtoull(argv[1], NULL, 10), end = first + 1;
    for (uint64_t seed = first; seed < end; seed++) test_case(seed);
    test_errors();
    return test_end();
}
