// SPDX-License-Identifier: Apache-2.0
// The inputs as a variant reads them: rotary embedding (Su et al. 2021, section 3.4; YaRN: Peng et al. 2023, section 3.4),
// exchanged roles, misread layouts, a cache whose last rows or pages are wrong.
#include "compare/formula.h"

#include "base/error.h"
#include "base/memory.h"

#include <math.h>
#include <string.h>

// ---- Rotary -------------------------------------------------------------------------------------------------------

// Angle a position of channel pair `pair` turns by, per position. YaRN blends the frequencies of long and short waves;
// original length 4096, alpha 1, beta 32.
static double frequency(const variant_rope *rope, int64_t pair, int64_t channels) {
    const double d = (double)channels, f = pow(rope->theta, 2 * (double)pair / d);
    if (rope->yarn <= 1) return 1 / f;
    const double pi = acos(-1), low = d / 2 * log(4096 / (32 * 2 * pi)) / log(rope->theta);
    const double high = d / 2 * log(4096 / (2 * pi)) / log(rope->theta);
    const double r = fmin(1, fmax(0, ((double)pair - low) / (high - low)));
    return r / (rope->yarn * f) + (1 - r) / f;
}

static double concentration(const variant_rope *rope) {
    return rope->yarn <= 1 ? 1 : pow(0.1 * log(rope->yarn) + 1, rope->concentration);
}

// table: captured cosines and sines stand for the claim's own; a variant of other angles has others.
typedef struct { const formula *f; const variant_rope *rope; double concentration; int64_t turned; bool table; } turner;

static void cos_sin(const turner *t, int64_t position, int64_t pair, double *cosine, double *sine) {
    const call *c = t->f->c;
    if (t->table && position >= 0 && position < c->positions) {
        *cosine = c->cos[position * (c->channels / 2) + pair];
        *sine = c->sin[position * (c->channels / 2) + pair];
    } else {
        double angle = (double)position * frequency(t->rope, pair, t->turned);
        if (t->rope->f32_angles) angle = (double)((float)position * (float)frequency(t->rope, pair, t->turned));
        *cosine = cos(angle) * t->concentration;
        *sine = sin(angle) * t->concentration;
    }
    if (t->rope->bf16_table) *cosine = formula_round(HEED_BF16, *cosine), *sine = formula_round(HEED_BF16, *sine);
    if (t->rope->inverse) *sine = -*sine;
}

// One row, in place: pairs (a, b) -> (a cos - b sin, b cos + a sin).
static void turn_row(const turner *t, int64_t position, double *row) {
    const variant_rope *rope = t->rope;
    const heed_dtype type = t->f->c->problem.dtype;
    const int64_t half = t->turned / 2;
    for (int64_t i = 0; i < half; i++) {
        double *a = rope->layout == ROPE_PAIRS ? row + 2 * i : row + i, *b = rope->layout == ROPE_PAIRS ? a + 1 : a + half;
        double cosine, sine;
        cos_sin(t, position, i, &cosine, &sine);
        double ac = *a * cosine, bs = *b * sine, bc = *b * cosine, as = *a * sine;
        if (rope->round_products || rope->round_result) {    // a result is computed in f32 first, and so rounded twice
            const heed_dtype products = rope->round_products ? type : HEED_F32;
            ac = formula_round(products, ac), bs = formula_round(products, bs);
            bc = formula_round(products, bc), as = formula_round(products, as);
        }
        *a = ac - bs;
        *b = bc + as;
        if (rope->round_result || rope->round_products) {
            *a = formula_round(type, formula_round(HEED_F32, *a));
            *b = formula_round(type, formula_round(HEED_F32, *b));
        }
    }
}

static turner turner_of(const formula *f) {
    const call *c = f->c;
    const variant_rope *rope = &f->v.rope;
    const bool table = c->cos != NULL && rope->theta == c->line.rope.theta && rope->yarn == c->line.rope.yarn &&
                       rope->concentration == 1 && !rope->partial;
    return (turner){f, rope, concentration(rope), rope->partial ? c->channels / 4 * 2 : c->channels, table};
}

