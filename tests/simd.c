// SPDX-License-Identifier: Apache-2.0
// Every v_ function of every instruction set this CPU can run against scalar.h, lane by lane: NaN, infinities, zeros of both
// signs, subnormals, every n from 0 to the lanes; exp and tanh against libm in double.
#include "base/dtype.h"
#include "base/random.h"
#include "cpu/kernels.h"
#include "simd/probe.h"
#include "test.h"

#include <float.h>
#include <string.h>

enum { LANES = 16, ROUNDS = 400 };

#define ISA(name, features, flags, processors) extern const simd_probe simd_probe_##name;
#include "cpu/isa.def"
#undef ISA

#define ISA(name, features, flags, processors) SIMD_PROBE_##name,
static const simd_probe *const probes[] = {
#include "cpu/isa.def"
};
#undef ISA

static const float special[] = {
    0.0f, -0.0f, 1.0f, -1.0f, INFINITY, -INFINITY, NAN, FLT_MAX, -FLT_MAX, FLT_MIN, -FLT_MIN, 0x1p-149f, -0x1p-149f, 0x1p-140f,
    0.5f, -0.5f, 1.5f, 2.5f, -2.5f, 0.625f, 87.3f, -87.3f, 88.8f, -103.9f, -104.1f, 1e10f, -1e10f, 1e-10f, 3.3895314e38f, 127.5f,
};
enum { SPECIAL = sizeof special / sizeof special[0] };

static float draw(random_stream *stream) {
    const uint32_t how = random_u32(stream) % 4;
    if (how == 0) return special[random_below(stream, SPECIAL)];
    if (how == 1) return (float)(random_normal(stream));
    if (how == 2) return (float)(random_normal(stream) * 40);
    return float_of_bits(random_u32(stream));
}

static bool same(float x, float y) { return (isnan(x) && isnan(y)) || float_bits(x) == float_bits(y); }

// Distance in units of the last place of `right`, which is exact.
static double ulps(float x, double right) {
    if (isnan(x) || isnan(right)) return isnan(x) && isnan(right) ? 0 : INFINITY;
    if (isinf(x) || fabs(right) > FLT_MAX) {
        return (double)x == (double)(float)right || fabs(right) > FLT_MAX * 0.999999 ? 0 : INFINITY;
    }
    int exponent;
    frexp(right, &exponent);
    return fabs(x - right) / ldexp(1, (exponent < -125 ? -125 : exponent) - 24);
}

// What libm says of the functions that are approximations, and how far off they may be; 0: none.
static double libm_bound(const char *name, float a, double *right) {
    if (strcmp(name, "v_exp") == 0) return *right = exp((double)a), 1.5;
    if (strcmp(name, "v_exp2") == 0) return *right = exp2((double)a), 2.5;
    if (strcmp(name, "v_tanh") == 0) return *right = tanh((double)a), 2.5;
    return 0;
}

// Two right results of a * b + c: rounded once or twice.
static bool fma_fits(const char *name, float y, float a, float b, float c) {
    const float sign = strcmp(name, "v_fnma") == 0 ? -1.0f : 1.0f;
    return same(y, fmaf(sign * a, b, c)) || same(y, sign * (a * b) + c);
}

