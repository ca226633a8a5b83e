// SPDX-License-Identifier: Apache-2.0
// Dropout as results show it: with a one in each value's own channel, out is the weights themselves, and dv is with ones in
// dout. Every weight's fate is compared with the contract's words (docs/contract.md, "Dropout"), on every implementation and
// instruction set. That numbers are right is tests/impls.c and tests/python/test_attention_torch.py.
#include "base/memory.h"
#include "base/philox.h"
#include "core/impl.h"
#include "cpu/kernels.h"
#include "test.h"

#include <math.h>
#include <string.h>

typedef struct { heed_problem p; heed_args a; const char *text; heed_choice choice; } call;

static float *zeros(int64_t n) { return calloc((size_t)n + 1, sizeof(float)); }

static call call_make(const char *text, const heed_choice *choice) {
    call c = {.text = text, .choice = *choice};
    CHECK(heed_problem_parse(&c.p, text, NULL) == HEED_OK, "%s parses", text);
    heed_problem *p = &c.p;
    if (p->kv_heads == 0) p->kv_heads = p->heads;
    if (p->keys == 0) p->keys = p->queries;
    if (p->value_channels == 0) p->value_channels = p->channels;
    const int64_t rows = p->batch * p->heads * p->queries, keys = p->batch * p->kv_heads * p->keys;
    c.a = (heed_args){.q = zeros(rows * p->channels), .k = zeros(keys * p->channels), .v = zeros(keys * p->value_channels),
                      .out = zeros(rows * p->value_channels), .lse = zeros(rows), .seed = 0x123456789abcdef0u};
    if (p->pass == HEED_FORWARD) return c;
    c.a.dout = zeros(rows * p->value_channels);
    c.a.dq = zeros(rows * p->channels), c.a.dk = zeros(keys * p->channels), c.a.dv = zeros(keys * p->value_channels);
    for (int64_t i = 0; i < rows; i++) c.a.lse[i] = logf((float)p->keys);
    return c;
}

static void call_run(call *c) {
    heed_plan *plan;
    heed_error error = {.text = ""};
    heed_status status = heed_plan_create(&plan, &c->p, &c->choice, &error);
    if (status == HEED_OK) {
        c->a.workspace_bytes = heed_workspace_bytes(plan);
        c->a.workspace = memory_take(c->a.workspace_bytes);
        status = heed_run(plan, &c->a, &error);
        memory_free(c->a.workspace);
        heed_plan_destroy(plan);
    }
    CHECK(status == HEED_OK, "%s: %s: %s", c->choice.implementation, c->text, error.text);
}

static void call_free(call *c) {
    const void *all[] = {c->a.q, c->a.k, c->a.v, c->a.out, c->a.lse, c->a.dout, c->a.dq, c->a.dk, c->a.dv};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free((void *)(uintptr_t)all[i]);
}

// The contract's words: key = seed, counter = (j / 4, i, h, b), word j mod 4, kept when word >= p * 2^32.
static bool kept(const call *c, int64_t b, int64_t h, int64_t i, int64_t j) {
    const philox_block y = philox(c->a.seed, (uint32_t)(j / 4), (uint32_t)i, (uint32_t)h, (uint32_t)b);
    return (double)y.word[j % 4] >= c->p.dropout * 4294967296.0;
}

static void expect_weight(const call *c, float got, int64_t b, int64_t h, int64_t i, int64_t j) {
    const double right = kept(c, b, h, i, j) ? 1 / (1 - c->p.dropout) / (double)c->p.keys : 0;
    CHECK(fabs((double)got - right) <= 1e-5 * right, "%s on %s: \"%s\": weight of row %lld, key %lld of head %lld of sequence %lld "
          "is %g, right is %g", c->choice.implementation, c->choice.cpu, c->text, (long long)i, (long long)j, (long long)h,
          (long long)b, (double)got, right);
}

// With q of zeros all weights are 1 / keys before dropout.
static void check_forward(const char *text, const heed_choice *choice) {
    call c = call_make(text, choice);
    const heed_problem *p = &c.p;
    const int64_t K = p->keys, Dv = p->value_channels;
    float *v = (float *)(uintptr_t)c.a.v;
    for (int64_t r = 0; r < p->batch * p->kv_heads * K; r++) v[r * Dv + r % K] = 1;
    call_run(&c);
    const float *out = c.a.out;
    for (int64_t r = 0; r < p->batch * p->heads * p->queries; r++) {
        const int64_t i = r % p->queries, h = r / p->queries % p->heads, b = r / p->queries / p->heads;
        for (int64_t j = 0; j < K; j++) expect_weight(&c, out[r * Dv + j], b, h, i, j);
        CHECK(fabsf(c.a.lse[r] - logf((float)K)) < 1e-5f, "%s: lse is not dropped", text);
    }
    call_free(&c);
}