static void turn(const formula *f, double *query, double *key) {
    const call *c = f->c;
    const variant_rope *rope = &f->v.rope;
    if (rope->layout == ROPE_NONE) return;
    const turner t = turner_of(f);
    for (int64_t b = 0; b < c->batch; b++) {
        const int64_t offset = (rope->no_offset ? 0 : call_sequence_of(c, b).offset) + rope->q_shift;
        for (int64_t row = 0; row < c->heads * c->queries; row++)
            turn_row(&t, row % c->queries + offset, query + (b * c->heads * c->queries + row) * c->channels);
        for (int64_t row = 0; row < c->kv_heads * c->keys && !rope->q_only; row++)
            turn_row(&t, row % c->keys, key + (b * c->kv_heads * c->keys + row) * c->channels);
    }
}

// ---- Layouts and caches -------------------------------------------------------------------------------------------

// Memory in (batch, token, head, channel) read as (batch, head, token, channel): what the reader takes for its rows.
static void misread(const double *from, double *to, int64_t batch, int64_t heads, int64_t tokens, int64_t channels) {
    for (int64_t b = 0; b < batch; b++)
        for (int64_t place = 0; place < heads * tokens; place++) {
            const int64_t head = place % heads, token = place / heads;    // what really lies there
            memcpy(to + (b * heads * tokens + place) * channels, from + ((b * heads + head) * tokens + token) * channels,
                   (size_t)channels * sizeof *to);
        }
}

// The rows of one head as (channels, tokens), read as (tokens, channels).
static void misread_transposed(const double *from, double *to, int64_t heads, int64_t tokens, int64_t channels) {
    for (int64_t h = 0; h < heads; h++, from += tokens * channels, to += tokens * channels)
        for (int64_t place = 0; place < tokens * channels; place++)
            to[place] = from[place % tokens * channels + place / tokens];
}

static void spoil_cache(const formula *f, double *rows, int64_t channels) {
    const call *c = f->c;
    const int64_t page = c->problem.page_size > 0 ? c->problem.page_size : 16;
    for (int64_t b = 0; b < c->batch; b++) {
        const int64_t n = call_sequence_of(c, b).end_valid;
        for (int64_t g = 0; g < c->kv_heads && n > 0; g++) {
            double *head = rows + (b * c->kv_heads + g) * c->keys * channels;
            if (f->v.cache == CACHE_STALE_LAST) memset(head + (n - 1) * channels, 0, (size_t)channels * sizeof *head);
            for (int64_t i = 0; f->v.cache == CACHE_PAGE_ORDER && i < page * channels && 2 * page <= c->keys; i++) {
                const double held = head[i];    // the first two pages change places
                head[i] = head[page * channels + i];
                head[page * channels + i] = held;
            }
        }
    }
}

// ---- Back: gradients by what was read to gradients by what was given ----------------------------------------------

// The transpose of turn_row; of variances with the squares of its coefficients.
static void turn_row_back(const turner *t, int64_t position, double *row, bool squares) {
    const int64_t half = t->turned / 2;
    for (int64_t i = 0; i < half; i++) {
        double *a = t->rope->layout == ROPE_PAIRS ? row + 2 * i : row + i, *b = t->rope->layout == ROPE_PAIRS ? a + 1 : a + half;
        double cosine, sine;
        cos_sin(t, position, i, &cosine, &sine);
        const double x = *a, y = *b;
        *a = squares ? x * cosine * cosine + y * sine * sine : x * cosine + y * sine;
        *b = squares ? y * cosine * cosine + x * sine * sine : y * cosine - x * sine;
    }
}

