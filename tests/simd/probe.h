// SPDX-License-Identifier: Apache-2.0
// One v_ function applied to one vector: how tests/simd.c reaches the functions of every instruction set.
#pragma once

#include <stdbool.h>
#include <stdint.h>

// The functions of a 16-bit storage type.
typedef struct {
    void (*load_n)(const uint16_t *from, int64_t n, float *y);
    void (*store_n)(uint16_t *to, const float *x, int64_t n);
    void (*load)(const uint16_t *from, float *y);
    void (*store)(uint16_t *to, const float *x);
} simd_half;

typedef struct {
    int lanes;
    int (*count)(void);
    const char *(*name)(int op);
    bool (*is_ternary)(int op);
    void (*run)(int op, const float *a, const float *b, const float *c, float *y);    // a mask comes out as 1 and 0
    void (*load_n)(const float *from, int64_t n, float *y);
    void (*store_n)(float *to, const float *x, int64_t n);
    simd_half bf16, f16;
    void (*first)(int64_t n, float *y);
    void (*select)(const float *which, const float *yes, const float *no, float *y);    // which != 0
    void (*masks)(const float *a, const float *b, float *both, float *either, float *not_a, int *any_a);    // a, b != 0
    void (*split)(const float *t, float *fraction, float *whole);
    void (*transpose)(float *square);    // lanes x lanes
    float (*reduce_add)(const float *x);
    float (*reduce_max)(const float *x);
} simd_probe;
