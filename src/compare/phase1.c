// SPDX-License-Identifier: Apache-2.0
#include "compare/phase1.h"

#include "base/error.h"
#include "base/memory.h"
#include "compare/formula.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

// ---- The tests ----------------------------------------------------------------------------------------------------

// id, name, tokens, heads, kv heads, hidden, head_dim, window; reported fraction and maximum; reference by row.
static const struct {
    const char *id, *name;
    int tokens, heads, kv_heads, hidden, head_dim, window;
    double mismatched, max_abs_error;
    double reference[16];
} recorded[PHASE1_TESTS] = {
    {"1.1", "basic", 4, 2, 2, 8, 4, 0,
     0.5, 1.625,
     {8.5, 11.3125, 10.0625, 11.25}},
    {"1.2", "causal mask", 8, 4, 4, 16, 4, 0,
     0.375, 11.75,
     {34.25, 34, 43.25, 38, 32.25, 35.75, 34.5, 45.75}},
    {"1.3", "sliding window 4", 16, 4, 4, 16, 4, 4,
     0.625, 11.75,
     {34.25, 34, 43.25, 38, 32.25, 35.75, 34.5, 45.75, 44, 37.75, 35, 40, 38, 39.25, 36.25, 44.75}},
    {"1.4", "learned sinks", 8, 2, 2, 8, 4, 0,
     0.375, 3.125,
     {8.5, 11.3125, 10.0625, 11.25, 11.25, 13.125, 11.9375, 11.0625}},
};

typedef struct { uint32_t state[624]; int at; } twister;

static void twister_seed(twister *t, uint32_t seed) {
    t->state[0] = seed;
    for (uint32_t i = 1; i < 624; i++) t->state[i] = 1812433253u * (t->state[i - 1] ^ t->state[i - 1] >> 30) + i;
    t->at = 624;
}

static uint32_t twister_next(twister *t) {
    if (t->at == 624) {
        for (int i = 0; i < 624; i++) {
            const uint32_t y = (t->state[i] & 0x80000000u) | (t->state[(i + 1) % 624] & 0x7fffffffu);
            t->state[i] = t->state[(i + 397) % 624] ^ y >> 1 ^ (y & 1 ? 0x9908b0dfu : 0);
        }
        t->at = 0;
    }
    uint32_t y = t->state[t->at++];
    y ^= y >> 11;
    y ^= y << 7 & 0x9d2c5680u;
    y ^= y << 15 & 0xefc60000u;
    return y ^ y >> 18;
}

void phase1_builtin(phase1_test test[PHASE1_TESTS]) {
    for (int i = 0; i < PHASE1_TESTS; i++) {
        phase1_test *t = &test[i];
        *t = (phase1_test){.tokens = recorded[i].tokens, .heads = recorded[i].heads, .kv_heads = recorded[i].kv_heads,
                           .hidden = recorded[i].hidden, .head_dim = recorded[i].head_dim, .window = recorded[i].window,
                           .theta = 10000, .weights = 0.5, .biases = 0.5, .sinks = 0.5, .mismatched = recorded[i].mismatched,
                           .max_abs_error = recorded[i].max_abs_error, .rtol = 0.016, .atol = 1e-5};
        snprintf(t->id, sizeof t->id, "%s", recorded[i].id);
        snprintf(t->name, sizeof t->name, "%s", recorded[i].name);
        memcpy(t->reference, recorded[i].reference, (size_t)t->tokens * sizeof *t->reference);
        twister draw;
        twister_seed(&draw, 42);
        for (int64_t j = 0; j < t->tokens * t->hidden; j++) t->input[j] = (double)(twister_next(&draw) & 255) / 256;
    }
}

// ---- The block ----------------------------------------------------------------------------------------------------

static double to_bf16(double x) { return formula_round(HEED_BF16, x); }

// A projection with equal weights gives one value for all channels.
static double project(const phase1_test *t, const double *x, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += t->weights * x[i];
    return to_bf16(sum + t->biases);
}

static heed_status claim_of(const phase1_test *t, problem_line *line, heed_error *error) {
    char text[160], window[32] = "";
    if (t->window > 0) snprintf(window, sizeof window, " window:%lld", (long long)t->window - 1);
    snprintf(text, sizeof text, "b1 h%lld/%lld q%lld d%lld bf16 causal%s sink rope:half,theta=%.17g", (long long)t->heads,
             (long long)t->kv_heads, (long long)t->tokens, (long long)t->head_dim, window, t->theta);
    return problem_claim_parse(line, text, error);
}

static void fill(const phase1_test *t, call *c) {
    for (int64_t i = 0; i < t->tokens; i++) {
        const double x = project(t, t->input + i * t->hidden, t->hidden);
        for (int64_t h = 0; h < t->heads; h++)
            for (int64_t d = 0; d < t->head_dim; d++) c->q[(h * t->tokens + i) * t->head_dim + d] = x;
        for (int64_t h = 0; h < t->kv_heads; h++)
            for (int64_t d = 0; d < t->head_dim; d++)
                c->k[(h * t->tokens + i) * t->head_dim + d] = c->v[(h * t->tokens + i) * t->head_dim + d] = x;
    }
    for (int64_t h = 0; h < t->heads; h++) c->sinks[h] = t->sinks;
}