static void turn_back(const formula *f, const ref_results *to, bool squares) {
    const call *c = f->c;
    const variant_rope *rope = &f->v.rope;
    if (rope->layout == ROPE_NONE) return;
    const turner t = turner_of(f);
    for (int64_t b = 0; b < c->batch; b++) {
        const int64_t offset = (rope->no_offset ? 0 : call_sequence_of(c, b).offset) + rope->q_shift, D = c->channels;
        for (int64_t row = 0; to->dq != NULL && row < c->heads * c->queries; row++)
            turn_row_back(&t, row % c->queries + offset, to->dq + (b * c->heads * c->queries + row) * D, squares);
        for (int64_t row = 0; to->dk != NULL && row < c->kv_heads * c->keys && !rope->q_only; row++)
            turn_row_back(&t, row % c->keys, to->dk + (b * c->kv_heads * c->keys + row) * D, squares);
    }
}

// One array's way back through a misread layout: place by place, where it was read from. false: no memory.
static bool reread(double *x, int64_t batch, int64_t heads, int64_t tokens, int64_t channels, bool transposed) {
    const size_t bytes = size_mul((size_t)int64_max(1, batch * heads * tokens * channels), sizeof *x);
    double *copy = x == NULL ? NULL : memory_take(bytes);
    if (copy == NULL) return x == NULL;
    memcpy(copy, x, bytes);
    for (int64_t b = 0; b < batch; b++)
        for (int64_t place = 0; place < heads * tokens; place++)
            for (int64_t t = 0; t < channels; t++) {
                const int64_t h = place / tokens, at = place % tokens * channels + t;
                const int64_t to = transposed ? (h * tokens + at % tokens) * channels + at / tokens
                                              : (place % heads * tokens + place / heads) * channels + t;
                x[b * heads * tokens * channels + to] = copy[(b * heads * tokens + place) * channels + t];
            }
    memory_free(copy);
    return true;
}

static bool back(const formula *f, const ref_results *to, bool squares) {
    const call *c = f->c;
    if (f->v.cache == CACHE_STALE_LAST || f->v.cache == CACHE_PAGE_ORDER) {    // exchanges undo themselves; zeros pass nothing on
        if (to->dk != NULL) spoil_cache(f, to->dk, c->channels);
        if (to->dv != NULL) spoil_cache(f, to->dv, c->value_channels);
    }
    turn_back(f, to, squares);
    if (f->v.layout == LAYOUT_V_TRANSPOSED) return reread(to->dv, c->batch, c->kv_heads, c->keys, c->value_channels, true);
    if (f->v.layout != LAYOUT_STRIDES_IGNORED) return true;
    return reread(to->dq, c->batch, c->heads, c->queries, c->channels, false) &&
           reread(to->dk, c->batch, c->kv_heads, c->keys, c->channels, false) &&
           reread(to->dv, c->batch, c->kv_heads, c->keys, c->value_channels, false);
}

// Keys and values that changed roles hand their gradients to each other.
static void exchange(double *a, double *b, int64_t n) {
    for (int64_t i = 0; a != NULL && b != NULL && i < n; i++) {
        const double held = a[i];
        a[i] = b[i], b[i] = held;
    }
}

heed_status formula_inputs_back(const formula *f, const ref_results *to, const ref_results *var, heed_error *error) {
    const int64_t n = f->c->batch * f->c->kv_heads * f->c->keys * f->c->channels;
    if (!back(f, to, false) || (var != NULL && !back(f, var, true)))
        return error_set(error, HEED_NO_MEMORY, "no memory for the gradients of a layout");
    if (f->v.roles == ROLES_KV_SWAPPED) exchange(to->dk, to->dv, n);
    if (f->v.roles == ROLES_KV_SWAPPED && var != NULL) exchange(var->dk, var->dv, n);
    return HEED_OK;
}

// ---- Ready to be read ---------------------------------------------------------------------------------------------

static void transpose_keys(const formula *f, const double *rows, int64_t tokens) {
    const call *c = f->c;
    for (int64_t head = 0; head < c->batch * f->key_heads; head++)
        for (int64_t j = 0; j < tokens; j++)
            for (int64_t t = 0; t < c->channels; t++)
                f->key_t[(head * c->channels + t) * c->keys + j] = rows[(head * tokens + j) * c->channels + t];
}

