// SPDX-License-Identifier: Apache-2.0
// What tests/python/test_gpt2.py asks of the model, as files:
//     gradient MODEL BATCH OUT ATTENTION          logits, and the gradients of the sum of losses; prints sum and scored
//     train MODEL BATCHES OUT ATTENTION RATE DECAY CLIP    one AdamW step a batch; prints each mean loss; saves to OUT
// A last argument bf16 computes in that precision.
// Dropout is what the config says, its seed 7 for the first batch, 8 for the next.
// A batch file holds I32 tensors id, position, target (batches, rows, length), and may hold range (batches, rows, 2) and
// document (batches, rows, length).
#include "base/error.h"
#include "base/memory.h"
#include "io/safetensors.h"
#include "model/model.h"
#include "nn/adamw.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static heed_error error;

static void need(heed_status status) {
    if (status == HEED_OK) return;
    fprintf(stderr, "%s\n", error.text);
    exit(status == HEED_REFUSED ? 3 : 5);
}

static const int32_t *part(const safetensors *file, const char *name, int64_t batch, bool needed) {
    const tensor_view *t = safetensors_find(file, name);
    if (t == NULL && !needed) return NULL;
    if (t == NULL || t->type != TENSOR_I32 || t->dims != 3 || batch >= t->shape[0]) exit(64);
    const int64_t n = t->shape[1] * t->shape[2];
    int32_t *copy = memory_take((size_t)n * sizeof *copy);
    memcpy(copy, (const char *)t->data + (size_t)(batch * n) * sizeof *copy, (size_t)n * sizeof *copy);
    return copy;
}

static model_batch batch_of(const safetensors *file, int64_t at) {
    const tensor_view *id = safetensors_find(file, "id");
    return (model_batch){
        .rows = id->shape[1], .length = id->shape[2], .id = part(file, "id", at, true), .position = part(file, "position", at,
                                                                                                         true),
        .target = part(file, "target", at, true), .key_range = part(file, "range", at, false),
        .document = part(file, "document", at, false), .seed = (uint64_t)at + 7,
    };
}

static void free_batch(const model_batch *b) {
    const void *arrays[] = {b->id, b->position, b->target, b->key_range, b->document};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) memory_free((void *)(uintptr_t)arrays[i]);
}

static void write_gradient(model *m, const model_batch *b, const char *out) {
    const int64_t vocabulary = model_config_of(m)->vocabulary;
    float *logits = memory_take((size_t)(b->rows * b->length * vocabulary) * sizeof *logits);
    double loss;
    int64_t scored, count;
    need(model_logits(m, b, logits, &error));
    need(model_gradient(m, b, 1, &loss, &scored, &error));
    printf("%.17g %lld\n", loss, (long long)scored);
    const parameter *p = model_parameters(m, &count);
    tensor_view *tensors = calloc((size_t)count + 1, sizeof *tensors);
    tensors[0] = (tensor_view){.name = "logits", .type = TENSOR_F32, .dims = 3, .shape = {b->rows, b->length, vocabulary},
                               .data = logits};
    for (int64_t i = 0; i < count; i++) {
        tensors[1 + i] = (tensor_view){.name = p[i].name, .type = TENSOR_F32, .dims = p[i].dims, .data = p[i].grad};
        memcpy(tensors[1 + i].shape, p[i].shape, sizeof p[i].shape);
    }
    need(safetensors_write(out, tensors, count + 1, NULL, 0, &error));
    free(tensors);
    memory_free(logits);
}

static void train(model *m, const safetensors *batches, const char *out, const adamw *o, double clip) {
    int64_t count;
    double loss, norm;
    int64_t scored;
    model_gradient_clear(m);
    const parameter *p = model_parameters(m, &count);
    float **first = calloc((size_t)count, sizeof *first), **second = calloc((size_t)count, sizeof *second);
    for (int64_t i = 0; i < count; i++) {
        first[i] = memory_take_zeroed((size_t)parameter_count(&p[i]) * sizeof(float));
        second[i] = memory_take_zeroed((size_t)parameter_count(&p[i]) * sizeof(float));
    }
    const int64_t steps = safetensors_find(batches, "id")->shape[0];
    for (int64_t step = 1; step <= steps; step++) {
        const model_batch b = batch_of(batches, step - 1);
        int64_t targets = 0;
        for (int64_t i = 0; i < b.rows * b.length; i++) targets += b.target[i] >= 0;
        model_gradient_clear(m);
        need(model_gradient(m, &b, 1.0 / (double)targets, &loss, &scored, &error));
        norm = gradient_norm(model_engine(m), p, count);
        adamw_step(model_engine(m), o, step, gradient_clip_scale(norm, clip), p, count, first, second);
        printf("%.9g %.9g\n", loss / (double)scored, norm);
        free_batch(&b);
    }
    for (int64_t i = 0; i < count; i++) memory_free(first[i]), memory_free(second[i]);
    free(first);
    free(second);
    need(model_save(m, out, &error));
}

int main(int argc, char **argv) {
    const bool bf16 = strcmp(argv[argc - 1], "bf16") == 0;
    if (bf16) argc--;
    if (argc < 6) return 64;
    model *m;
    safetensors *file;
    need(model_load(&m, argv[2], &error));
    need(model_set_attention(m, &(attention_choice){.name = argv[5], .fallback_refuse = true}, true, &error));
    need(model_set_precision(m, bf16 ? HEED_BF16 : HEED_F32, &error));
    need(safetensors_open(&file, argv[3], &error));
    if (strcmp(argv[1], "gradient") == 0) {
        const model_batch b = batch_of(file, 0);
        write_gradient(m, &b, argv[4]);
        free_batch(&b);
    } else if (strcmp(argv[1], "train") == 0 && argc == 9) {
        const adamw o = {.learning_rate = atof(argv[6]), .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8,
                         .weight_decay = atof(argv[7])};
        train(m, file, argv[4], &o, atof(argv[8]));
    } else {
        return 64;
    }
    safetensors_close(file);
    model_free(m);
    return 0;
}
