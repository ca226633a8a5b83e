// SPDX-License-Identifier: Apache-2.0
// What the four phases try: components alone, combinations, edges and precision, a whole model. And how a row is run.
#include "cli/doctor_phases.h"

#include "base/error.h"
#include "compare/check.h"
#include "core/impl.h"
#include "core/problem.h"

#include <stdlib.h>
#include <stdio.h>
#include <string.h>

enum { Q0 = FILL_ZERO_Q, WEIGHTS = FILL_IDENTITY_V };


// Phase 1: with q = 0 every visible key weighs the same, with v = identity the output is the weights, with one key the lse is its
// score and the output its value.
static const phase_row components[] = {
    {1, PHASE_LINEAR, 0, "projection to q, k, v", "rows:37 in:64 out:192"},
    {1, PHASE_LINEAR, 0, "projection to q, k, v, bf16", "rows:37 in:64 out:192 bf16"},
    {1, PHASE_ATTENTION, 0, "rotary, halves", "b1 h4/2 q40 k48 d32 causal rope:half"},
    {1, PHASE_ATTENTION, 0, "rotary, pairs", "b1 h4/2 q40 k48 d32 causal rope:pairs"},
    {1, PHASE_ATTENTION, 0, "rotary, its base and YaRN's factor", "b1 h2 q40 d64 causal rope:half,theta=150000,yarn=32"},
    {1, PHASE_ATTENTION, 0, "scores: of one key, in lse", "b2 h4/2 q33 k1 d48"},
    {1, PHASE_ATTENTION, 0, "scores: another scale", "b2 h4/2 q33 k1 d48 scale:0.3"},
    {1, PHASE_ATTENTION, 0, "scores: softcap", "b2 h4/2 q33 k1 d48 softcap:1.5"},
    {1, PHASE_ATTENTION, 0, "scores: alibi", "b2 h4 q33 k1 d48 alibi"},
    {1, PHASE_ATTENTION, Q0, "scores: bias alone", "b2 h4/2 q33 k1 d48 bias"},
    {1, PHASE_ATTENTION, Q0 | WEIGHTS, "masks: none", "b2 h4/2 q20 k24 d8/24"},
    {1, PHASE_ATTENTION, Q0 | WEIGHTS, "masks: causal", "b2 h4/2 q20 k24 d8/24 causal"},
    {1, PHASE_ATTENTION, Q0 | WEIGHTS, "masks: causal, the first rows aligned", "b2 h4/2 q20 k24 d8/24 causal offset:top"},
    {1, PHASE_ATTENTION, Q0 | WEIGHTS, "masks: window to the left", "b2 h4/2 q20 k24 d8/24 causal window:5"},
    {1, PHASE_ATTENTION, Q0 | WEIGHTS, "masks: window to both sides", "b2 h4/2 q20 k24 d8/24 window:3,2"},
    {1, PHASE_ATTENTION, Q0 | WEIGHTS, "masks: prefix", "b2 h4/2 q20 k24 d8/24 prefix:9"},
    {1, PHASE_ATTENTION, Q0 | WEIGHTS, "masks: a tensor", "b2 h4/2 q20 k24 d8/24 mask"},
    {1, PHASE_ATTENTION, Q0 | WEIGHTS, "masks: a tensor of keys", "b2 h4/2 q20 k24 d8/24 mask:b,k"},
    {1, PHASE_ATTENTION, Q0 | WEIGHTS, "masks: left padding", "b2 h4/2 q20 k24 d8/24 pad:left"},
    {1, PHASE_ATTENTION, Q0 | WEIGHTS, "masks: right padding", "b2 h4/2 q20 k24 d8/24 pad:right"},
    {1, PHASE_ATTENTION, Q0 | WEIGHTS, "masks: documents", "b2 h4/2 q20 k24 d8/24 causal docs"},
    {1, PHASE_ATTENTION, Q0 | WEIGHTS, "masks: keys that are not there yet", "b2 h4/2 q20 k24 d8/24 count:rand"},
    {1, PHASE_ATTENTION, Q0 | WEIGHTS, "softmax: of a given row", "b2 h4/2 q20 k24 d8/24 bias"},
    {1, PHASE_ATTENTION, WEIGHTS, "softmax: of the scores", "b2 h4/2 q20 k24 d8/24"},
    {1, PHASE_ATTENTION, Q0 | WEIGHTS, "softmax: dropout", "b2 h4/2 q20 k24 d8/24 dropout:0.3"},
    {1, PHASE_ATTENTION, Q0 | FILL_ONE_V, "sinks: what they take from all keys", "b2 h4/2 q20 k24 d8/24 sink"},
    {1, PHASE_ATTENTION, Q0 | WEIGHTS, "sinks: beside a mask", "b2 h4/2 q20 k24 d8/24 causal sink"},
    {1, PHASE_ATTENTION, 0, "value product: of one key", "b2 h4/2 q17 k1 d16/40"},
    {1, PHASE_ATTENTION, Q0, "value product: the mean", "b2 h4/2 q17 k29 d16/40"},
    {1, PHASE_LINEAR, 0, "output projection", "rows:37 in:64 out:64"},
    {1, PHASE_LINEAR, 0, "output projection, bf16", "rows:37 in:64 out:64 bf16"},
};

