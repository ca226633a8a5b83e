// SPDX-License-Identifier: Apache-2.0
// Compiled once per row of isa.def with its flags, as kernels/table.c is.
#include SIMD_HEADER

#include "cpu/kernels/exp.inl"
#include "tests/simd/probe.h"

#define PROBES(ONE, TWO, THREE, TEST, COMPARE) \
    ONE(v_abs) ONE(v_sqrt) ONE(v_round) ONE(v_exp) ONE(v_exp2) ONE(v_tanh) \
    TWO(v_add) TWO(v_sub) TWO(v_mul) TWO(v_div) TWO(v_max) TWO(v_min) TWO(v_copysign) TWO(v_scale) \
    THREE(v_fma) THREE(v_fnma) \
    TEST(v_is_nan) TEST(v_is_finite) \
    COMPARE(v_lt) COMPARE(v_le) COMPARE(v_eq)

#define NAME_OF(f) #f,
#define KIND_1(f) PROBE_UNARY,
#define KIND_2(f) PROBE_BINARY,
#define KIND_3(f) PROBE_TERNARY,
#define KIND_M(f) PROBE_UNARY_MASK,
#define KIND_C(f) PROBE_BINARY_MASK,
static const char *const names[] = {PROBES(NAME_OF, NAME_OF, NAME_OF, NAME_OF, NAME_OF)};
static const int kinds[] = {PROBES(KIND_1, KIND_2, KIND_3, KIND_M, KIND_C)};

static int count(void) { return sizeof kinds / sizeof kinds[0]; }
static const char *name(int op) { return names[op]; }
static int kind(int op) { return kinds[op]; }
static v_f32 shown(v_mask m) { return v_select(m, v_set(1.0f), v_zero()); }
static v_mask truth(const float *x) { return v_not(v_eq(v_load(x), v_zero())); }

#define RUN_1(f) if (op == at++) v_store(y, f(v_load(a)));
#define RUN_2(f) if (op == at++) v_store(y, f(v_load(a), v_load(b)));
#define RUN_3(f) if (op == at++) v_store(y, f(v_load(a), v_load(b), v_load(c)));
#define RUN_M(f) if (op == at++) v_store(y, shown(f(v_load(a))));
#define RUN_C(f) if (op == at++) v_store(y, shown(f(v_load(a), v_load(b))));
static void run(int op, const float *a, const float *b, const float *c, float *y) {
    int at = 0;
    PROBES(RUN_1, RUN_2, RUN_3, RUN_M, RUN_C)
}

static void load_n(const float *from, int64_t n, float *y) { v_store(y, v_load_n(from, n)); }
static void store_n(float *to, const float *x, int64_t n) { v_store_n(to, v_load(x), n); }
static void load_bf16_n(const uint16_t *from, int64_t n, float *y) { v_store(y, v_load_bf16_n(from, n)); }
static void store_bf16_n(uint16_t *to, const float *x, int64_t n) { v_store_bf16_n(to, v_load(x), n); }
static void load_bf16(const uint16_t *from, float *y) { v_store(y, v_load_bf16(from)); }
static void store_bf16(uint16_t *to, const float *x) { v_store_bf16(to, v_load(x)); }
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

#define PROBE_JOIN(a, b) a##b
#define PROBE_NAME(isa) PROBE_JOIN(simd_probe_, isa)
extern const simd_probe PROBE_NAME(SIMD_NAME);
const simd_probe PROBE_NAME(SIMD_NAME) = {
    .lanes = V_LANES, .count = count, .name = name, .kind = kind, .run = run, .load_n = load_n, .store_n = store_n,
    .load_bf16_n = load_bf16_n, .store_bf16_n = store_bf16_n, .load_bf16 = load_bf16, .store_bf16 = store_bf16,
    .first = first, .select = choose, .masks = masks, .split = split, .transpose = transpose,
    .reduce_add = reduce_add, .reduce_max = reduce_max,
};
