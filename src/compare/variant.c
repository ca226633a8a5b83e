// SPDX-License-Identifier: Apache-2.0
#include "compare/variant.h"

#include <string.h>

variant variant_of(const call *c) {
    const heed_problem *p = &c->problem;
    variant v = {.prefix = -1, .left = -1, .right = -1, .empty = p->empty_row, .scale = p->scale, .sink_factor = 1,
                 .exponent_factor = 1, .bias_factor = 1};
    for (int i = 0; i < HEED_EDITS && p->mask[i].kind != NULL; i++) {
        const heed_mask *mask = &p->mask[i];
        if (strcmp(mask->kind->name, "causal") == 0) v.causal = true;
        if (strcmp(mask->kind->name, "prefix") == 0) v.prefix = mask->i[0];
        if (strcmp(mask->kind->name, "window") == 0) v.left = mask->i[0], v.right = mask->i[1];
    }
    v.rope = (variant_rope){.layout = c->line.rope.layout, .theta = c->line.rope.theta, .yarn = c->line.rope.yarn,
                            .concentration = 1};
    return v;
}

int variants_correct(const call *c, variant list[VARIANTS_CORRECT]) {
    const variant claimed = variant_of(c);
    list[0] = claimed;
    if (claimed.rope.layout == ROPE_NONE) return 1;
    const int n = c->cos != NULL ? 3 : VARIANTS_CORRECT;    // captured tables have no angles
    for (int i = 1; i < n; i++) {
        list[i] = claimed;
        list[i].rope.round_result = i % 3 == 1;
        list[i].rope.round_products = i % 3 == 2;
        list[i].rope.f32_angles = i >= 3;
    }
    return n;
}