// Phase 3.
static const phase_row edges[] = {
    {3, PHASE_ATTENTION, 0, "empty rows are zero", "b2 h2 q30 d16 causal pad:left offset:top"},
    {3, PHASE_ATTENTION, 0, "empty rows are NaN, where asked", "b2 h2 q30 d16 causal pad:left offset:top empty:nan"},
    {3, PHASE_ATTENTION, 0, "empty rows are the mean", "b2 h2 q30 d16 causal pad:left offset:top empty:mean"},
    {3, PHASE_ATTENTION, 0, "empty rows are the mean of the past", "b2 h2 q30 d16 causal pad:left offset:top empty:mean_causal"},
    {3, PHASE_ATTENTION, 0, "empty rows with a sink", "b2 h2 q30 d16 causal pad:left offset:top sink"},
    {3, PHASE_ATTENTION, 0, "rows before the first key", "b1 h2 q30 k12 d16 causal"},
    {3, PHASE_ATTENTION, 0, "one key, one query", "b1 h1 q1 d1"},
    {3, PHASE_ATTENTION, 0, "one query, many keys", "b2 h8/2 q1 k300 d64 causal"},
    {3, PHASE_ATTENTION, 0, "many queries, few keys", "b1 h2 q100 k7 d32"},
    {3, PHASE_ATTENTION, 0, "a chunk of a prompt", "b1 h2 q33 k130 d32 causal"},
    {3, PHASE_ATTENTION, 0, "no key at all", "b1 h2 q5 k0 d16"},
    {3, PHASE_ATTENTION, FILL_HUGE, "huge scores", "b1 h2 q40 d32 causal"},
    {3, PHASE_ATTENTION, FILL_HUGE, "huge scores, f16", "b1 h2 q40 d128 f16 causal"},
    {3, PHASE_ATTENTION, FILL_HUGE, "huge scores, bf16", "b1 h2 q40 d128 bf16 causal"},
    {3, PHASE_ATTENTION, FILL_CONSTANT, "all keys alike", "b1 h2 q70 d32 causal"},
    {3, PHASE_ATTENTION, 0, "bf16", "b1 h4/2 q70 d64 bf16 causal window:31"},
    {3, PHASE_ATTENTION, 0, "f16", "b1 h4/2 q70 d64 f16 causal window:31"},
    {3, PHASE_ATTENTION, 0, "f16, keys and values bf16", "b1 h4/2 q70 d64 f16 kv:bf16 causal"},
    {3, PHASE_ATTENTION, FILL_POISON, "NaN in padding", "b2 h2 q30 d16 pad:left"},
    {3, PHASE_ATTENTION, FILL_POISON, "NaN in padding under causal", "b2 h2 q30 d16 causal pad:right"},
    {3, PHASE_ATTENTION, FILL_POISON, "NaN in free slots of a cache", "b2 h2 q30 k40 d16 count:rand bf16"},
    {3, PHASE_ATTENTION, FILL_POISON, "NaN where a mask hides", "b2 h2 q30 d16 mask:b,k"},
    {3, PHASE_ATTENTION, 0, "memory order batch, token, head", "b2 h4/2 q40 d32 causal layout:bshd"},
};

// Phase 4: random weights, two rows of 14 tokens.
static const phase_row models[] = {
    {4, PHASE_MODEL, 0, "logits", "gpt2-nano b2 q14"},
    {4, PHASE_MODEL, 0, "logits, left padding", "gpt2-nano b2 q14 pad:left"},
    {4, PHASE_MODEL, 0, "logits, token by token", "gpt2-nano b1 q14 cache"},
    {4, PHASE_MODEL, 0, "logits, bf16", "gpt2-nano b2 q14 bf16"},
    {4, PHASE_MODEL, 0, "loss", "gpt2-nano b2 q14 loss"},
    {4, PHASE_MODEL, 0, "gradient of every parameter", "gpt2-nano b2 q14 grad"},
};

// ---- The list ---------------------------------------------------------------------------------------------------------

typedef struct { phase_row *rows; int n; } list;

