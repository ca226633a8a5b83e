// SPDX-License-Identifier: Apache-2.0
// Training: one problem, two plans. The backward plan reads what the forward one wrote (out and lse) and one args struct
// serves both. The gradient of sum(out) with respect to v is checked: each weight is counted once, so its sum is known.
#include <heed/heed.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { HEADS = 4, TOKENS = 64, CHANNELS = 32, N = HEADS * TOKENS * CHANNELS };
static float q[N], k[N], v[N], out[N], lse[HEADS * TOKENS], dout[N], dq[N], dk[N], dv[N];

static heed_status run(heed_problem p, heed_args args, heed_error *error) {
    heed_plan *plan;
    heed_status status = heed_plan_create(&plan, &p, NULL, error);
    if (status != HEED_OK) return status;
    args.workspace_bytes = heed_workspace_bytes(plan);
    args.workspace = aligned_alloc(64, (args.workspace_bytes + 63) / 64 * 64);
    status = heed_run(plan, &args, error);
    free(args.workspace);
    heed_plan_destroy(plan);
    return status;
}

int main(void) {
    for (int i = 0; i < N; i++) q[i] = sinf(i), k[i] = cosf(i), v[i] = sinf(3 * i), dout[i] = 1;
    heed_problem p = {.batch = 1, .heads = HEADS, .queries = TOKENS, .channels = CHANNELS, .mask = {heed_causal()}};
    heed_args args = {.q = q, .k = k, .v = v, .out = out, .lse = lse, .dout = dout, .dq = dq, .dk = dk, .dv = dv};
    heed_error error;
    if (run(p, args, &error) != HEED_OK) return puts(error.text), 1;
    p.pass = HEED_BACKWARD;
    if (run(p, args, &error) != HEED_OK) return puts(error.text), 1;
    double sum = 0;
    for (int i = 0; i < N; i++) sum += dv[i];
    printf("sum of dv is %.3f, expected %d: the weights of every row sum to 1\n", sum, N);
    return fabs(sum - N) > 1e-3 * N;
}
