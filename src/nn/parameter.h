// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>

// One trained array and its gradient, dense. Names and shapes are those of the Hugging Face file.
typedef struct {
    const char *name;        // "transformer.h.0.attn.c_attn.weight"
    int64_t shape[4];
    int dims;
    float *value, *grad;     // grad NULL until the first gradient is wanted
    uint16_t *rounded;       // value as bf16, what products multiply; NULL: they take value itself
    bool decay;              // weight decay applies: not to norms and biases
} parameter;

static inline int64_t parameter_count(const parameter *p) {
    int64_t n = 1;
    for (int i = 0; i < p->dims; i++) n *= p->shape[i];
    return n;
}
