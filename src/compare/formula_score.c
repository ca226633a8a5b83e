// SPDX-License-Identifier: Apache-2.0
// A row's scores and which of them take part: the claim's formula, and at each step what a variant does instead.
#include "compare/formula.h"

#include "base/dtype.h"
#include "base/memory.h"
#include "core/problem.h"

#include <math.h>
#include <string.h>

double formula_round(heed_dtype type, double x) {
    switch (type) {
    case HEED_BF16: return (double)bf16_to_f32(bf16_of_f32((float)x));
    case HEED_F16: return (double)f16_to_f32(f16_of_f32((float)x));
    default: return (double)(float)x;
    }
}

int64_t formula_kv_head(const formula *f, int64_t head) {
    const int64_t n = f->c->kv_heads, claimed = head / f->c->group;
    switch (f->v.heads) {
    case HEADS_TILED: return head % n;
    case HEADS_PLUS_ONE: return (claimed + 1) % n;
    case HEADS_REVERSED: return n - 1 - claimed;
    case HEADS_FIRST: return 0;
    case HEADS_CLAIMED: break;
    }
    return claimed;
}

// ---- Who is seen --------------------------------------------------------------------------------------------------

static int64_t mask_offset(const formula *f, const call_sequence *s) {
    switch (f->v.offset) {
    case OFFSET_TOP: return 0;
    case OFFSET_BOTTOM: return s->n_key - f->c->queries;
    case OFFSET_CLAIMED: break;
    }
    return s->offset;
}

// Keys [first, end) that the interval masks show at this position.
static void masked_interval(const formula *f, int64_t position, int64_t *first, int64_t *end) {
    const variant *v = &f->v;
    if (v->left >= 0) *first = int64_max(*first, position - v->left);
    if (v->right >= 0) *end = int64_min(*end, position + v->right + 1 + v->right_shift);
    if (v->causal) *end = int64_min(*end, position + 1 + v->right_shift);
    if (v->prefix >= 0) *end = int64_min(*end, int64_max(position + 1 + v->right_shift, v->prefix));
}

static void padding_interval(const formula *f, const call_sequence *s, int64_t *first, int64_t *end) {
    int64_t from = s->first_valid, to = s->end_valid;
    if (f->v.padding == PADDING_OTHER_SIDE) from = s->n_key - s->end_valid, to = s->n_key - s->first_valid;
    if (f->v.padding == PADDING_NONE || f->v.padding == PADDING_ZERO_SCORES) from = 0, to = s->n_key;
    *first = int64_max(*first, from);
    *end = int64_min(*end, to);
}

static int32_t document_at(const formula *f, const int32_t *documents, int64_t n_key, int64_t at) {
    if (f->v.docs == DOCS_LATE) at = int64_max(at - 1, 0);
    if (f->v.docs == DOCS_EARLY) at = int64_min(at + 1, n_key - 1);
    return documents[at];
}

static void hide_documents(const formula *f, formula_row *r) {
    if (f->c->documents == NULL || f->v.docs == DOCS_NONE) return;
    const int32_t *documents = f->c->documents + r->batch * f->c->keys;
    const int32_t own = document_at(f, documents, r->at.n_key, r->row + r->at.offset);
    for (int64_t j = r->first; j < r->end; j++) r->shown[j] &= document_at(f, documents, r->at.n_key, j) == own;
}

static int64_t grid_at(heed_grid_stride s, const formula_row *r, int64_t row, int64_t key) {
    return r->batch * s.batch + r->head * s.head + row * s.query + key * s.key;
}

static void hide_by_mask(const formula *f, formula_row *r) {
    if (f->c->mask == NULL || f->v.mask == MASK_NONE || f->v.mask == MASK_AS_BIAS) return;
    const heed_grid_stride s = problem_grid_dense(&f->c->problem, f->c->problem.mask_axes);
    const bool inverted = f->v.mask == MASK_INVERTED;
    for (int64_t j = r->first; j < r->end; j++) r->shown[j] &= (f->c->mask[grid_at(s, r, r->row, j)] != 0) != inverted;
}

// A tail that is no whole tile is left out, where at least one tile is whole.
static int64_t keys_computed(const formula *f, int64_t n_key) {
    const int64_t whole = f->v.tile == TILE_TAIL_DROPPED ? n_key / f->v.tile_keys * f->v.tile_keys : 0;
    return whole > 0 ? whole : n_key;
}

void formula_row_shown(const formula *f, formula_row *r) {
    r->first = 0;
    r->end = keys_computed(f, r->at.n_key);
    masked_interval(f, r->row + mask_offset(f, &r->at), &r->first, &r->end);
    padding_interval(f, &r->at, &r->first, &r->end);
    r->first = int64_max(r->first, 0);
    r->end = int64_max(r->end, r->first);
    memset(r->shown, 0, (size_t)f->c->keys);
    memset(r->shown + r->first, 1, (size_t)(r->end - r->first));
    hide_documents(f, r);
    hide_by_mask(f, r);
}

// ---- Scores -------------------------------------------------------------------------------------------------------