static void add(list *l, int phase, phase_kind kind, const char *what, const char *text) {
    phase_row *r = &l->rows[l->n++];
    *r = (phase_row){.phase = phase, .kind = kind};
    snprintf(r->what, sizeof r->what, "%s", what);
    snprintf(r->text, sizeof r->text, "%s", text);
}

static const struct { const char *name, *word; } features[] = {
    {"GQA", "h4/2"}, {"window", "window:7"}, {"sink", "sink"}, {"softcap", "softcap:5"}, {"alibi", "alibi"}, {"bias", "bias"},
    {"documents", "docs"}, {"padding", "pad:left"}, {"dropout", "dropout:0.2"}, {"offset", "offset:top"},
};
enum { FEATURES = sizeof features / sizeof *features };

// The base problem with those features (bits).
static void combine(char text[160], unsigned with) {
    size_t n = (size_t)snprintf(text, 160, "b2 %s q37 k45 d16 causal", with & 1 ? features[0].word : "h4");
    for (int i = 1; i < FEATURES; i++)
        if (with >> i & 1) n += (size_t)snprintf(text + n, 160 - n, " %s", features[i].word);
}

static void add_combination(list *l, const char *what, unsigned with) {
    char text[160], name[64];
    combine(text, with);
    add(l, 2, PHASE_ATTENTION, what, text);
    snprintf(text + strlen(text), sizeof text - strlen(text), " grad");
    snprintf(name, sizeof name, "%.40s, gradients", what);
    add(l, 2, PHASE_GRADIENT, name, text);
}

static void add_combinations(list *l) {
    char what[64];
    for (int i = 0; i < FEATURES; i++)
        for (int j = i + 1; j < FEATURES; j++) {
            snprintf(what, sizeof what, "%s and %s", features[i].name, features[j].name);
            add_combination(l, what, 1u << i | 1u << j);
        }
    add_combination(l, "all of them", (1u << FEATURES) - 1);
}

// Sizes around tiles: of rows, of keys, of channels.
static void add_sizes(list *l) {
    static const int sizes[] = {15, 16, 17, 47, 48, 49, 63, 64, 65, 95, 97, 128, 129, 255, 257}, channels[] = {1, 7, 33, 80, 128};
    char what[64], text[128];
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        snprintf(what, sizeof what, "%d rows, %d keys", sizes[i] < 100 ? sizes[i] : 3, sizes[i]);
        snprintf(text, sizeof text, "b1 h1 q%d k%d d16 causal", sizes[i] < 100 ? sizes[i] : 3, sizes[i]);
        add(l, 3, PHASE_ATTENTION, what, text);
    }
    for (size_t i = 0; i < sizeof channels / sizeof *channels; i++) {
        snprintf(what, sizeof what, "%d channels", channels[i]);
        snprintf(text, sizeof text, "b1 h2 q19 d%d causal", channels[i]);
        add(l, 3, PHASE_ATTENTION, what, text);
    }
    add(l, 3, PHASE_GRADIENT, "gradients of empty rows", "b2 h2 q30 d16 causal pad:left offset:top grad");
    add(l, 3, PHASE_GRADIENT, "gradients, bf16", "b1 h4/2 q70 d64 bf16 causal window:31 grad");
    add(l, 3, PHASE_GRADIENT, "gradients, around tiles", "b1 h2 q65 k129 d33 causal grad");
}

int phase_rows(phase_row rows[PHASE_ROWS_MOST]) {
    list l = {rows, 0};
    for (size_t i = 0; i < sizeof components / sizeof *components; i++) rows[l.n++] = components[i];
    add_combinations(&l);
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++) rows[l.n++] = edges[i];
    add_sizes(&l);
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) rows[l.n++] = models[i];
    return l.n;
}

// ---- One row ----------------------------------------------------------------------------------------------------------

static void write_rows(const drawn *d, int which, const void *array, double (*value)(int64_t token, int64_t channel, double)) {
    const problem_array a = problem_array_of(&d->problem, which);
    for (int64_t b = 0; b < d->problem.batch; b++)
        for (int64_t h = 0; h < a.heads; h++)
            for (int64_t t = 0; t < a.tokens; t++) {
                void *row = row_at_mut(a.dtype, (void *)(uintptr_t)array, a.stride, b, h, t);
                for (int64_t c = 0; c < a.channels; c++)
                    dtype_store(a.dtype, row, c, (float)value(t, c, (double)dtype_load(a.dtype, row, c)));
            }
}

static double zero(int64_t token, int64_t channel, double x) { return 0; }
static double one(int64_t token, int64_t channel, double x) { return 1; }
static double identity(int64_t token, int64_t channel, double x) { return token == channel; }
static double huge(int64_t token, int64_t channel, double x) { return 100 * x; }
static double alike(int64_t token, int64_t channel, double x) { return 0.1 + 0.01 * (double)channel; }

