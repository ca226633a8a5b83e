// SPDX-License-Identifier: Apache-2.0
// What tests/python/test_generate.py asks of the sampler:
//     process IN OUT PENALTY TEMPERATURE TOP_K TOP_P MIN_P
// IN holds logits F32 (rows, vocabulary) and seen I32 (rows, n); OUT gets the logits after the processors.
#include "base/memory.h"
#include "io/safetensors.h"
#include "model/sample.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static heed_error error;

static void need(heed_status status) {
    if (status == HEED_OK) return;
    fprintf(stderr, "%s\n", error.text);
    exit(5);
}

int main(int argc, char **argv) {
    if (argc != 9 || strcmp(argv[1], "process") != 0) return 64;
    const sample_options o = {.repetition_penalty = atof(argv[4]), .temperature = atof(argv[5]), .top_k = atoll(argv[6]),
                              .top_p = atof(argv[7]), .min_p = atof(argv[8])};
    safetensors *file;
    need(safetensors_open(&file, argv[2], &error));
    const tensor_view *logits = safetensors_find(file, "logits"), *seen = safetensors_find(file, "seen");
    if (logits == NULL || seen == NULL || logits->dims != 2 || seen->dims != 2) return 64;
    const int64_t rows = logits->shape[0], vocabulary = logits->shape[1], n = seen->shape[1];
    float *x = memory_take((size_t)(rows * vocabulary) * sizeof *x);
    int32_t *ids = memory_take((size_t)(rows * n) * sizeof *ids);
    memcpy(x, logits->data, (size_t)(rows * vocabulary) * sizeof *x);
    memcpy(ids, seen->data, (size_t)(rows * n) * sizeof *ids);
    engine e;
    sampler *s;
    need(engine_create(&e, 1, NULL, &error));
    need(sampler_create(&s, &e, &o, vocabulary, &error));
    for (int64_t r = 0; r < rows; r++) sample_process(s, ids + r * n, n, x + r * vocabulary);
    const tensor_view out = {.name = "logits", .type = TENSOR_F32, .dims = 2, .shape = {rows, vocabulary}, .data = x};
    need(safetensors_write(argv[3], &out, 1, NULL, 0, &error));
    sampler_free(s);
    engine_destroy(&e);
    safetensors_close(file);
    memory_free(x);
    memory_free(ids);
    return 0;
}
