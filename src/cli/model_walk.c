// SPDX-License-Identifier: Apache-2.0
#include "cli/model_walk.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/random.h"

const char *const walk_components[EXACT_COMPONENTS] = {
    "embedding", "norm_1", "q", "k", "v", "scores", "weights", "attention", "projection", "mid", "norm_2", "mlp_in", "activation",
    "mlp_out", "out", "final_norm", "logits",
};

// What transformers gives stays below an rms of 1 and a peak of 3.3 where all arrays are captured (f32, bf16, f16; eager, sdpa).
// Noise that was carried through components with a steep softmax has a long tail; there the bounds are wider.
static const double rms_allowed = 3, peak_allowed = 8, carried_factor = 3;

enum { NOISE_DRAWS = 4 };    // one alone is small by chance in some row of a hundred

typedef struct {
    const model *a;
    const exact_batch *batch;
    const walk_side *b;
    walk_findings *found;
    exact_state value, noise, shaken;      // what the other side's next component reads; how exactly that is known; scratch
    bool noisy[EXACT_COMPONENTS];
    double *right, *error, *seen, *again, *row;    // of the component at hand
    random_stream random;
    bool wants_attention;
} walk;

void walk_name(const walk_step *s, char *text, size_t bytes) {
    if (s->layer < 0) snprintf(text, bytes, "%s", walk_components[s->component]);
    else snprintf(text, bytes, "%s of layer %lld", walk_components[s->component], (long long)s->layer);
}

// ---- What is not known exactly ----------------------------------------------------------------------------------------

static bool reads_noise(const walk *w, exact_component c) {
    bool any = false;
    for (const exact_component *in = exact_inputs(c); *in != EXACT_COMPONENTS; in++) any |= w->noisy[*in];
    return any;
}

// The component once more, with inputs drawn from their noise.
static void compute_shaken(walk *w, exact_component c, int64_t layer) {
    exact_state in = w->value;
    for (const exact_component *at = exact_inputs(c); *at != EXACT_COMPONENTS; at++) {
        const int64_t n = exact_size(w->a, w->batch, *at);
        in.of[*at] = w->shaken.of[*at];
        for (int64_t i = 0; i < n; i++)
            in.of[*at][i] = w->value.of[*at][i] + (w->noisy[*at] ? w->noise.of[*at][i] * random_normal(&w->random) : 0);
    }
    exact_compute(w->a, w->batch, c, layer, &in, &w->b->units, w->again, NULL, w->row);
}

// Adds to `error` what the noise of the inputs makes of the result: the root mean square, in each row, of some draws.
static void carry_noise(walk *w, exact_component c, int64_t layer) {
    const int64_t n = exact_size(w->a, w->batch, c), width = exact_width(w->a, w->batch, c);
    for (int draw = 0; draw < NOISE_DRAWS; draw++) {
        compute_shaken(w, c, layer);
        for (int64_t first = 0; first < n; first += width) {
            double squares = 0;
            for (int64_t i = first; i < first + width; i++) squares += (w->again[i] - w->right[i]) * (w->again[i] - w->right[i]);
            const double mean = squares / (double)width / NOISE_DRAWS;
            for (int64_t i = first; i < first + width; i++) w->error[i] = sqrt(w->error[i] * w->error[i] + mean);
        }
    }
}

// ---- One component ----------------------------------------------------------------------------------------------------

// Of a row of scores and weights only the keys that its query sees count.
static int64_t counted(const walk *w, exact_component c, int64_t row, int64_t width) {
    return c == EXACT_SCORES || c == EXACT_WEIGHTS ? row % w->batch->length + 1 : width;
}

static void judge(const walk *w, walk_step *s, double factor) {
    const int64_t width = exact_width(w->a, w->batch, s->component), rows = exact_size(w->a, w->batch, s->component) / width;
    double all = 0;
    s->equal = s->finite = true;
    for (int64_t row = 0; row < rows; row++) {
        const int64_t first = row * width, n = counted(w, s->component, row, width);
        double squares = 0, expected = 0;
        for (int64_t i = first; i < first + n; i++) {
            const double d = fabs(w->seen[i] - w->right[i]);
            if (isfinite(w->seen[i]) != isfinite(w->right[i])) s->finite = false;
            if (!isfinite(d)) continue;
            squares += d * d;
            expected += w->error[i] * w->error[i];
            if (d > s->largest) s->largest = d, s->row = row;
        }
        s->equal &= squares == 0;
        const double z = squares == 0 ? 0 : squares / expected;
        all += z / (double)rows;
        s->peak = fmax(s->peak, sqrt(z));
    }
    s->equal &= s->finite;
    s->rms = sqrt(all);
    s->inside = s->finite && s->rms <= factor * rms_allowed && s->peak <= factor * peak_allowed;
}

