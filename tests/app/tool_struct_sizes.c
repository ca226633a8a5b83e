// SPDX-License-Identifier: Apache-2.0
// Prints what the compiler makes of the public structs: "struct size" and "struct.field offset", for mirrors to check.
#include <stddef.h>
#include <stdio.h>

#include "heed/heed.h"
#include "heed/inspect.h"

static void size(const char *name, size_t bytes) {
    printf("%s %zu\n", name, bytes);
}

int main(void) {
    size("heed_error", sizeof(heed_error));
    size("heed_stride", sizeof(heed_stride));
    size("heed_grid_stride", sizeof(heed_grid_stride));
    size("heed_mask", sizeof(heed_mask));
    size("heed_score", sizeof(heed_score));
    size("heed_pos", sizeof(heed_pos));
    size("heed_mask_kind", sizeof(heed_mask_kind));
    size("heed_mask_kind.axes", offsetof(heed_mask_kind, axes));
    size("heed_score_kind", sizeof(heed_score_kind));
    size("heed_problem", sizeof(heed_problem));
    size("heed_args", sizeof(heed_args));
    size("heed_choice", sizeof(heed_choice));
    size("heed_wanted", sizeof(heed_wanted));
    size("heed_preset", sizeof(heed_preset));
    size("heed_problem.dtype", offsetof(heed_problem, dtype));
    size("heed_problem.pass", offsetof(heed_problem, pass));
    size("heed_problem.with", offsetof(heed_problem, with));
    size("heed_problem.scale", offsetof(heed_problem, scale));
    size("heed_problem.ragged", offsetof(heed_problem, ragged));
    size("heed_problem.mask", offsetof(heed_problem, mask));
    size("heed_problem.q", offsetof(heed_problem, q));
    size("heed_problem.dv", offsetof(heed_problem, dv));
    size("heed_problem.bias_axes", offsetof(heed_problem, bias_axes));
    size("heed_problem.bool_mask", offsetof(heed_problem, bool_mask));
    size("heed_args.seed", offsetof(heed_args, seed));
    size("heed_args.dout", offsetof(heed_args, dout));
    size("heed_args.workspace_bytes", offsetof(heed_args, workspace_bytes));
    size("heed_choice.pool", offsetof(heed_choice, pool));
    size("heed_wanted.n_keys", offsetof(heed_wanted, n_keys));
    size("heed_wanted.largest_at", offsetof(heed_wanted, largest_at));
    size("heed_preset.empty_row", offsetof(heed_preset, empty_row));
    size("heed_preset.one_mask", offsetof(heed_preset, one_mask));
    size("heed_preset.empty_lse", offsetof(heed_preset, empty_lse));
    return 0;
}
