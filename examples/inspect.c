// SPDX-License-Identifier: Apache-2.0
// What did the last row attend to? One key is planted that its query matches; heed_inspect finds it again: by the row's
// weights, by the head's largest score, and by how many keys each row attends to (the exponential of its entropy).
#include <heed/inspect.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { TOKENS = 200, CHANNELS = 32, N = TOKENS * CHANNELS, PLANTED = 42 };
static float q[N], k[N], v[N], out[N], lse[TOKENS], weights[TOKENS], entropy[TOKENS], largest;

int main(void) {
    for (int c = 0; c < CHANNELS; c++) q[(TOKENS - 1) * CHANNELS + c] = k[PLANTED * CHANNELS + c] = c % 2 ? 2 : -2;
    const heed_problem p = {.batch = 1, .heads = 1, .queries = TOKENS, .channels = CHANNELS, .mask = {heed_causal()}};
    heed_args args = {.q = q, .k = k, .v = v, .out = out, .lse = lse};
    heed_plan *plan;
    heed_error error;
    if (heed_plan_create(&plan, &p, NULL, &error) != HEED_OK) return puts(error.text), 1;
    const size_t run = heed_workspace_bytes(plan), look = heed_inspect_bytes(plan);    // one workspace for both
    args.workspace_bytes = ((run > look ? run : look) + 63) / 64 * 64;
    args.workspace = aligned_alloc(64, args.workspace_bytes);
    if (heed_run(plan, &args, &error) != HEED_OK) return puts(error.text), 1;

    const int64_t last = TOKENS - 1;
    int64_t at[2];
    const heed_wanted row = {.rows = &last, .n_rows = 1, .row_weights = weights};              // one row: TOKENS weights
    const heed_wanted head = {.entropy = entropy, .largest = &largest, .largest_at = at};      // every row, the whole head
    if (heed_inspect(plan, &args, &row, &error) != HEED_OK) return puts(error.text), 1;
    if (heed_inspect(plan, &args, &head, &error) != HEED_OK) return puts(error.text), 1;
    printf("row %d gives key %d the weight %.4f; the largest score is %.2f, of row %d and key %d\n", (int)last, PLANTED,
           weights[PLANTED], largest, (int)at[0], (int)at[1]);
    printf("row 99 attends to %.2f keys, row %d to %.2f\n", exp(entropy[99]), (int)last, exp(entropy[last]));
    heed_plan_destroy(plan);
    free(args.workspace);
    return at[0] != last || at[1] != PLANTED || weights[PLANTED] < 0.99f || fabs(exp(entropy[99]) - 100) > 0.01;
}
