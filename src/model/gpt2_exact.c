// SPDX-License-Identifier: Apache-2.0
// The standard deviations are first-order: a sum of n products in f32 walks at random by u sqrt(n / 6) of their root sum of
// squares, a rounding to a unit u is uniform and so u / sqrt(3).
#include "model/gpt2_exact.h"

#include "base/error.h"
#include "base/memory.h"
#include "model/model_state.h"
#include "nn/reference.h"

#include <math.h>

typedef struct {
    const model *m;
    const exact_batch *batch;
    const exact_units *u;
    int64_t tokens, width, inner, heads, channels;
    double *out, *error, *squares;    // squares: of products; `error` itself where that is wanted, else one row of scratch
} work;

static double square(double x) { return x * x; }

static void note(const work *w, int64_t at, double variance) {
    if (w->error != NULL) w->error[at] = sqrt(variance + square(w->u->result * w->out[at]) / 3);
}

// ---- Layers -----------------------------------------------------------------------------------------------------------

// y = tokens[id] + positions[column]
static void embed(const work *w) {
    const float *tokens = w->m->parameters[P_TOKENS].value, *positions = w->m->parameters[P_POSITIONS].value;
    for (int64_t t = 0; t < w->tokens; t++)
        for (int64_t c = 0; c < w->width; c++) {
            const double a = (double)tokens[w->batch->id[t] * w->width + c];
            const double b = (double)positions[t % w->batch->length * w->width + c];
            w->out[t * w->width + c] = a + b;
            note(w, t * w->width + c, square(w->u->weight) * (a * a + b * b) / 3);
        }
}

static void normalize(const work *w, const parameter *p, const double *x) {
    const int64_t n = w->width;
    for (int64_t t = 0; t < w->tokens; t++, x += n) {
        double mean = 0, squares = 0;
        for (int64_t c = 0; c < n; c++) mean += x[c] / (double)n;
        for (int64_t c = 0; c < n; c++) squares += square(x[c] - mean);
        const double rstd = 1 / sqrt(squares / (double)n + w->m->config.epsilon);
        for (int64_t c = 0; c < n; c++) {
            const double weight = (double)p[0].value[c], bias = (double)p[1].value[c], h = (x[c] - mean) * rstd;
            w->out[t * n + c] = h * weight + bias;
            note(w, t * n + c, square(w->u->inside * weight * rstd) * (square(x[c]) + square(mean) + square(x[c] - mean)) +
                               square(w->u->weight) * (square(h * weight) + square(bias)) / 3);
        }
    }
}

// y = x . W + bias, where element (i, j) of W is at w[i * step_in + j * step_out]: W is read in the order it lies.
typedef struct { const float *w, *bias; int64_t in, out, step_in, step_out; } product;

// Sums of the terms and of their squares.
static void multiply_row(const product *p, const double *x, double *y, double *squares) {
    for (int64_t j = 0; j < p->out; j++) y[j] = squares[j] = 0;
    for (int64_t i = 0; i < p->in && p->step_out == 1; i++)
        for (int64_t j = 0; j < p->out; j++) {
            const double term = x[i] * (double)p->w[i * p->step_in + j];
            y[j] += term;
            squares[j] += term * term;
        }
    for (int64_t j = 0; j < p->out && p->step_out != 1; j++)
        for (int64_t i = 0; i < p->in; i++) {
            const double term = x[i] * (double)p->w[j * p->step_out + i];
            y[j] += term;
            squares[j] += term * term;
        }
}

static void multiply(const work *w, const product *p, const double *x) {
    const double of_sum = square(w->u->inside) * (double)p->in / 6 + square(w->u->weight) / 3;
    for (int64_t t = 0; t < w->tokens; t++) {
        double *y = w->out + t * p->out, *squares = w->squares + (w->error != NULL ? t * p->out : 0);
        multiply_row(p, x + t * p->in, y, squares);
        for (int64_t j = 0; j < p->out; j++) {
            const double bias = p->bias == NULL ? 0 : (double)p->bias[j];
            y[j] += bias;
            note(w, t * p->out + j, of_sum * squares[j] + square(w->u->weight * bias) / 3);
        }
    }
}

static void linear(const work *w, const parameter *p, int64_t in, int64_t all, int64_t first, int64_t out, const double *x) {
    multiply(w, &(product){p[0].value + first, p[1].value + first, in, out, all, 1}, x);
}

