// SPDX-License-Identifier: Apache-2.0
// Compiled once per row of isa.def with its flags, as kernels/table.c is.
#include SIMD_HEADER

#include "cpu/kernels/exp.inl"
#include "tests/simd/probe.h"

static const struct {
    const char *name;
    v_f32 (*one)(v_f32);
    v_f32 (*two)(v_f32, v_f32);
    v_f32 (*three)(v_f32, v_f32, v_f32);
    v_mask (*test)(v_f32);
    v_mask (*compare)(v_f32, v_f32);
} ops[] = {
    {"v_abs", .one = v_abs}, {"v_sqrt", .one = v_sqrt}, {"v_round", .one = v_round},
    {"v_exp", .one = v_exp}, {"v_exp2", .one = v_exp2}, {"v_tanh", .one = v_tanh},
    {"v_add", .two = v_add}, {"v_sub", .two = v_sub}, {"v_mul", .two = v_mul}, {"v_div", .two = v_div},
    {"v_max", .two = v_max}, {"v_min", .two = v_min}, {"v_copysign", .two = v_copysign}, {"v_scale", .two = v_scale},
    {"v_fma", .three = v_fma}, {"v_fnma", .three = v_fnma},
    {"v_is_nan", .test = v_is_nan}, {"v_is_finite", .test = v_is_finite},
    {"v_lt", .compare = v_lt}, {"v_le", .compare = v_le}, {"v_eq", .compare = v_eq},
};

static int count(void) { return sizeof ops / sizeof ops[0]; }
static const char *name(int op) { return ops[op].name; }
static bool is_ternary(int op) { return ops[op].three != NULL; }
static v_f32 shown(v_mask m) { return v_select(m, v_set(1.0f), v_zero()); }
static v_mask truth(const float *x) { return v_not(v_eq(v_load(x), v_zero())); }

static void run(int op, const float *a, const float *b, const float *c, float *y) {
    const v_f32 x = v_load(a), z = v_load(b);
    if (ops[op].one != NULL) v_store(y, ops[op].one(x));
    if (ops[op].two != NULL) v_store(y, ops[op].two(x, z));
    if (ops[op].three != NULL) v_store(y, ops[op].three(x, z, v_load(c)));
    if (ops[op].test != NULL) v_store(y, shown(ops[op].test(x)));
    if (ops[op].compare != NULL) v_store(y, shown(ops[op].compare(x, z)));
}

static void load_n(const float *from, int64_t n, float *y) { v_store(y, v_load_n(from, n)); }
static void store_n(float *to, const float *x, int64_t n) { v_store_n(to, v_load(x), n); }
static void load_bf16_n(const uint16_t *from, int64_t n, float *y) { v_store(y, v_load_bf16_n(from, n)); }
static void store_bf16_n(uint16_t *to, const float *x, int64_t n) { v_store_bf16_n(to, v_load(x), n); }
static void load_bf16(const uint16_t *from, float *y) { v_store(y, v_load_bf16(from)); }
static void store_bf16(uint16_t *to, const float *x) { v_store_bf16(to, v_load(x)); }
static void load_f16_n(const uint16_t *from, int64_t n, float *y) { v_store(y, v_load_f16_n(from, n)); }
static void store_f16_n(uint16_t *to, const float *x, int64_t n) { v_store_f16_n(to, v_load(x), n); }
static void load_f16(const uint16_t *from, float *y) { v_store(y, v_load_f16(from)); }
static void store_f16(uint16_t *to, const float *x) { v_store_f16(to, v_load(x)); }
static void first(int64_t n, float *y) { v_store(y, shown(v_first(n))); }
static void choose(const float *which, const float *yes, const float *no, float *y) {
    v_store(y, v_select(truth(which), v_load(yes), v_load(no)));
}
static void masks(const float *a, const float *b, float *both, float *either, float *not_a, int *any_a) {
    v_store(both, shown(v_and(truth(a), truth(b))));
    v_store(either, shown(v_or(truth(a), truth(b))));
    v_store(not_a, shown(v_not(truth(a))));
    *any_a = v_any(truth(a));
}
static void split(const float *t, float *fraction, float *whole) {
    v_f32 w;
    v_store(fraction, v_split(v_load(t), &w));
    v_store(whole, w);
}
static void transpose(float *square) {
    v_f32 x[V_LANES];
    for (int i = 0; i < V_LANES; i++) x[i] = v_load(square + i * V_LANES);
    v_transpose(x);
    for (int i = 0; i < V_LANES; i++) v_store(square + i * V_LANES, x[i]);
}
static float reduce_add(const float *x) { return v_reduce_add(v_load(x)); }
static float reduce_max(const float *x) { return v_reduce_max(v_load(x)); }

extern const simd_probe SIMD_PROBE;
const simd_probe SIMD_PROBE = {
    .lanes = V_LANES, .count = count, .name = name, .is_ternary = is_ternary, .run = run, .load_n = load_n, .store_n = store_n,
    .bf16 = {load_bf16_n, store_bf16_n, load_bf16, store_bf16}, .f16 = {load_f16_n, store_f16_n, load_f16, store_f16},
    .first = first, .select = choose, .masks = masks, .split = split, .transpose = transpose,
    .reduce_add = reduce_add, .reduce_max = reduce_max,
};