// ---- All together -------------------------------------------------------------------------------------------------

typedef struct { double *query, *key, *value, *key_t; } arrays;

static void fill(formula *f, const arrays *to) {
    const call *c = f->c;
    const int64_t B = c->batch, H = c->heads, G = c->kv_heads, Q = c->queries, K = c->keys, D = c->channels, Dv = c->value_channels;
    const bool swapped = f->v.roles == ROLES_KV_SWAPPED;
    if (f->v.layout == LAYOUT_STRIDES_IGNORED) {
        misread(c->q, to->query, B, H, Q, D);
        misread(c->k, to->key, B, G, K, D);
        misread(c->v, to->value, B, G, K, Dv);
    } else {
        memcpy(to->query, c->q, (size_t)(B * H * Q * D) * sizeof(double));
        memcpy(to->key, swapped ? c->v : c->k, (size_t)(B * G * K * D) * sizeof(double));
        if (f->v.layout == LAYOUT_V_TRANSPOSED) misread_transposed(c->v, to->value, B * G, K, Dv);
        else memcpy(to->value, swapped ? c->k : c->v, (size_t)(B * G * K * Dv) * sizeof(double));
    }
    turn(f, to->query, to->key);
    spoil_cache(f, to->key, D);
    spoil_cache(f, to->value, Dv);
    f->query = f->v.roles == ROLES_QK_SWAPPED ? to->key : to->query;
    f->value = to->value;
    f->key_t = to->key_t;
    if (f->v.roles == ROLES_QK_SWAPPED) transpose_keys(f, to->query, Q);
    else transpose_keys(f, to->key, K);
}

// Do both variants read the inputs alike?
static bool same_inputs(const variant *a, const variant *b) {
    const variant_rope *x = &a->rope, *y = &b->rope;
    const bool same_rope = x->layout == y->layout && x->theta == y->theta && x->yarn == y->yarn &&
                           x->concentration == y->concentration && x->partial == y->partial && x->inverse == y->inverse &&
                           x->q_only == y->q_only && x->q_shift == y->q_shift && x->no_offset == y->no_offset &&
                           x->bf16_table == y->bf16_table && x->round_result == y->round_result &&
                           x->round_products == y->round_products && x->f32_angles == y->f32_angles;
    return same_rope && a->roles == b->roles && a->layout == b->layout && a->cache == b->cache;
}

heed_status formula_begin(formula *f, const call *c, const variant *v, const formula *base, heed_error *error) {
    if (base != NULL && base->c == c && same_inputs(&base->v, v)) {
        *f = *base;
        f->v = *v;
        f->memory = NULL;
        return HEED_OK;
    }
    *f = (formula){.c = c, .v = *v, .key_heads = v->roles == ROLES_QK_SWAPPED ? c->heads : c->kv_heads};
    const size_t S = sizeof(double);
    const size_t n[] = {size_mul((size_t)(c->batch * c->heads * c->queries * c->channels), S),
                        size_mul((size_t)(c->batch * c->kv_heads * c->keys * c->channels), S),
                        size_mul((size_t)(c->batch * c->kv_heads * c->keys * c->value_channels), S),
                        size_mul((size_t)(c->batch * f->key_heads * c->keys * c->channels), S)};
    size_t bytes = 0;
    for (int i = 0; i < 4; i++) bytes = size_add(bytes, size_align(n[i] > 0 ? n[i] : 1));
    char *at = f->memory = memory_take(bytes);
    if (at == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for a formula of %zu bytes", bytes);
    double *part[4];
    for (int i = 0; i < 4; i++) part[i] = (double *)at, at += size_align(n[i] > 0 ? n[i] : 1);
    fill(f, &(arrays){part[0], part[1], part[2], part[3]});
    return HEED_OK;
}

void formula_end(formula *f) {
    memory_free(f->memory);
    f->memory = NULL;
}
