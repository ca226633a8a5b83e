// SPDX-License-Identifier: Apache-2.0
// Storage in f16: the conversion against its definition, and attention where f16 is at its ends: scores far beyond 65504, an
// `out` beyond it, values below the smallest normal. Every implementation, every instruction set.
#include "base/dtype.h"
#include "base/memory.h"
#include "core/impl.h"
#include "cpu/kernels.h"
#include "test.h"

// (-1)^s 2^(e - 15) (1 + f / 1024), subnormals 2^-14 f / 1024.
static double value_of(uint16_t x) {
    const int e = x >> 10 & 31, f = x & 0x3ff;
    const double size = e == 0 ? ldexp(f, -24) : ldexp(1024 + f, e - 25);
    return x & 0x8000 ? -size : size;
}

static void check_definition(void) {
    long wrong = 0;
    for (uint32_t bits = 0; bits < 0x10000; bits++) {
        const uint16_t x = (uint16_t)bits;
        if ((bits & 0x7c00u) == 0x7c00u) continue;
        wrong += (double)f16_to_f32(x) != value_of(x) || f16_of_f32(f16_to_f32(x)) != x;
        if ((bits & 0x7fffu) == 0x7bffu) continue;
        // Between x and the next: the middle goes to the even one, a little more or less to the nearer one.
        const double next = value_of((uint16_t)(x + 1)), middle = (value_of(x) + next) / 2;
        const float up = nextafterf((float)middle, (float)next), down = nextafterf((float)middle, (float)value_of(x));
        wrong += f16_of_f32((float)middle) != (x & 1 ? x + 1 : x) || f16_of_f32(up) != x + 1 || f16_of_f32(down) != x;
    }
    CHECK(wrong == 0, "f16: %ld conversions are wrong", wrong);
    CHECK(f16_of_f32(65519.996f) == 0x7bff && f16_of_f32(65520.0f) == 0x7c00 && f16_of_f32(-1e30f) == 0xfc00, "f16 overflow");
    CHECK(isinf(f16_to_f32(0x7c00)) && f16_to_f32(0xfc00) == -INFINITY && isnan(f16_to_f32(0x7c01)), "f16 infinities, NaN");
    CHECK((f16_of_f32(NAN) & 0x7fff) > 0x7c00 && (f16_of_f32(float_of_bits(0x7f800001)) & 0x7fff) > 0x7c00, "NaN stays NaN");
}

enum { S = 40, D = 16 };

typedef struct {
    uint16_t q[S * D], out[S * D], dq[S * D], dout[S * D];
    float k[S * D], v[S * D], dk[S * D], dv[S * D], lse[S];    // k and v in f16 or f32, as the text says
} arrays;

static void run(const char *text, const heed_choice *choice, arrays *x) {
    heed_problem p;
    heed_error error = {.text = ""};
    heed_plan *plan = NULL;
    heed_status status = heed_problem_parse(&p, text, &error);
    if (status == HEED_OK) status = heed_plan_create(&plan, &p, choice, &error);
    CHECK(status == HEED_OK, "%s: %s: %s", choice->implementation, text, error.text);
    if (status != HEED_OK) return;
    heed_args a = {.q = x->q, .k = x->k, .v = x->v, .out = x->out, .lse = x->lse};
    if (p.pass == HEED_BACKWARD) a.dout = x->dout, a.dq = x->dq, a.dk = x->dk, a.dv = x->dv;
    a.workspace_bytes = heed_workspace_bytes(plan);
    a.workspace = memory_take(a.workspace_bytes);
    status = heed_run(plan, &a, &error);
    CHECK(status == HEED_OK, "%s: %s: %s", choice->implementation, text, error.text);
    memory_free(a.workspace);
    heed_plan_destroy(plan);
}

static void fill(void *x, float value) {
    for (int i = 0; i < S * D; i++) dtype_store(HEED_F16, x, i, value);
}

// All q, k at the largest f16: the scores are 16 * 65504^2 / 4, in f32 no trouble. Equal scores: the mean of v, 1 to 40.
static void check_large_scores(const heed_choice *c, const char *text, int rows, arrays *x) {
    fill(x->out, 0);
    fill(x->q, 65504);
    fill(x->k, 65504);
    for (int i = 0; i < S * D; i++) dtype_store(HEED_F16, x->v, i, (float)(i / D + 1));
    run(text, c, x);
    for (int i = 0; i < rows * D; i++)
        CHECK(x->out[i] == f16_of_f32(20.5f), "%s on %s: scores beyond f16: out %g", c->implementation, c->cpu,
              (double)f16_to_f32(x->out[i]));
    CHECK(isfinite(x->lse[0]) && x->lse[0] > 1e10f, "%s on %s: lse %g", c->implementation, c->cpu, (double)x->lse[0]);
}

// v in f32 beyond what f16 holds: out is infinite where it is, and only there.
static void check_large_out(const heed_choice *c, arrays *x) {
    fill(x->q, 0);
    fill(x->k, 0);
    for (int i = 0; i < S * D; i++) x->v[i] = i % D == 3 ? 1e5f : i % D == 4 ? -65519.0f : i % D == 5 ? -65521.0f : 1.0f;
    run("b1 h1 q40 d16 f16 kv:f32", c, x);    // k of zeros in either type
    for (int i = 0; i < S * D; i++) {
        const float right = i % D == 3 ? INFINITY : i % D == 4 ? -65504.0f : i % D == 5 ? -INFINITY : 1.0f;
        CHECK(f16_to_f32(x->out[i]) == right, "%s on %s: out %g is to be %g", c->implementation, c->cpu,
              (double)f16_to_f32(x->out[i]), (double)right);
    }
}

// Values and gradients of a few units of 2^-24: neither lost nor flushed.
static void check_subnormal(const heed_choice *c, arrays *x) {
    fill(x->q, 0);
    fill(x->k, 0);
    fill(x->v, 7 * 0x1p-24f);
    fill(x->dout, 40 * 0x1p-24f);
    run("b1 h1 q40 d16 f16", c, x);
    for (int i = 0; i < S * D; i++)
        CHECK(x->out[i] == 7, "%s on %s: a subnormal out is %d units", c->implementation, c->cpu, x->out[i]);
    run("b1 h1 q40 d16 f16 grad", c, x);    // dv = sum over 40 rows of 40 / 40 units
    for (int i = 0; i < S * D; i++)
        CHECK(((uint16_t *)x->dv)[i] == 40, "%s on %s: dv is %d units", c->implementation, c->cpu, ((uint16_t *)x->dv)[i]);
}

int main(void) {
    static arrays x;
    check_definition();
    for (const heed_impl *const *impl = heed_impls; *impl != NULL; impl++) {
        const cpu_kernels *table;
        for (int i = 0; (*impl)->pass == HEED_FORWARD && cpu_kernels_row(i, &table) != NULL; i++) {
            if (table == NULL) continue;
            const heed_choice c = {.implementation = (*impl)->name, .cpu = table->name};
            check_large_scores(&c, "b1 h1 q40 d16 f16", S, &x);
            check_large_scores(&c, "b1 h1 q2 k40 d16 f16", 2, &x);
            check_large_out(&c, &x);
            check_subnormal(&c, &x);
        }
    }
    return test_end();
}