static void check_backward(const char *text, const heed_choice *choice) {
    call c = call_make(text, choice);
    const heed_problem *p = &c.p;
    const int64_t Q = p->queries, K = p->keys, Dv = p->value_channels;
    float *dout = (float *)(uintptr_t)c.a.dout;
    for (int64_t r = 0; r < p->batch * p->heads * Q; r++) dout[r * Dv + r % Q] = 1;
    call_run(&c);
    const float *dv = c.a.dv;
    for (int64_t r = 0; r < p->batch * p->heads * K; r++) {
        const int64_t j = r % K, h = r / K % p->heads, b = r / K / p->heads;
        for (int64_t i = 0; i < Q; i++) expect_weight(&c, dv[r * Dv + i], b, h, i, j);
    }
    call_free(&c);
}

// The sums that lse is made of know nothing of dropout: the same bits.
static void check_lse(const char *text, const heed_choice *choice) {
    call c = call_make(text, choice);
    const int64_t rows = c.p.batch * c.p.heads * c.p.queries;
    for (int64_t i = 0; i < rows * c.p.channels; i++) ((float *)(uintptr_t)c.a.q)[i] = (float)(i * 37 % 101) / 50 - 1;
    for (int64_t i = 0; i < c.p.keys * c.p.channels; i++) ((float *)(uintptr_t)c.a.k)[i] = (float)(i * 53 % 103) / 51 - 1;
    call_run(&c);
    float *with = zeros(rows);
    memcpy(with, c.a.lse, (size_t)rows * sizeof(float));
    c.p.dropout = 0;
    call_run(&c);
    CHECK(memcmp(with, c.a.lse, (size_t)rows * sizeof(float)) == 0, "%s on %s: lse changes with dropout", choice->implementation,
          choice->cpu);
    free(with);
    call_free(&c);
}

// A dropped weight is a factor of 0: a NaN value reaches every row that sees it, dropped or not, and no other.
static void check_nan(const char *text, const heed_choice *choice) {
    call c = call_make(text, choice);
    const int64_t Dv = c.p.value_channels, offset = c.p.keys - c.p.queries, bad = c.p.keys - 3;
    ((float *)(uintptr_t)c.a.v)[bad * Dv + 1] = NAN;
    call_run(&c);
    const float *out = c.a.out;
    int dropped = 0;
    for (int64_t i = 0; i < c.p.queries; i++) {
        const bool sees = bad <= i + offset;
        dropped += sees && !kept(&c, 0, 0, i, bad);
        CHECK(isnan(out[i * Dv + 1]) == sees && out[i * Dv] == 0, "%s on %s: \"%s\": row %lld, which %s the NaN, is %g",
              choice->implementation, choice->cpu, text, (long long)i, sees ? "sees" : "hides", (double)out[i * Dv + 1]);
    }
    CHECK(dropped > 0, "%s: no dropped weight meets the NaN", text);
    call_free(&c);
}

int main(void) {
    for (const heed_impl *const *impl = heed_impls; *impl != NULL; impl++) {
        const cpu_kernels *table;
        for (int i = 0; cpu_kernels_row(i, &table) != NULL; i++) {
            if (table == NULL) continue;
            const heed_choice c = {.implementation = (*impl)->name, .cpu = table->name};
            if ((*impl)->pass == HEED_BACKWARD) {
                check_backward("b2 h2 q60 k301 d5/60 dropout:0.3 grad", &c);
                continue;
            }
            check_forward("b2 h4/2 q53 k301 d5/301 dropout:0.3", &c);
            check_forward("b2 h2 q2 k301 d5/301 dropout:0.75", &c);
            check_lse("b1 h1 q50 k300 d16 causal dropout:0.4", &c);
            check_nan("b1 h1 q50 k60 d8 causal dropout:0.7", &c);
            check_nan("b1 h1 q4 k10 d8 causal dropout:0.7", &c);
        }
    }
    return test_end();
}
