// SPDX-License-Identifier: Apache-2.0
// The only file that knows every list.
#include "core/impl.h"
#include "core/rows.h"
#include "cpu/kernels.h"

// Masks and score functions.
#define MASK(name, least, most, lowest, examples) extern const heed_mask_kind mask_##name;
#include "mask/masks.def"
#undef MASK
#define SCORE(name, least, most, examples) extern const heed_score_kind score_##name;
#include "score/scores.def"
#undef SCORE

const mask_row mask_rows[] = {
#define MASK(name, least, most, lowest, examples) {#name, &mask_##name, least, most, lowest, examples},
#include "mask/masks.def"
#undef MASK
    {.name = NULL},
};

const score_row score_rows[] = {
#define SCORE(name, least, most, examples) {#name, &score_##name, least, most, examples},
#include "score/scores.def"
#undef SCORE
    {.name = NULL},
};

// Implementations, in the order of the report; cost decides.
extern const heed_impl impl_ref, impl_ref_bwd;
#define IMPL(symbol) extern const heed_impl impl_##symbol;
#include "cpu/impls.def"
#undef IMPL

const heed_impl *const heed_impls[] = {
#define IMPL(symbol) &impl_##symbol,
#include "cpu/impls.def"
#undef IMPL
    &impl_ref, &impl_ref_bwd, NULL,
};

heed_status machine_describe(const heed_choice *choice, heed_machine *machine, heed_error *error) {
    heed_error unknown;
    const cpu_kernels *cpu = cpu_kernels_best(choice == NULL ? NULL : choice->cpu, &unknown);
    if (cpu == NULL) return error_set(error, unknown.status, "%s", unknown.text);
    *machine = (heed_machine){.cpu = cpu, .cpu_name = cpu->name};
    return HEED_OK;
}
