// SPDX-License-Identifier: Apache-2.0
#include "core/unprotected.h"

#include "core/impl.h"
#include "core/problem.h"

static bool row_is_finite(const problem_array *a, const void *array, int64_t b, int64_t head, int64_t token) {
    const void *row = row_at(a->dtype, array, a->stride, b, head, token);
    for (int64_t c = 0; c < a->channels; c++)
        if (!isfinite(dtype_load(a->dtype, row, c))) return false;
    return true;
}

static bool hides(const edit_sequence *s, int64_t head, int64_t i, int64_t j) {
    return !edit_visible(s, head, i, j) || edit_score(s, head, i, j, 0) == -INFINITY;
}

// Key j of this head is not finite: every row that hides it.
static void spread_key(const edit_sequence *s, int64_t head, int64_t kv_head, int64_t j, bool key_is_finite) {
    const heed_problem *p = s->problem;
    const heed_args *a = s->args;
    const problem_array out = problem_array_of(p, PROBLEM_OUT), v = problem_array_of(p, PROBLEM_V);
    const void *value = row_at(v.dtype, a->v, v.stride, s->batch, kv_head, j);
    for (int64_t i = 0; i < p->queries; i++) {
        if (!hides(s, head, i, j)) continue;
        void *row = row_at_mut(out.dtype, a->out, out.stride, s->batch, head, i);
        for (int64_t c = 0; c < out.channels; c++)
            if (!key_is_finite || !isfinite(dtype_load(v.dtype, value, c))) dtype_store(out.dtype, row, c, NAN);
        if (!key_is_finite && a->lse != NULL) a->lse[(s->batch * p->heads + head) * p->queries + i] = NAN;
    }
}

void unprotected_spread(const heed_problem *p, const heed_args *a) {
    const problem_array k = problem_array_of(p, PROBLEM_K), v = problem_array_of(p, PROBLEM_V);
    const int64_t group = p->heads / p->kv_heads;
    for (int64_t b = 0; b < p->batch; b++) {
        const edit_sequence s = edit_begin(p, a, b);
        for (int64_t kv_head = 0; kv_head < p->kv_heads; kv_head++)
            for (int64_t j = 0; j < s.n_key; j++) {
                const bool key_is_finite = row_is_finite(&k, a->k, b, kv_head, j);
                if (key_is_finite && row_is_finite(&v, a->v, b, kv_head, j)) continue;
                for (int64_t h = 0; h < group; h++) spread_key(&s, kv_head * group + h, kv_head, j, key_is_finite);
            }
    }
}