// raw[j] = q . k_j over the keys [first, end), channel by channel.
static void dot_products(const formula *f, formula_row *r, int64_t first, int64_t end) {
    const call *c = f->c;
    const int64_t D = c->channels, K = c->keys;
    const int64_t key_head = f->v.roles == ROLES_QK_SWAPPED ? r->head : r->kv_head;
    const double *q = f->query + ((r->batch * (f->v.roles == ROLES_QK_SWAPPED ? c->kv_heads : c->heads) +
                                   (f->v.roles == ROLES_QK_SWAPPED ? r->kv_head : r->head)) * c->queries + r->row) * D;
    const double *k = f->key_t + (r->batch * f->key_heads + key_head) * D * K;
    const bool rounds = f->v.rounding == ROUND_ACCUMULATE;
    memset(r->raw + first, 0, (size_t)(end - first) * sizeof(double));
    for (int64_t t = 0; t < D; t++) {
        const double qt = q[t], *kt = k + t * K;
        if (rounds)
            for (int64_t j = first; j < end; j++) r->raw[j] = formula_round(c->problem.dtype, r->raw[j] + qt * kt[j]);
        else
            for (int64_t j = first; j < end; j++) r->raw[j] += qt * kt[j];
    }
    for (int64_t j = first; j < end && f->v.rounding == ROUND_STAGES; j++) r->raw[j] = formula_round(c->problem.dtype, r->raw[j]);
}

// The caps of the claim, all of them softcaps, in order.
double formula_capped(const formula *f, double x) {
    const heed_problem *p = &f->c->problem;
    for (int i = 0; i < HEED_EDITS && p->score[i].kind != NULL; i++) x = p->score[i].f[0] * tanh(x / p->score[i].f[0]);
    return x;
}

double formula_distance(const formula *f, const formula_row *r, int64_t j) {
    const double distance = (double)(j - (r->row + r->at.offset));
    switch (f->v.alibi) {
    case ALIBI_NONE: return 0;
    case ALIBI_SIGN: return -distance;
    case ALIBI_UNSHIFTED: return (double)j;
    case ALIBI_ABSOLUTE: return -fabs(distance);
    default: return distance;
    }
}

static double slope_term(const formula *f, const formula_row *r, int64_t j) {
    return f->c->slopes == NULL || f->v.alibi == ALIBI_NONE ? 0 : f->c->slopes[r->head] * formula_distance(f, r, j);
}

static double bias_at(const formula *f, const formula_row *r, int64_t j) {
    if (f->c->bias == NULL) return 0;
    const heed_grid_stride s = problem_grid_dense(&f->c->problem, f->c->problem.bias_axes);
    const bool turned = f->v.bias == BIAS_TRANSPOSED;
    return f->c->bias[grid_at(s, r, turned ? j : r->row, turned ? r->row : j)];
}

// What is added to a score besides the product: slope, bias, and a mask taken for numbers.
static double added_terms(const formula *f, const formula_row *r, int64_t j, double bias) {
    double term = slope_term(f, r, j);
    if (f->v.bias_factor != 0) term += f->v.bias_factor * bias;
    if (f->v.mask == MASK_AS_BIAS && f->c->mask != NULL) {
        const heed_grid_stride s = problem_grid_dense(&f->c->problem, f->c->problem.mask_axes);
        term += f->c->mask[grid_at(s, r, r->row, j)] != 0;
    }
    return term;
}

double formula_terms(const formula *f, const formula_row *r, int64_t j) { return added_terms(f, r, j, bias_at(f, r, j)); }

// A score after its edits. hidden: a cap that comes after the masks makes -cap of it.
static double edited(const formula *f, const formula_row *r, int64_t j, bool hidden) {
    const heed_problem *p = &f->c->problem;
    const bool bias_first = p->with & HEED_BIAS_FIRST, cap_first = f->v.cap == CAP_BEFORE_SCALE;
    const double bias = bias_at(f, r, j);
    if (bias == -INFINITY && f->v.bias_factor != 0) return -INFINITY;
    const double dot = f->v.rounding == ROUND_OVERFLOW ? formula_round(HEED_F16, r->raw[j]) : r->raw[j];
    double x = cap_first ? formula_capped(f, dot) * f->v.scale : dot * f->v.scale;
    const double term = added_terms(f, r, j, bias);
    if (f->v.rounding == ROUND_STAGES) x = formula_round(p->dtype, x);
    if (bias_first) x += term;
    if (hidden) x = -INFINITY;
    if (f->v.cap != CAP_NONE && !cap_first) x = formula_capped(f, x);
    if (!bias_first) x += term;
    x *= f->v.exponent_factor;
    const bool rounds = f->v.rounding == ROUND_SCORES || f->v.rounding == ROUND_ACCUMULATE || f->v.rounding == ROUND_STAGES;
    return rounds ? formula_round(p->dtype, x) : x;
}

void formula_row_scores(const formula *f, formula_row *r) {
    formula_row_shown(f, r);
    const bool all = f->v.cap == CAP_AFTER_MASK;
    const int64_t first = all ? 0 : r->first, end = all ? r->at.n_key : r->end;
    dot_products(f, r, first, end);
    for (int64_t j = first; j < end; j++) {
        if (!r->shown[j] && !all) continue;
        const bool padded = j < r->at.first_valid || j >= r->at.end_valid;
        r->x[j] = f->v.padding == PADDING_ZERO_SCORES && padded ? 0 : edited(f, r, j, !r->shown[j]);
        r->shown[j] = r->x[j] != -INFINITY;
    }
    r->first = first;
    r->end = end;
    r->empty = true;
    for (int64_t j = first; j < end && r->empty; j++) r->empty = !r->shown[j];
}
