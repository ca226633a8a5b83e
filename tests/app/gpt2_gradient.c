// SPDX-License-Identifier: Apache-2.0
// The gradient of a small GPT-2 against differences of its own loss along a random direction of every parameter; sums of
// gradients; and the same bits for one and two threads.
#include "gpt2_small.h"

#include "../test.h"

#include "base/dtype.h"

#include <math.h>
#include <string.h>

// As training computes it where there is dropout.
static double loss_at(model *m, const model_batch *b) {
    double loss;
    int64_t scored;
    heed_error error;
    if (m->config.dropout_residual > 0 && model_gradient(m, b, 1, &loss, &scored, &error) == HEED_OK) return loss;
    if (model_loss(m, b, &loss, &scored, &error) == HEED_OK) return loss;
    fprintf(stderr, "%s\n", error.text);
    return NAN;
}

// The loss is f32 arithmetic of some 90 nats in all: an error of 1e-5 over a step of 0.02 leaves 1e-3; the curvature as much.
static void test_differences(model *m, const model_batch *b) {
    double loss;
    int64_t scored;
    heed_error error;
    model_gradient_clear(m);
    CHECK(model_gradient(m, b, 1, &loss, &scored, &error) == HEED_OK, "%s", error.text);
    float *grads = malloc((size_t)m->elements * sizeof *grads);    // loss_at may add to m->grads
    memcpy(grads, m->grads, (size_t)m->elements * sizeof *grads);
    CHECK(scored == SMALL_TOKENS - SMALL_ROWS, "%lld tokens scored", (long long)scored);
    CHECK(loss == loss_at(m, b), "the loss of training and of evaluation differ");
    random_stream s = random_of(2, 2);
    for (int64_t i = 0; i < m->count; i++) {
        parameter *p = &m->parameters[i];
        const float *grad = grads + (p->grad - m->grads);
        const int64_t n = parameter_count(p);
        float *kept = malloc((size_t)n * sizeof *kept), *direction = malloc((size_t)n * sizeof *direction);
        memcpy(kept, p->value, (size_t)n * sizeof *kept);
        double length = 0, slope = 0, norm = 0;
        for (int64_t j = 0; j < n; j++) {
            // Half along the gradient, so that the slope is large, half at random, so that no component hides.
            direction[j] = (float)random_normal(&s);
            norm += (double)grad[j] * (double)grad[j];
        }
        for (int64_t j = 0; j < n; j++) {
            direction[j] += (float)((double)grad[j] / sqrt(norm) * sqrt((double)n));
            length += (double)direction[j] * (double)direction[j];
        }
        for (int64_t j = 0; j < n; j++) slope += (double)grad[j] * (double)direction[j] / sqrt(length);
        double at[2];
        for (int side = 0; side < 2; side++) {
            const double step = (side == 0 ? 0.01 : -0.01) / sqrt(length);
            for (int64_t j = 0; j < n; j++) p->value[j] = kept[j] + (float)(step * (double)direction[j]);
            at[side] = loss_at(m, b);
        }
        memcpy(p->value, kept, (size_t)n * sizeof *kept);
        const double found = (at[0] - at[1]) / 0.02;
        CHECK(fabs(found - slope) <= 2e-3 + 2e-3 * fabs(slope), "%s: gradient along a direction %.6g, differences %.6g", p->name,
              slope, found);
        CHECK(norm > 0 || strstr(p->name, "wpe") != NULL, "%s has no gradient", p->name);
        free(kept), free(direction);
    }
    free(grads);
}

static void test_sums(model *m, const model_batch *b) {
    double loss;
    int64_t scored;
    heed_error error;
    float *once = malloc((size_t)m->elements * sizeof *once);
    model_gradient_clear(m);
    model_gradient(m, b, 0.5, &loss, &scored, &error);
    memcpy(once, m->grads, (size_t)m->elements * sizeof *once);
    model_gradient(m, b, 0.5, &loss, &scored, &error);
    double worst = 0;
    for (int64_t i = 0; i < m->elements; i++)
        worst = fmax(worst, fabs((double)m->grads[i] - 2 * (double)once[i]) / (1 + fabs((double)once[i])));
    CHECK(worst < 2e-6, "two batches give %g more or less than twice one", worst);
    model_gradient_clear(m);
    model_gradient(m, b, 0.5, &loss, &scored, &error);
    CHECK(memcmp(once, m->grads, (size_t)m->elements * sizeof *once) == 0, "the gradient after a clear differs");
    int32_t none[SMALL_TOKENS];
    for (int i = 0; i < SMALL_TOKENS; i++) none[i] = -1;
    model_batch unscored = *b;
    unscored.target = none;
    model_gradient_clear(m);
    CHECK(model_gradient(m, &unscored, 1, &loss, &scored, &error) == HEED_OK && loss == 0 && scored == 0, "nothing to score");
    double sum = 0;
    for (int64_t i = 0; i < m->elements; i++) sum += fabs((double)m->grads[i]);
    CHECK(sum == 0, "without scored tokens the gradient must be 0, its sum is %g", sum);
    free(once);
}

