// SPDX-License-Identifier: Apache-2.0
// A score function of one's own: `value` is the definition, `slope` its derivative, which is all that training needs. This one
// bends large scores as softsign does. The gradient of q that comes back is checked by moving one element of q.
#include <heed/heed.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { TOKENS = 64, CHANNELS = 32, N = TOKENS * CHANNELS, PROBED = 7 * CHANNELS + 3 };
static float q[N], k[N], v[N], out[N], lse[TOKENS], dout[N], dq[N], dk[N], dv[N];

static double value(const heed_score *score, heed_pos at, double x) { return x / (1 + fabs(x) / score->f[0]); }
static double slope(const heed_score *score, heed_pos at, double x) { return 1 / pow(1 + fabs(x) / score->f[0], 2); }
static const heed_score_kind softsign = {.name = "softsign", .value = value, .slope = slope};

// Runs one pass and returns the sum of dout * out.
static double run(heed_pass pass) {
    heed_problem p = {.batch = 1, .heads = 1, .queries = TOKENS, .channels = CHANNELS, .pass = pass, .mask = {heed_causal()}};
    p.score[0] = (heed_score){.kind = &softsign, .f = {2}};    // scores stay between -2 and 2
    heed_args args = {.q = q, .k = k, .v = v, .out = out, .lse = lse, .dout = dout, .dq = dq, .dk = dk, .dv = dv};
    heed_plan *plan;
    heed_error error;
    if (heed_plan_create(&plan, &p, NULL, &error) != HEED_OK) exit((puts(error.text), 1));
    args.workspace = aligned_alloc(64, (args.workspace_bytes = (heed_workspace_bytes(plan) + 63) / 64 * 64));
    if (heed_run(plan, &args, &error) != HEED_OK) exit((puts(error.text), 1));
    free(args.workspace);
    heed_plan_destroy(plan);
    double sum = 0;
    for (int i = 0; i < N; i++) sum += (double)dout[i] * out[i];
    return sum;
}

int main(void) {
    for (int i = 0; i < N; i++) q[i] = 3 * sinf(i), k[i] = 3 * cosf(2 * i), v[i] = sinf(3 * i), dout[i] = cosf(5 * i);
    run(HEED_FORWARD), run(HEED_BACKWARD);
    q[PROBED] += 0.01f;
    const double up = run(HEED_FORWARD), down = (q[PROBED] -= 0.02f, run(HEED_FORWARD));
    printf("dq is %.5f, by moving q %.5f\n", dq[PROBED], (up - down) / 0.02);
    return !(fabs((up - down) / 0.02 - dq[PROBED]) < 1e-3);
}
