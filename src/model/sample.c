// SPDX-License-Identifier: Apache-2.0
#include "model/sample.h"

#include "base/memory.h"
#include "nn/softmax.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const sample_options sample_greedy = {.greedy = true, .repetition_penalty = 1, .temperature = 1, .top_p = 1};

typedef struct { float value, weight; } candidate;

struct sampler {
    sample_options options;
    const engine *engine;
    int64_t vocabulary;
    float *probability;            // (vocabulary)
    candidate *order;              // as many
    uint8_t *penalised;            // all 0 between calls
};

heed_status sampler_create(sampler **out, const engine *e, const sample_options *o, int64_t vocabulary, heed_error *error) {
    *out = NULL;
    sampler *s = calloc(1, sizeof *s);
    if (s != NULL) {
        *s = (sampler){.options = *o, .engine = e, .vocabulary = vocabulary};
        s->probability = memory_take(size_mul((size_t)vocabulary, sizeof(float)));
        s->order = memory_take(size_mul((size_t)vocabulary, sizeof(candidate)));
        s->penalised = calloc((size_t)vocabulary, 1);
    }
    if (s == NULL || s->probability == NULL || s->order == NULL || s->penalised == NULL) {
        sampler_free(s);
        return error_set(error, HEED_NO_MEMORY, "no memory to sample from %lld tokens", (long long)vocabulary);
    }
    *out = s;
    return HEED_OK;
}

void sampler_free(sampler *s) {
    if (s == NULL) return;
    memory_free(s->probability);
    memory_free(s->order);
    free(s->penalised);
    free(s);
}

// ---- Processors -------------------------------------------------------------------------------------------------------

static void penalise(sampler *s, const int32_t *seen, int64_t n, float *x) {
    const float penalty = (float)s->options.repetition_penalty;
    if (penalty == 1.0f) return;
    for (int64_t i = 0; i < n; i++) {    // once, however often it was seen
        const int32_t id = seen[i];
        if (s->penalised[id]) continue;
        s->penalised[id] = 1;
        x[id] = x[id] < 0 ? x[id] * penalty : x[id] / penalty;
    }
    for (int64_t i = 0; i < n; i++) s->penalised[seen[i]] = 0;
}

static void drop_below(int64_t n, float *x, const float *by, float least) {
    for (int64_t i = 0; i < n; i++)
        if (by[i] < least) x[i] = -INFINITY;
}

// ---- The edge of what is kept ---------------------------------------------------------------------------------------------

static float middle(float a, float b, float c) { return a < b ? (b < c ? b : a < c ? c : a) : (a < c ? a : b < c ? c : b); }

// x becomes what is above the pivot, then what equals it, then the rest; *equal and *rest: where the last two begin.
static void part(candidate *x, int64_t n, int64_t *equal, int64_t *rest) {
    const float pivot = middle(x[0].value, x[n / 2].value, x[n - 1].value);
    int64_t above = 0, at = 0, end = n;
    while (at < end) {
        const candidate one = x[at];
        if (one.value > pivot) x[at++] = x[above], x[above++] = one;
        else if (one.value < pivot) x[at] = x[--end], x[end] = one;
        else at++;
    }
    *equal = above;
    *rest = end;
}

static double weight_of(const candidate *x, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)x[i].weight;
    return sum;
}

// The largest value whose equals and betters together weigh `mass`, by quickselect (Hoare 1961); x is reordered. *equals: how
// many of the equals it takes.
static float select_edge(candidate *x, int64_t n, double mass, int64_t *equals) {
    for (;;) {
        int64_t equal, rest;
        part(x, n, &equal, &rest);
        const double above = weight_of(x, equal), one = (double)x[equal].weight, same = (double)(rest - equal);
        if (equal > 0 && above >= mass) {
            n = equal;
        } else if (rest == n || above + one * same >= mass) {
            const double wanted = one > 0 ? ceil((mass - above) / one) : 1;
            *equals = (int64_t)fmin(fmax(wanted, 1), same);
            return x[equal].value;
        } else {
            mass -= above + one * same;
            x += rest, n -= rest;
        }
    }
}