static void test_functions(const char *isa, const simd_probe *p, const simd_probe *scalar) {
    random_stream stream = random_of(7, 1);
    for (int op = 0; op < p->count(); op++) {
        const char *name = p->name(op);
        double worst = 0;
        for (int round = 0; round < ROUNDS; round++) {
            float a[LANES], b[LANES], c[LANES], y[LANES];
            for (int i = 0; i < LANES; i++) a[i] = draw(&stream), b[i] = draw(&stream), c[i] = draw(&stream);
            if (strcmp(name, "v_scale") == 0) {
                for (int i = 0; i < LANES; i++) {
                    a[i] = 1.0f + (float)random_unit(&stream);
                    b[i] = (float)(random_below(&stream, 501)) - 250.0f;
                }
            }
            p->run(op, a, b, c, y);
            for (int i = 0; i < p->lanes; i++) {
                float want, right_bits = y[i];
                double right;
                scalar->run(op, a + i, b + i, c + i, &want);
                const double bound = libm_bound(name, a[i], &right);
                if (bound > 0) {
                    const double off = ulps(right_bits, right);
                    worst = off > worst ? off : worst;
                    CHECK(off <= bound, "%s %s(%a) = %a, libm says %a: %.2f ulp", isa, name, a[i], y[i], right, off);
                } else if (p->is_ternary(op)) {
                    CHECK(fma_fits(name, y[i], a[i], b[i], c[i]), "%s %s(%a, %a, %a) = %a", isa, name, a[i], b[i], c[i], y[i]);
                } else {
                    CHECK(same(y[i], want), "%s %s(%a, %a) = %a, scalar says %a", isa, name, a[i], b[i], y[i], want);
                }
            }
        }
        if (worst > 0) printf("%s %s: at most %.3f ulp\n", isa, name, worst);
    }
}

// The first n lanes of a 16-bit type.
static void test_half_first_n(const char *isa, const simd_probe *p, heed_dtype type, const simd_half *h) {
    random_stream stream = random_of(7, 2);
    for (int n = 0; n <= p->lanes; n++) {
        float x[LANES], y[LANES];
        uint16_t half[LANES], to[LANES + 1];
        for (int i = 0; i < LANES; i++) x[i] = draw(&stream), dtype_store(type, half, i, x[i]);
        h->load_n(half, n, y);
        for (int i = 0; i < p->lanes; i++) {
            CHECK(same(y[i], i < n ? dtype_load(type, half, i) : 0.0f), "%s load_n of %s %d: lane %d", isa, dtype_name(type), n, i);
        }
        for (int i = 0; i <= LANES; i++) to[i] = 0x4321;
        h->store_n(to, x, n);
        for (int i = 0; i <= LANES; i++) {
            CHECK(to[i] == (i < n ? half[i] : 0x4321), "%s store_n of %s %d: place %d", isa, dtype_name(type), n, i);
        }
    }
}

static void test_first_n(const char *isa, const simd_probe *p) {
    random_stream stream = random_of(7, 2);
    for (int n = 0; n <= p->lanes; n++) {
        float x[LANES], y[LANES], to[LANES + 1];
        for (int i = 0; i < LANES; i++) x[i] = draw(&stream);
        p->load_n(x, n, y);
        for (int i = 0; i < p->lanes; i++) CHECK(same(y[i], i < n ? x[i] : 0.0f), "%s v_load_n %d: lane %d", isa, n, i);
        p->first(n, y);
        for (int i = 0; i < p->lanes; i++) CHECK(y[i] == (i < n ? 1.0f : 0.0f), "%s v_first %d: lane %d", isa, n, i);
        for (int i = 0; i <= LANES; i++) to[i] = 1234.5f;
        p->store_n(to, x, n);
        for (int i = 0; i <= LANES; i++) CHECK(same(to[i], i < n ? x[i] : 1234.5f), "%s v_store_n %d: place %d", isa, n, i);
    }
    float y[LANES];
    p->first(-3, y);
    CHECK(y[0] == 0, "%s v_first of a negative count", isa);
    p->first(1000, y);
    CHECK(y[p->lanes - 1] == 1, "%s v_first of a large count", isa);
}