static void fill(drawn *d, unsigned how) {
    const heed_args *a = &d->args;
    if (how & FILL_ZERO_Q) write_rows(d, PROBLEM_Q, a->q, zero);
    if (how & FILL_IDENTITY_V) write_rows(d, PROBLEM_V, a->v, identity);
    if (how & FILL_ONE_V) write_rows(d, PROBLEM_V, a->v, one);
    if (how & FILL_HUGE) write_rows(d, PROBLEM_Q, a->q, huge);
    if (how & FILL_CONSTANT) write_rows(d, PROBLEM_K, a->k, alike);
    if (how & FILL_CONSTANT) write_rows(d, PROBLEM_Q, a->q, alike);
    if (how & FILL_POISON) drawn_poison(d);
}

// The quick look passes or not; only what does not pass is worth a verdict.
static heed_status judge(phase_result *r, const call *c, const call_results *seen, const phase_subject *s, heed_error *error) {
    const observed b = {.out = seen->of.out, .lse = seen->of.lse};
    findings *f = calloc(1, sizeof *f);
    if (f == NULL) return error_set(error, HEED_NO_MEMORY, "out of memory");
    heed_status status = search_formulas(f, c, &b, false, s->threads, error);
    const bool passes = status == HEED_OK && f->inside && f->n_explained == 0 && f->claim.apart == 0;
    free(f);
    if (status != HEED_OK || passes) return status;
    call_results right;
    const heed_choice choice = {.implementation = "ref", .threads = s->threads};
    status = call_run(&right, c, &choice, NULL, error);
    if (status != HEED_OK) return status;
    const observed a = {.out = right.of.out, .lse = right.of.lse};
    status = verdict_reach(&r->v, c, &a, &b, NULL, s->threads, error);
    call_results_free(&right);
    r->judged = true;
    r->outcome = r->v.kind <= VERDICT_ROUNDING ? PHASE_PASS : PHASE_FAIL;
    return status;
}

static heed_status run_attention(phase_result *r, const phase_row *row, const phase_subject *s, heed_error *error) {
    problem_line line;
    drawn d = {.blocks = 0};
    call c = {.memory = NULL};
    call_results seen = {.memory = NULL};
    heed_status status = problem_claim_parse(&line, row->text, error);
    if (status != HEED_OK) return status;
    line.seed = s->seed;
    status = drawn_make(&d, &line, error);
    if (status == HEED_OK) {
        fill(&d, row->fill);
        status = call_of_drawn(&c, &d, error);
    }
    const heed_choice choice = {.implementation = s->side.implementation, .cpu = s->cpu, .threads = s->threads};
    if (status == HEED_OK) status = call_run(&seen, &c, &choice, s->side.preset, error);
    if (status == HEED_OK) status = judge(r, &c, &seen, s, error);
    call_results_free(&seen);
    call_free(&c);
    drawn_free(&d);
    return status;
}

static heed_status run_gradient(phase_result *r, const phase_row *row, const phase_subject *s, heed_error *error) {
    problem_line line;
    check_case k;
    check_report report;
    heed_status status = problem_line_parse(&line, row->text, error);
    if (status != HEED_OK) return status;
    line.seed = s->seed;
    status = check_begin(&k, &line, false, error);
    const heed_choice choice = {.implementation = s->side.implementation, .cpu = s->cpu, .threads = s->threads};
    if (status == HEED_OK) status = check_run(&k, &choice, &report, error);
    check_end(&k);
    if (status != HEED_OK || report.pass) return status;
    r->outcome = PHASE_FAIL;
    for (int i = report.outputs - 1; i >= 0; i--)
        if (!report.output[i].pass)
            snprintf(r->sentence, sizeof r->sentence, "%s is wrong by %.3g; at most %.3g is rounding", report.output[i].name,
                     report.output[i].error, report.output[i].bound);
    if (r->sentence[0] == 0) snprintf(r->sentence, sizeof r->sentence, "memory outside of an array was written");
    return HEED_OK;
}

heed_status phase_run(phase_result *r, const phase_row *row, const phase_subject *s, heed_error *error) {
    *r = (phase_result){.outcome = PHASE_PASS};
    heed_status status = HEED_OK;
    switch (row->kind) {
    case PHASE_ATTENTION: status = run_attention(r, row, s, error); break;
    case PHASE_GRADIENT: status = run_gradient(r, row, s, error); break;
    case PHASE_LINEAR: status = phase_run_linear(r, row, s, error); break;
    case PHASE_MODEL: status = phase_run_model(r, row, s, error); break;
    }
    if (status != HEED_REFUSED) return status;
    r->outcome = PHASE_REFUSED;
    snprintf(r->sentence, sizeof r->sentence, "%s", error->text);
    return HEED_OK;
}
