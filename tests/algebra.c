// SPDX-License-Identifier: Apache-2.0
// What must hold whatever the formula's code: no reference needed. Each identity on every implementation.
#include "base/memory.h"
#include "base/random.h"
#include "compare/drawn.h"
#include "core/impl.h"
#include "test.h"

#include <math.h>
#include <string.h>

enum { S = 70, D = 16, DV = 24 };

typedef struct { float q[S * D], k[S * D], v[S * DV], out[S * DV], lse[S]; } arrays;

static void draw(arrays *x) {
    random_stream r = random_of(11, 0);
    for (int i = 0; i < S * D; i++) x->q[i] = (float)random_normal(&r), x->k[i] = (float)random_normal(&r);
    for (int i = 0; i < S * DV; i++) x->v[i] = (float)random_normal(&r);
}

static const char *under_test;

// Runs `keys` keys of x (and a bias, slopes... none) through the implementation under test.
static void run(const char *text, arrays *x, int64_t first_key, heed_args extra) {
    heed_problem p;
    heed_error error = {0};
    heed_plan *plan = NULL;
    heed_status status = heed_problem_parse(&p, text, &error);
    if (status == HEED_OK) status = heed_plan_create(&plan, &p, &(heed_choice){.implementation = under_test}, &error);
    CHECK(status == HEED_OK, "%s: %s: %s", under_test, text, error.text);
    if (status != HEED_OK) return;
    heed_args a = extra;
    a.q = x->q;
    a.k = x->k + first_key * D;
    a.v = x->v + first_key * DV;
    a.out = x->out;
    a.lse = x->lse;
    a.workspace_bytes = heed_workspace_bytes(plan);
    a.workspace = memory_take(a.workspace_bytes);
    status = heed_run(plan, &a, &error);
    CHECK(status == HEED_OK, "%s: %s: %s", under_test, text, error.text);
    memory_free(a.workspace);
    heed_plan_destroy(plan);
}

static double distance(const float *a, const float *b, int n) {
    double most = 0;
    for (int i = 0; i < n; i++) {
        const double d = fabs((double)a[i] - (double)b[i]);
        if (d > most || isnan(d)) most = d;    // fmax would lose a NaN
    }
    return most;
}

static void near(const float *a, const float *b, int n, const char *what) {
    const double d = distance(a, b, n);
    CHECK(d < 5e-6, "%s: %s: off by %g", under_test, what, d);
}

static void weights_sum_to_one(arrays *x) {
    static float ones[S * DV];
    for (int i = 0; i < S * DV; i++) ones[i] = x->v[i] = 1;
    run("b1 h1 q70 d16/24 causal", x, 0, (heed_args){0});
    near(x->out, ones, S * DV, "with values of one, out is one");
}

static void linear_in_v(arrays *x) {
    static arrays y;
    draw(x);
    y = *x;
    run("b1 h1 q70 d16/24 window:9,5", x, 0, (heed_args){0});
    for (int i = 0; i < S * DV; i++) y.v[i] = -3 * y.v[i];
    run("b1 h1 q70 d16/24 window:9,5", &y, 0, (heed_args){0});
    for (int i = 0; i < S * DV; i++) y.out[i] /= -3;
    near(x->out, y.out, S * DV, "out is linear in v");
}

static void keys_commute(arrays *x) {
    static arrays y;
    draw(x);
    y = *x;
    for (int j = 0; j < S; j++) {
        memcpy(y.k + j * D, x->k + (S - 1 - j) * D, D * sizeof(float));
        memcpy(y.v + j * DV, x->v + (S - 1 - j) * DV, DV * sizeof(float));
    }
    run("b1 h1 q70 d16/24", x, 0, (heed_args){0});
    run("b1 h1 q70 d16/24", &y, 0, (heed_args){0});
    near(x->out, y.out, S * DV, "the order of unmasked keys does not matter");
}

// out = (e^lse1 out1 + e^lse2 out2) / (e^lse1 + e^lse2)
static void splits_merge(arrays *x) {
    static arrays left, right;
    draw(x);
    left = right = *x;
    run("b1 h1 q70 d16/24", x, 0, (heed_args){0});
    run("b1 h1 q70 k33 d16/24", &left, 0, (heed_args){0});
    run("b1 h1 q70 k37 d16/24", &right, 33, (heed_args){0});
    for (int i = 0; i < S; i++) {
        const double share = 1 / (1 + exp((double)right.lse[i] - (double)left.lse[i]));
        for (int c = 0; c < DV; c++)
            left.out[i * DV + c] = (float)(share * (double)left.out[i * DV + c] + (1 - share) * (double)right.out[i * DV + c]);
    }
    near(x->out, left.out, S * DV, "two halves merged by lse give the whole");
}

static void equal_keys_average(arrays *x) {
    static float mean[S * DV];
    draw(x);
    for (int j = 1; j < S; j++) memcpy(x->k + j * D, x->k, D * sizeof(float));
    for (int i = 0; i < S; i++)
        for (int c = 0; c < DV; c++) {
            double sum = 0;
            for (int j = 0; j < S; j++) sum += (double)x->v[j * DV + c] / S;
            mean[i * DV + c] = (float)sum;
        }
    run("b1 h1 q70 d16/24", x, 0, (heed_args){0});
    near(x->out, mean, S * DV, "equal keys give the mean of v");
}

static void constants_cancel(arrays *x) {
    static arrays y;
    static float bias[S];
    draw(x);
    y = *x;
    for (int i = 0; i < S; i++) bias[i] = 3.25f + (float)(i % 5);
    run("b1 h1 q70 d16/24 causal", x, 0, (heed_args){0});
    run("b1 h1 q70 d16/24 causal bias:q", &y, 0, (heed_args){.bias = bias});
    near(x->out, y.out, S * DV, "a constant added to a row's scores changes nothing");
    for (int i = 0; i < S; i++) y.lse[i] -= bias[i];
    near(x->lse, y.lse, S, "but lse, by that constant");
}

// out with a sink = out without it * sigmoid(lse without it - sink)
static void sinks_shrink(arrays *x) {
    static arrays y;
    const float sink = 0.7f;
    draw(x);
    y = *x;
    run("b1 h1 q70 d16/24 causal", x, 0, (heed_args){0});
    run("b1 h1 q70 d16/24 causal sink", &y, 0, (heed_args){.sinks = &sink});
    for (int i = 0; i < S; i++)
        for (int c = 0; c < DV; c++)
            x->out[i * DV + c] = (float)((double)x->out[i * DV + c] / (1 + exp((double)sink - (double)x->lse[i])));
    near(x->out, y.out, S * DV, "a sink multiplies by sigmoid(lse - sink)");
}

int main(void) {
    static arrays x;
    void (*const identities[])(arrays *) = {weights_sum_to_one, linear_in_v,      keys_commute, splits_merge,
                                            equal_keys_average, constants_cancel, sinks_shrink};
    for (const heed_impl *const *impl = heed_impls; *impl != NULL; impl++) {
        if ((*impl)->pass != HEED_FORWARD) continue;
        under_test = (*impl)->name;
        for (size_t i = 0; i < sizeof identities / sizeof *identities; i++) {
            draw(&x);
            identities[i](&x);
        }
    }
    return test_end();
}
