// SPDX-License-Identifier: Apache-2.0
#include "cpu/rates.h"

#include "core/problem.h"

#include <string.h>

typedef struct { const char *isa; rates r; } row;

#define RATES(isa, product, softmax, edit, pack, call, eager) {#isa, {product, softmax, edit, pack, call, eager}},
static const row rows[] = {
#include "cpu/rates.def"
};
#undef RATES

rates rates_of(const cpu_kernels *cpu) {
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strcmp(rows[i].isa, cpu->name) == 0) return rows[i].r;
    }
    return rows[0].r;    // a new instruction set without its row yet: priced as scalar
}

double rates_visible(const heed_problem *p) { return p->batch > 0 ? problem_visible(p) / (double)p->batch : 0; }

double rates_all(const heed_problem *p) { return (double)p->heads * (double)p->queries * (double)p->keys; }

double rates_edit_ns(const heed_problem *p, const rates *r) {
    double edits = 0;
    for (int i = 0; i < HEED_EDITS && p->score[i].kind != NULL; i++) edits += p->score[i].kind->tile != NULL ? 0.5 : 3;
    for (int i = 0; i < HEED_EDITS && p->mask[i].kind != NULL; i++) edits += p->mask[i].kind->keys_of_row != NULL ? 0 : 1;
    if (p->with & (HEED_BIAS | HEED_SLOPES)) edits += 0.2;
    if (p->with & (HEED_MASK | HEED_DOCUMENTS)) edits += 0.2;
    if (p->dropout > 0) edits += 0.1;
    return edits * r->edit;
}

double rates_floats(const heed_problem *p) {
    const double width = (double)(p->channels + p->value_channels);
    const double once = (double)(p->heads * p->queries + p->kv_heads * p->keys) * width;
    return p->pass == HEED_BACKWARD ? 3 * once : once;
}