// What all of at least `least` weigh; weight NULL: 1 each.
static double weight_from(int64_t n, const float *x, const float *weight, float least) {
    if (weight == NULL) {
        int32_t count = 0;
        for (int64_t i = 0; i < n; i++) count += x[i] >= least;
        return count;
    }
    double sum[4] = {0};    // four chains: an addition waits for the one before it
    int64_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (int j = 0; j < 4; j++) sum[j] += x[i + j] >= least ? (double)weight[i + j] : 0;
    for (; i < n; i++) sum[0] += x[i] >= least ? (double)weight[i] : 0;
    return sum[0] + sum[1] + (sum[2] + sum[3]);
}

enum { HALVINGS = 14 };

// The edge among all logits. Halving the range of values first, by passes without surprises, leaves few candidates: ten times
// faster than selecting among 50,000.
static float find_edge(const sampler *s, const float *x, const float *weight, double mass, int64_t *equals) {
    const int64_t n = s->vocabulary;
    float low = INFINITY, high = -INFINITY;
    for (int64_t i = 0; i < n; i++) {
        high = x[i] > high ? x[i] : high;
        if (x[i] > -INFINITY && x[i] < low) low = x[i];
    }
    for (int i = 0; i < HALVINGS; i++) {
        const float half = low + (high - low) / 2;
        if (weight_from(n, x, weight, half) >= mass) low = half;
        else high = half;
    }
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++)
        if (x[i] >= low) s->order[count++] = (candidate){x[i], weight == NULL ? 1.0f : weight[i]};
    return select_edge(s->order, count, mass, equals);
}

// ---- Processors, the rest -------------------------------------------------------------------------------------------------

static void find_probabilities(const sampler *s, const float *x) {
    softmax_forward(s->engine, s->vocabulary, x, s->probability);
}

static void keep_top_k(const sampler *s, float *x) {
    if (s->options.top_k == 0 || s->options.top_k >= s->vocabulary) return;
    int64_t equals;
    drop_below(s->vocabulary, x, x, find_edge(s, x, NULL, (double)s->options.top_k, &equals));
}

// A token stays while those above it have less than top_p together; of equals, the lowest ids.
static void keep_top_p(const sampler *s, float *x) {
    if (s->options.top_p >= 1) return;
    const int64_t n = s->vocabulary;
    find_probabilities(s, x);
    int64_t equals;
    const double all = weight_from(n, x, s->probability, -INFINITY);
    const float least = find_edge(s, x, s->probability, s->options.top_p * all, &equals);
    for (int64_t i = 0; i < n; i++)
        if (x[i] == least && equals-- <= 0) x[i] = -INFINITY;
    drop_below(n, x, x, least);
}

static void keep_min_p(const sampler *s, float *x) {
    if (s->options.min_p <= 0) return;
    find_probabilities(s, x);
    float most = 0;
    for (int64_t i = 0; i < s->vocabulary; i++) most = s->probability[i] > most ? s->probability[i] : most;
    drop_below(s->vocabulary, x, s->probability, (float)s->options.min_p * most);
}

void sample_process(sampler *s, const int32_t *seen, int64_t n_seen, float *x) {
    penalise(s, seen, n_seen, x);
    if (s->options.greedy) return;
    const float temperature = (float)s->options.temperature;
    if (temperature != 1.0f)
        for (int64_t i = 0; i < s->vocabulary; i++) x[i] /= temperature;
    keep_top_k(s, x);
    keep_top_p(s, x);
    keep_min_p(s, x);
}

// ---- The draw ---------------------------------------------------------------------------------------------------------

static int32_t largest(int64_t n, const float *x) {
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return (int32_t)best;
}

int32_t sample(sampler *s, const int32_t *seen, int64_t n_seen, float *x, random_stream *stream) {
    sample_process(s, seen, n_seen, x);
    if (s->options.greedy) return largest(s->vocabulary, x);
    find_probabilities(s, x);
    const float *p = s->probability;
    double left = random_unit(stream) * weight_from(s->vocabulary, p, p, 0);
    int64_t last = largest(s->vocabulary, p);
    for (int64_t i = 0; i < s->vocabulary; i++) {
        if (!(p[i] > 0)) continue;
        last = i;    // rounding may leave a little at the end: the last possible token takes it
        left -= (double)p[i];
        if (left < 0) break;
    }
    return (int32_t)last;
}
