// SPDX-License-Identifier: Apache-2.0
// What rounding alone does to straightforward f32 code over the same stored inputs.
#define REAL float
#include "ref/attention.inl"

static float rounded(heed_dtype type, float x) {
    uint32_t storage;
    dtype_store(type, &storage, 0, x);
    return dtype_load(type, &storage, 0);
}

// out is rounded once, to its storage type, and the gradients read that.
static void finish_row(ref_head *h, int64_t i) {
    for (int64_t c = 0; c < h->p->value_channels; c++) h->out[c] = (double)rounded(h->p->dtype, (float)h->out[c]);
    store_row(h, i);
}

static void round_all(heed_dtype type, double *array, int64_t n) {
    for (int64_t i = 0; array != NULL && i < n; i++) array[i] = (double)rounded(type, (float)array[i]);
}

void plain_compute(const heed_problem *p, const heed_args *a, const ref_results *r, void *scratch) {
    compute(p, a, r, scratch, finish_row);
    if (p->pass == HEED_FORWARD) return;
    const int64_t queries = p->batch * p->heads * p->queries, keys = p->batch * p->kv_heads * p->keys;
    round_all(p->dtype, r->dq, queries * p->channels);
    round_all(p->kv_dtype, r->dk, keys * p->channels);
    round_all(p->kv_dtype, r->dv, keys * p->value_channels);
    if (r->dbias != NULL) round_all(p->bias_dtype, r->dbias, problem_grid_size(p, p->bias_axes));
}
