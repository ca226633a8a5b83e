// SPDX-License-Identifier: Apache-2.0
#include <heed/heed.h>
#include <stdio.h>
#include <stdlib.h>

int main(void) {    // 8 query heads share 2 kv heads; with a causal mask, row i sees the keys 0 .. i
    heed_problem p = {.batch = 1, .heads = 8, .kv_heads = 2, .queries = 128, .channels = 64, .mask = {heed_causal()}};
    heed_plan *plan;
    heed_error error;
    if (heed_plan_create(&plan, &p, NULL, &error) != HEED_OK) return puts(error.text), 1;
    size_t bytes = heed_workspace_bytes(plan);
    float *q = calloc(8 * 128 * 64, 4), *k = calloc(2 * 128 * 64, 4), *v = calloc(2 * 128 * 64, 4), *out = calloc(8 * 128 * 64, 4);
    for (int i = 0; i < 2 * 128 * 64; i++) v[i] = (float)(i / 64 % 128);    // q = k = 0: row i gives the mean of 0 .. i
    heed_args args = {.q = q, .k = k, .v = v, .out = out, .workspace_bytes = bytes};
    args.workspace = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (heed_run(plan, &args, &error) != HEED_OK) return puts(error.text), 1;
    printf("%s on %s: row 127 of head 0 is %g\n", heed_plan_implementation(plan), heed_plan_cpu(plan), out[127 * 64]);
    int wrong = out[127 * 64] < 63.49f || out[127 * 64] > 63.51f;
    heed_plan_destroy(plan);
    return wrong;
}