// Where row i of head h stands when out is misread (formula.h leaves that to who reads).
static void source(const formula *f, int64_t *head, int64_t *row) {
    if (f->v.layout != LAYOUT_OUT_SEQ_HEAD) return;
    const int64_t place = *head * f->c->queries + *row;
    *head = place % f->c->heads;
    *row = place / f->c->heads;
}

static void attend(const phase1_test *t, const formula *f, formula_row *r, double *value) {
    double joined[PHASE1_HIDDEN * 4];
    for (int64_t i = 0; i < t->tokens; i++) {
        for (int64_t h = 0; h < t->heads; h++) {
            int64_t head = h, row = i;
            source(f, &head, &row);
            formula_row_compute(f, 0, head, row, r);
            for (int64_t d = 0; d < t->head_dim; d++) joined[h * t->head_dim + d] = to_bf16(r->out[d]);
        }
        value[i] = project(t, joined, t->heads * t->head_dim);
    }
}

heed_status phase1_block(const phase1_test *t, const hypothesis *h, double parameter, double value[PHASE1_TOKENS],
                         heed_error *error) {
    problem_line line;
    call c = {0};
    formula f = {.memory = NULL};
    void *memory = NULL;
    heed_status status = claim_of(t, &line, error);
    if (status == HEED_OK) status = call_begin(&c, &line, error);
    if (status == HEED_OK) {
        fill(t, &c);
        variant v = variant_of(&c);
        v.rounding = ROUND_STAGES;
        v.rope.bf16_table = v.rope.round_products = true;
        if (h != NULL) h->edit(&c, &v, parameter);
        status = formula_begin(&f, &c, &v, NULL, error);
    }
    if (status == HEED_OK && (memory = memory_take(formula_row_bytes(&c))) == NULL)
        status = error_set(error, HEED_NO_MEMORY, "no memory for a row");
    if (status == HEED_OK) {
        formula_row r = formula_row_at(&c, memory);
        attend(t, &f, &r, value);
    }
    memory_free(memory);
    formula_end(&f);
    call_free(&c);
    return status;
}

// ---- The search ---------------------------------------------------------------------------------------------------

phase1_difference phase1_differ(const phase1_test *t, const double value[PHASE1_TOKENS]) {
    phase1_difference d = {0};
    for (int64_t i = 0; i < t->tokens; i++) {
        const double error = fabs(value[i] - t->reference[i]);
        d.mismatched += !(error <= t->atol + t->rtol * fabs(t->reference[i]));
        d.max_abs_error = fmax(d.max_abs_error, isnan(error) ? INFINITY : error);
    }
    d.mismatched /= (double)t->tokens;
    return d;
}

static heed_status try_one(phase1_findings *f, const phase1_test *test, int tests, const hypothesis *h, double parameter,
                           heed_error *error) {
    if (f->trials == PHASE1_TRIALS) return HEED_OK;
    phase1_trial *k = &f->trial[f->trials++];
    *k = (phase1_trial){.of = h, .parameter = parameter, .matches = true};
    for (int i = 0; i < tests; i++) {
        double value[PHASE1_TOKENS], right[PHASE1_TOKENS];
        heed_status status = phase1_block(&test[i], h, parameter, value, error);
        if (status == HEED_OK) status = phase1_block(&test[i], NULL, 0, right, error);
        if (status != HEED_OK) return status;
        k->found[i] = phase1_differ(&test[i], value);
        for (int64_t row = 0; row < test[i].tokens; row++) k->visible |= value[row] != right[row];
        k->matches &= k->found[i].mismatched == test[i].mismatched && k->found[i].max_abs_error == test[i].max_abs_error;
    }
    return HEED_OK;
}

// Has the row anything to change in a call of such a block? (It may in one test and not in another.)
static bool means_anything(const hypothesis *h, const phase1_test *test, int tests) {
    for (int i = 0; i < tests; i++) {
        problem_line line;
        call c = {0};
        const bool applies = claim_of(&test[i], &line, NULL) == HEED_OK && call_begin(&c, &line, NULL) == HEED_OK && h->applies(&c);
        call_free(&c);
        if (applies) return true;
    }
    return false;
}

heed_status phase1_search(phase1_findings *f, const phase1_test *test, int tests, heed_error *error) {
    *f = (phase1_findings){.trials = 0};
    for (int i = 0; i < tests; i++) {
        double value[PHASE1_TOKENS];
        const heed_status status = phase1_block(&test[i], NULL, 0, value, error);
        if (status != HEED_OK) return status;
        f->exact[i] = memcmp(value, test[i].reference, (size_t)test[i].tokens * sizeof *value) == 0;
    }
    for (const hypothesis *h = hypotheses; h->id != NULL; h++) {
        if (!means_anything(h, test, tests)) continue;
        heed_status status = h->parameters[0] == 0 ? try_one(f, test, tests, h, 0, error) : HEED_OK;
        for (int i = 0; status == HEED_OK && i < HYPOTHESIS_PARAMETERS && h->parameters[i] != 0; i++)
            status = try_one(f, test, tests, h, h->parameters[i], error);
        if (status != HEED_OK) return status;
    }
    return HEED_OK;
}
