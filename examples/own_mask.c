// SPDX-License-Identifier: Apache-2.0
// A mask of one's own is an equal citizen: define `visible` and every implementation honours it. `classify` is optional
// and buys speed, because tiles in which nothing is visible are skipped.
#include <heed/heed.h>
#include <stdio.h>
#include <stdlib.h>

enum { TOKENS = 256, CHANNELS = 32, STEP = 16, N = TOKENS * CHANNELS };

// Each query sees its own stripe only: the keys whose index has the same remainder by STEP, up to itself.
static bool visible(const heed_mask *mask, heed_pos at) {
    return at.key <= at.position && (at.position - at.key) % mask->i[0] == 0;
}

static heed_rect_class classify(const heed_mask *mask, const heed_rect *rect) {
    return rect->first.key > rect->first.position + rect->rows - 1 ? HEED_RECT_SKIP : HEED_RECT_EDIT;
}

static const heed_mask_kind stripes = {.name = "stripes", .visible = visible, .classify = classify};
static float q[N], k[N], v[N], out[N];

int main(void) {
    for (int i = 0; i < N; i++) v[i] = (float)(i / CHANNELS % STEP);    // the value of a key is its stripe
    heed_problem p = {.batch = 1, .heads = 1, .queries = TOKENS, .channels = CHANNELS, .mask = {{.kind = &stripes, .i = {STEP}}}};
    heed_plan *plan;
    heed_error error;
    if (heed_plan_create(&plan, &p, NULL, &error) != HEED_OK) return puts(error.text), 1;
    heed_args args = {.q = q, .k = k, .v = v, .out = out, .workspace_bytes = heed_workspace_bytes(plan)};
    args.workspace = aligned_alloc(64, (args.workspace_bytes + 63) / 64 * 64);
    if (heed_run(plan, &args, &error) != HEED_OK) return puts(error.text), 1;
    int wrong = 0;
    for (int i = 0; i < N; i++) wrong += out[i] < v[i] - 1e-4f || out[i] > v[i] + 1e-4f;
    printf("%s: %d of %d rows mixed stripes\n", heed_plan_implementation(plan), wrong / CHANNELS, TOKENS);
    heed_plan_destroy(plan);
    free(args.workspace);
    return wrong != 0;
}