static heed_status copy(double **to, const double *from, int64_t n, heed_error *error) {
    memory_free(*to);
    *to = memory_take(size_mul((size_t)n, sizeof(double)));
    if (*to == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for a layer's attention");
    memcpy(*to, from, (size_t)n * sizeof(double));
    return HEED_OK;
}

static heed_status keep_attention(walk *w, int64_t layer, heed_error *error) {
    walk_findings *f = w->found;
    const int64_t n = exact_size(w->a, w->batch, EXACT_Q);
    heed_status status = copy(&f->q, w->value.of[EXACT_Q], n, error);
    if (status == HEED_OK) status = copy(&f->k, w->value.of[EXACT_K], n, error);
    if (status == HEED_OK) status = copy(&f->v, w->value.of[EXACT_V], n, error);
    if (status == HEED_OK) status = copy(&f->attention, w->seen, n, error);
    f->attention_layer = layer;
    w->wants_attention = false;
    return status;
}

static heed_status step(walk *w, exact_component c, int64_t layer, heed_error *error) {
    walk_findings *f = w->found;
    walk_step *s = &f->step[f->n++];
    *s = (walk_step){.component = c, .layer = layer};
    const int64_t n = exact_size(w->a, w->batch, c);
    exact_units u = w->b->units;
    s->known = w->b->give(w->b->context, c, layer, &w->value, w->seen, &u.result);
    exact_compute(w->a, w->batch, c, layer, &w->value, &u, w->right, w->error, w->row);
    const bool noisy = reads_noise(w, c);
    if (noisy) carry_noise(w, c, layer);
    if (s->known) {
        judge(w, s, noisy ? carried_factor : 1);
        f->known++;
        f->equal &= s->equal;
        if (!s->inside && f->first < 0) f->first = f->n - 1;
        const bool of_attention = c == EXACT_SCORES || c == EXACT_WEIGHTS || c == EXACT_ATTENTION;
        w->wants_attention |= of_attention && !s->inside && f->attention == NULL;
    }
    const bool exact = s->known && w->b->recorded;
    heed_status status = HEED_OK;
    if (c == EXACT_ATTENTION && w->wants_attention && s->known) status = keep_attention(w, layer, error);
    memcpy(w->value.of[c], exact ? w->seen : w->right, (size_t)n * sizeof(double));
    memcpy(w->noise.of[c], w->error, (size_t)n * sizeof(double));
    w->noisy[c] = w->b->recorded && !exact;
    if (c == EXACT_EMBEDDING) {    // what the first block reads
        memcpy(w->value.of[EXACT_OUT], w->value.of[c], (size_t)n * sizeof(double));
        memcpy(w->noise.of[EXACT_OUT], w->noise.of[c], (size_t)n * sizeof(double));
        w->noisy[EXACT_OUT] = w->noisy[c];
    }
    return status;
}

static heed_status walk_all(walk *w, heed_error *error) {
    const int64_t layers = model_config_of(w->a)->layers;
    heed_status status = step(w, EXACT_EMBEDDING, -1, error);
    for (int64_t layer = 0; layer < layers; layer++)
        for (int c = EXACT_NORM_1; c <= EXACT_OUT && status == HEED_OK; c++)
            status = step(w, (exact_component)c, layer, error);
    if (status == HEED_OK) status = step(w, EXACT_FINAL_NORM, -1, error);
    if (status == HEED_OK) status = step(w, EXACT_LOGITS, -1, error);
    return status;
}

static heed_status take(walk *w, heed_error *error) {
    int64_t most = 0;
    for (int c = 0; c < EXACT_COMPONENTS; c++) most = int64_max(most, exact_size(w->a, w->batch, (exact_component)c));
    double **const arrays[] = {&w->right, &w->error, &w->seen, &w->again, &w->row};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        if ((*arrays[i] = memory_take(size_mul((size_t)most, sizeof(double)))) == NULL)
            return error_set(error, HEED_NO_MEMORY, "no memory for a walk through two models");
    const int64_t steps = model_config_of(w->a)->layers * (EXACT_OUT - EXACT_NORM_1 + 1) + 3;
    w->found->step = calloc((size_t)steps, sizeof *w->found->step);
    if (w->found->step == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for a walk through two models");
    heed_status status = exact_state_make(&w->value, w->a, w->batch, error);
    if (status == HEED_OK) status = exact_state_make(&w->noise, w->a, w->batch, error);
    return status == HEED_OK ? exact_state_make(&w->shaken, w->a, w->batch, error) : status;
}

heed_status walk_models(walk_findings *f, const model *a, const exact_batch *batch, const walk_side *b, heed_error *error) {
    *f = (walk_findings){.first = -1, .equal = true};
    walk w = {.a = a, .batch = batch, .b = b, .found = f, .random = random_of(1, 0)};
    heed_status status = take(&w, error);
    if (status == HEED_OK) status = walk_all(&w, error);
    exact_state_free(&w.value);
    exact_state_free(&w.noise);
    exact_state_free(&w.shaken);
    memory_free(w.right), memory_free(w.error), memory_free(w.seen), memory_free(w.again), memory_free(w.row);
    return status;
}

void walk_free(walk_findings *f) {
    free(f->step);
    memory_free(f->q), memory_free(f->k), memory_free(f->v), memory_free(f->attention);
    *f = (walk_findings){.first = -1};
}