static void test_threads(const model_batch *b, heed_dtype precision) {
    model *m[2];
    double loss[2];
    int64_t scored;
    heed_error error;
    for (int i = 0; i < 2; i++) {
        m[i] = small_model(&(attention_choice){.threads = i + 1}, &error);
        CHECK(m[i] != NULL, "%s", error.text);
        if (m[i] == NULL) return;
        CHECK(model_set_precision(m[i], precision, &error) == HEED_OK, "%s", error.text);
        m[i]->config.dropout_embedding = m[i]->config.dropout_attention = m[i]->config.dropout_residual = 0.1;
        CHECK(model_gradient(m[i], b, 1, &loss[i], &scored, &error) == HEED_OK, "%s", error.text);
    }
    CHECK(memcmp(&loss[0], &loss[1], sizeof loss[0]) == 0, "the loss depends on the threads: %.17g %.17g", loss[0], loss[1]);
    CHECK(memcmp(m[0]->grads, m[1]->grads, (size_t)m[0]->elements * sizeof(float)) == 0, "the gradient depends on the threads");
    for (int i = 0; i < 2; i++) model_free(m[i]);
}

static int64_t calls_so_far(const model *m) {
    int64_t count, calls = 0;
    const attention_record *records = model_attention_records(m, &count);
    for (int64_t i = 0; i < count; i++) calls += records[i].calls;
    return calls;
}

// Blocks computed again in backward: not one bit differs, with attention counted twice in all blocks but the last.
static void test_recompute(model *m, const model_batch *b) {
    double loss[2];
    int64_t scored, calls[2] = {0};
    heed_error error;
    float *kept = malloc((size_t)m->elements * sizeof *kept);
    for (int again = 0; again < 2; again++) {
        model_set_recompute(m, again);
        if (again) memcpy(kept, m->grads, (size_t)m->elements * sizeof *kept);
        model_gradient_clear(m);
        calls[again] = -calls_so_far(m);
        CHECK(model_gradient(m, b, 0.5, &loss[again], &scored, &error) == HEED_OK, "%s", error.text);
        calls[again] += calls_so_far(m);
    }
    CHECK(memcmp(&loss[0], &loss[1], sizeof loss[0]) == 0, "recomputing changes the loss: %.17g %.17g", loss[0], loss[1]);
    CHECK(memcmp(kept, m->grads, (size_t)m->elements * sizeof *kept) == 0, "recomputing changes the gradient");
    CHECK(calls[1] - calls[0] == m->config.layers - 1, "attention is called %lld times instead of %lld", (long long)calls[1],
          (long long)calls[0]);
    model_set_recompute(m, false);
    free(kept);
}

// The search reads bf16 as well: an infinity put into a weight's bf16 alone is found where it first shows.
static void test_origin_bf16(model *m, const model_batch *b) {
    nan_origin o;
    heed_error error;
    CHECK(model_nan_origin(m, b, false, &o, &error) == HEED_OK && !o.found, "nothing is wrong, yet: %s", o.sentence);
    uint16_t *weight = block_parameter(m, 1, B_FC_W)->rounded;
    const uint16_t kept = weight[5];
    weight[5] = bf16_of_f32(INFINITY);
    CHECK(model_nan_origin(m, b, false, &o, &error) == HEED_OK && o.found, "%s", error.text);
    CHECK(o.layer == 1 && strcmp(o.operation, "mlp in") == 0 && !o.backward && o.parameter == NULL, "%s", o.sentence);
    weight[5] = kept;
    CHECK(model_set_precision(m, HEED_F16, &error) == HEED_INVALID && strstr(error.text, "f16") != NULL, "f16 must be refused");
}

// What is dropped follows from the seed, in forward, in backward, and where blocks are computed again; evaluation drops nothing.
static void test_dropout(model *m, model_batch *b) {
    double loss[4];
    int64_t scored;
    heed_error error;
    const double plain = loss_at(m, b);
    m->config.dropout_embedding = 0.1, m->config.dropout_attention = 0.3, m->config.dropout_residual = 0.2;
    b->seed = 0x123456789abcdefu;
    test_differences(m, b);
    test_recompute(m, b);
    for (int i = 0; i < 4; i++) {
        b->seed = i == 3 ? 6 : 5;
        CHECK(model_gradient(m, b, 1, &loss[i], &scored, &error) == HEED_OK, "%s", error.text);
    }
    CHECK(memcmp(&loss[0], &loss[1], sizeof *loss) == 0, "one seed, two losses: %.17g %.17g", loss[0], loss[1]);
    CHECK(loss[0] != loss[3] && loss[0] != plain, "another seed, or none, and the same loss: %.17g", loss[0]);
    CHECK(model_loss(m, b, &loss[2], &scored, &error) == HEED_OK && memcmp(&loss[2], &plain, sizeof plain) == 0,
          "evaluation drops: %.17g instead of %.17g", loss[2], plain);
    m->config.dropout_attention = 1;
    CHECK(model_gradient(m, b, 1, loss, &scored, &error) == HEED_INVALID && strstr(error.text, "below 1") != NULL, "p = 1");
    m->config.dropout_embedding = m->config.dropout_attention = m->config.dropout_residual = 0;
}

int main(void) {
    heed_error error;
    small_memory memory;
    model_batch b = small_batch(&memory);
    model *m = small_model(&(attention_choice){0}, &error);
    CHECK(m != NULL, "%s", error.text);
    if (m == NULL) return test_end();
    test_differences(m, &b);
    b.document = memory.document;
    b.key_range = memory.range;
    for (int i = 0; i < SMALL_TOKENS; i++) memory.document[i] = i % SMALL_LENGTH / 4;
    memory.range[0] = 3;
    test_differences(m, &b);
    test_recompute(m, &b);
    test_dropout(m, &b);
    b.document = NULL;
    test_sums(m, &b);
    test_threads(&b, HEED_F32);
    test_threads(&b, HEED_BF16);
    CHECK(model_set_precision(m, HEED_BF16, &error) == HEED_OK, "%s", error.text);
    test_recompute(m, &b);
    test_origin_bf16(m, &b);
    model_free(m);
    return test_end();
}
