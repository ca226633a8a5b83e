// SPDX-License-Identifier: Apache-2.0
#include <heed/heed.h>
#include <stdio.h>
#include <stdlib.h>

enum { HEADS = 8, KV_HEADS = 2, TOKENS = 128, CHANNELS = 64, Q = HEADS * TOKENS * CHANNELS, KV = KV_HEADS * TOKENS * CHANNELS };
static float q[Q], k[KV], v[KV], out[Q];

int main(void) {    // 8 query heads share 2 key/value heads; with a causal mask, row i sees the keys 0 .. i
    heed_problem p = {.batch = 1, .heads = HEADS, .kv_heads = KV_HEADS, .queries = TOKENS, .channels = CHANNELS};
    p.mask[0] = heed_causal();
    for (int i = 0; i < KV; i++) v[i] = (float)(i / CHANNELS % TOKENS);    // q = k = 0: row i is the mean of 0 .. i
    heed_plan *plan;
    heed_error error;
    if (heed_plan_create(&plan, &p, NULL, &error) != HEED_OK) return puts(error.text), 1;
    heed_args args = {.q = q, .k = k, .v = v, .out = out, .workspace_bytes = heed_workspace_bytes(plan)};
    args.workspace = aligned_alloc(64, (args.workspace_bytes + 63) / 64 * 64);
    if (heed_run(plan, &args, &error) != HEED_OK) return puts(error.text), 1;
    printf("%s on %s: row 127 is %g\n", heed_plan_implementation(plan), heed_plan_cpu(plan), out[127 * CHANNELS]);
    heed_plan_destroy(plan);
    free(args.workspace);
    return out[127 * CHANNELS] != 63.5f;
}