static void activate(const work *w, const double *x) {
    for (int64_t i = 0; i < w->tokens * w->inner; i++) {
        w->out[i] = reference_gelu(x[i]);
        note(w, i, square(w->u->result * (fabs(x[i]) + fabs(w->out[i]))));    // plain code rounds x^3, tanh and products
    }
}

static void add(const work *w, const double *x, const double *y) {
    for (int64_t i = 0; i < w->tokens * w->width; i++) {
        w->out[i] = x[i] + y[i];
        note(w, i, 0);
    }
}

// ---- Attention --------------------------------------------------------------------------------------------------------

static void score(const work *w, const double *q, const double *k) {
    const int64_t S = w->batch->length, D = w->channels;
    const double scale = 1 / sqrt((double)D);
    for (int64_t row = 0; row < w->tokens * w->heads; row++) {
        const int64_t i = row % S, h = row / S % w->heads, b = row / S / w->heads;
        for (int64_t j = 0; j < S; j++) {
            double sum = 0, squares = 0;
            for (int64_t c = 0; c < D && j <= i; c++) {
                const double term = q[(b * S + i) * w->width + h * D + c] * k[(b * S + j) * w->width + h * D + c] * scale;
                sum += term;
                squares += term * term;
            }
            w->out[row * S + j] = sum;
            note(w, row * S + j, square(w->u->inside) * (double)D / 6 * squares);
        }
    }
}

static void soften(const work *w, const double *x) {
    const int64_t S = w->batch->length;
    for (int64_t row = 0; row < w->tokens * w->heads; row++, x += S) {
        const int64_t i = row % S;
        double most = -INFINITY, sum = 0;
        for (int64_t j = 0; j <= i; j++) most = fmax(most, x[j]);
        for (int64_t j = 0; j <= i; j++) sum += exp(x[j] - most);
        for (int64_t j = 0; j < S; j++) {
            w->out[row * S + j] = j <= i ? exp(x[j] - most) / sum : 0;
            note(w, row * S + j, square(w->u->inside * w->out[row * S + j]) * (4 + square(x[j] - most)));
        }
    }
}

static void attend(const work *w, const double *p, const double *v) {
    const int64_t S = w->batch->length, D = w->channels;
    for (int64_t row = 0; row < w->tokens * w->heads; row++) {
        const int64_t i = row % S, h = row / S % w->heads, b = row / S / w->heads;
        for (int64_t c = 0; c < D; c++) {
            double sum = 0, squares = 0;
            for (int64_t j = 0; j <= i; j++) {
                const double term = p[row * S + j] * v[(b * S + j) * w->width + h * D + c];
                sum += term;
                squares += term * term;
            }
            const int64_t at = (b * S + i) * w->width + h * D + c;
            w->out[at] = sum;
            note(w, at, (square(w->u->inside) * (double)S / 6 + square(w->u->result) / 3) * squares);
        }
    }
}

// ---- One component ----------------------------------------------------------------------------------------------------

void exact_compute(const model *m, const exact_batch *b, exact_component component, int64_t layer, const exact_state *in,
                   const exact_units *u, double *out, double *error, double *row) {
    const model_config *c = &m->config;
    const work w = {m, b, u, b->rows * b->length, c->width, c->inner, c->heads, c->width / c->heads, out, error,
                    error != NULL ? error : row};
    const parameter *p = block_parameter(m, layer < 0 ? 0 : layer, 0);
    const int64_t C = c->width, I = c->inner;
    double *const *x = in->of;
    switch (component) {
    case EXACT_EMBEDDING: embed(&w); break;
    case EXACT_NORM_1: normalize(&w, &p[B_NORM1_W], x[EXACT_OUT]); break;
    case EXACT_Q: linear(&w, &p[B_QKV_W], C, 3 * C, 0, C, x[EXACT_NORM_1]); break;
    case EXACT_K: linear(&w, &p[B_QKV_W], C, 3 * C, C, C, x[EXACT_NORM_1]); break;
    case EXACT_V: linear(&w, &p[B_QKV_W], C, 3 * C, 2 * C, C, x[EXACT_NORM_1]); break;
    case EXACT_SCORES: score(&w, x[EXACT_Q], x[EXACT_K]); break;
    case EXACT_WEIGHTS: soften(&w, x[EXACT_SCORES]); break;
    case EXACT_ATTENTION: attend(&w, x[EXACT_WEIGHTS], x[EXACT_V]); break;
    case EXACT_PROJECTION: linear(&w, &p[B_PROJ_W], C, C, 0, C, x[EXACT_ATTENTION]); break;
    case EXACT_MID: add(&w, x[EXACT_OUT], x[EXACT_PROJECTION]); break;
    case EXACT_NORM_2: normalize(&w, &p[B_NORM2_W], x[EXACT_MID]); break;
    case EXACT_MLP_IN: linear(&w, &p[B_FC_W], C, I, 0, I, x[EXACT_NORM_2]); break;
    case EXACT_ACTIVATION: activate(&w, x[EXACT_MLP_IN]); break;
    case EXACT_MLP_OUT: linear(&w, &p[B_MLP_W], I, C, 0, C, x[EXACT_ACTIVATION]); break;
    case EXACT_OUT: add(&w, x[EXACT_MID], x[EXACT_MLP_OUT]); break;
    case EXACT_FINAL_NORM: normalize(&w, final_parameter(m, 0), x[EXACT_OUT]); break;
    case EXACT_LOGITS: multiply(&w, &(product){m->parameters[P_TOKENS].value, NULL, C, c->vocabulary, 1, C},
                                x[EXACT_FINAL_NORM]); break;
    case EXACT_COMPONENTS: break;
    }
}