// Every one of the 65536 values, loaded to the same bits as base/dtype.h does, NaN included; and stored: every value of the
// upper half of an f32 with lower halves that lie below, on and above the middle between two values of either type.
static void test_half(const char *isa, const simd_probe *p, heed_dtype type, const simd_half *h) {
    static const uint32_t below[] = {0, 0x0fff, 0x1000, 0x1001, 0x3000, 0x7fff, 0x8000, 0x8001, 0xf000, 0xffff};
    long wrong_loads = 0, wrong_stores = 0;
    for (uint32_t bits = 0; bits < 65536; bits++) {
        float y[LANES];
        uint16_t from[LANES], to[LANES];
        for (int i = 0; i < LANES; i++) from[i] = (uint16_t)bits;
        h->load(from, y);
        for (int i = 0; i < p->lanes; i++) wrong_loads += float_bits(y[i]) != float_bits(dtype_load(type, from, i));
        for (size_t low = 0; low < sizeof below / sizeof *below; low++) {
            float x[LANES];
            uint16_t right;
            for (int i = 0; i < LANES; i++) x[i] = float_of_bits(bits << 16 | below[low]);
            h->store(to, x);
            dtype_store(type, &right, 0, x[0]);
            wrong_stores += to[0] != right || to[p->lanes - 1] != right;
        }
    }
    CHECK(wrong_loads == 0 && wrong_stores == 0, "%s %s: %ld loads, %ld stores are wrong", isa, dtype_name(type), wrong_loads,
          wrong_stores);
}

static void test_lanes(const char *isa, const simd_probe *p) {
    random_stream stream = random_of(7, 3);
    const int n = p->lanes;
    float square[LANES * LANES], turned[LANES * LANES];
    for (int i = 0; i < n * n; i++) square[i] = turned[i] = (float)i;
    p->transpose(turned);
    for (int i = 0; i < n * n; i++) CHECK(turned[i] == square[i % n * n + i / n], "%s v_transpose: %d", isa, i);
    for (int round = 0; round < ROUNDS; round++) {
        float a[LANES], b[LANES], both[LANES], either[LANES], not_a[LANES], chosen[LANES];
        double sum = 0, sizes = 0;
        float big = -INFINITY;
        int any, want_any = 0;
        for (int i = 0; i < n; i++) {
            a[i] = (float)(random_u32(&stream) % 2), b[i] = (float)(random_u32(&stream) % 2);
            if (round == 0) a[i] = 0;
            want_any |= a[i] != 0;
        }
        p->masks(a, b, both, either, not_a, &any);
        p->select(a, b, square, chosen);
        for (int i = 0; i < n; i++) {
            CHECK(both[i] == a[i] * b[i] && either[i] == fmaxf(a[i], b[i]) && not_a[i] == 1 - a[i], "%s masks: lane %d", isa, i);
            CHECK(chosen[i] == (a[i] != 0 ? b[i] : square[i]), "%s v_select: lane %d", isa, i);
        }
        CHECK(any == want_any, "%s v_any", isa);
        for (int i = 0; i < n; i++) a[i] = (float)random_normal(&stream), sum += a[i], sizes += fabsf(a[i]), big = fmaxf(big, a[i]);
        if (round % 3 == 0) a[round % n] = -INFINITY;
        if (round % 3 != 0) CHECK(fabs(p->reduce_add(a) - sum) <= 4 * FLT_EPSILON * sizes, "%s v_reduce_add", isa);
        big = -INFINITY;
        for (int i = 0; i < n; i++) big = fmaxf(big, a[i]);
        CHECK(p->reduce_max(a) == big, "%s v_reduce_max", isa);
    }
}

int main(void) {
    const cpu_kernels *table;
    const char *name;
    for (int i = 0; (name = cpu_kernels_row(i, &table)) != NULL; i++) {
        if (table == NULL) { SKIP("instruction set %s: not on this CPU", name); continue; }
        test_functions(name, probes[i], probes[0]);
        test_first_n(name, probes[i]);
        test_half_first_n(name, probes[i], HEED_BF16, &probes[i]->bf16);
        test_half_first_n(name, probes[i], HEED_F16, &probes[i]->f16);
        test_half(name, probes[i], HEED_BF16, &probes[i]->bf16);
        test_half(name, probes[i], HEED_F16, &probes[i]->f16);
        test_lanes(name, probes[i]);
    }
    return test_end();
}