const exact_component *exact_inputs(exact_component component) {
    static const exact_component of[EXACT_COMPONENTS][3] = {
        [EXACT_EMBEDDING] = {EXACT_COMPONENTS},
        [EXACT_NORM_1] = {EXACT_OUT, EXACT_COMPONENTS},
        [EXACT_Q] = {EXACT_NORM_1, EXACT_COMPONENTS},
        [EXACT_K] = {EXACT_NORM_1, EXACT_COMPONENTS},
        [EXACT_V] = {EXACT_NORM_1, EXACT_COMPONENTS},
        [EXACT_SCORES] = {EXACT_Q, EXACT_K, EXACT_COMPONENTS},
        [EXACT_WEIGHTS] = {EXACT_SCORES, EXACT_COMPONENTS},
        [EXACT_ATTENTION] = {EXACT_WEIGHTS, EXACT_V, EXACT_COMPONENTS},
        [EXACT_PROJECTION] = {EXACT_ATTENTION, EXACT_COMPONENTS},
        [EXACT_MID] = {EXACT_OUT, EXACT_PROJECTION, EXACT_COMPONENTS},
        [EXACT_NORM_2] = {EXACT_MID, EXACT_COMPONENTS},
        [EXACT_MLP_IN] = {EXACT_NORM_2, EXACT_COMPONENTS},
        [EXACT_ACTIVATION] = {EXACT_MLP_IN, EXACT_COMPONENTS},
        [EXACT_MLP_OUT] = {EXACT_ACTIVATION, EXACT_COMPONENTS},
        [EXACT_OUT] = {EXACT_MID, EXACT_MLP_OUT, EXACT_COMPONENTS},
        [EXACT_FINAL_NORM] = {EXACT_OUT, EXACT_COMPONENTS},
        [EXACT_LOGITS] = {EXACT_FINAL_NORM, EXACT_COMPONENTS},
    };
    return of[component];
}

int64_t exact_width(const model *m, const exact_batch *b, exact_component component) {
    if (component == EXACT_SCORES || component == EXACT_WEIGHTS) return b->length;
    if (component == EXACT_MLP_IN || component == EXACT_ACTIVATION) return m->config.inner;
    return component == EXACT_LOGITS ? m->config.vocabulary : m->config.width;
}

int64_t exact_size(const model *m, const exact_batch *b, exact_component component) {
    const bool grid = component == EXACT_SCORES || component == EXACT_WEIGHTS;
    return b->rows * b->length * (grid ? m->config.heads : 1) * exact_width(m, b, component);
}

heed_status exact_state_make(exact_state *s, const model *m, const exact_batch *b, heed_error *error) {
    *s = (exact_state){{NULL}};
    for (int i = 0; i < EXACT_COMPONENTS; i++) {
        s->of[i] = memory_take_zeroed(size_mul((size_t)exact_size(m, b, (exact_component)i), sizeof(double)));
        if (s->of[i] == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for a model's activations in double");
    }
    return HEED_OK;
}

void exact_state_free(exact_state *s) {
    for (int i = 0; i < EXACT_COMPONENTS; i++) memory_free(s->of[i]);
    *s = (exact_state){{NULL}};
}

double exact_loss(const model *m, const exact_batch *b, const double *logits, const int32_t *target) {
    return reference_cross_entropy(b->rows * b->length, m->config.vocabulary, logits, target, NULL);
}
