// SPDX-License-Identifier: Apache-2.0
// Outline: predictions of all rows by the claim and by the explanation; one pass over them for everything about errors; then
// the weights of a few heads, band by band.
#include "compare/picture.h"

#include "base/error.h"
#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const picture_scale picture_errors = {0x1p-8, 8, 254}, picture_weights = {0x1p-20, 12, 254}, picture_changes = {0x1p-20, 6, 127};

enum { WEIGHT_SIDE = 256, WEIGHT_CELLS = 400000 };    // at most so many cells of weights, in all heads together

static uint8_t scale_byte(picture_scale s, double x) {
    if (!isfinite(x)) return 255;
    if (x == 0) return 0;
    return (uint8_t)(1 + fmin(s.most - 1, fmax(0, floor(s.steps * log2(x / s.least) + 0.5))));
}

static void *take(picture *p, size_t n, size_t bytes) {
    void *block = calloc(n > 0 ? n : 1, bytes);
    p->block[p->blocks++] = block;
    return block;
}

// n places in at most `most` cells.
static int64_t stride_of(int64_t n, int64_t most) { return int64_max(1, int64_ceil_div(n, most)); }

static bool map_begin(picture *p, picture_map *m, int64_t n_rows, int64_t n_columns, int64_t side) {
    *m = (picture_map){.n_rows = n_rows, .n_columns = n_columns, .row_stride = stride_of(n_rows, side),
                       .column_stride = stride_of(n_columns, side)};
    m->rows = int64_ceil_div(n_rows, m->row_stride);
    m->columns = int64_ceil_div(n_columns, m->column_stride);
    m->cell = take(p, (size_t)(m->rows * m->columns), 1);
    return m->cell != NULL;
}

static uint8_t *cell_at(const picture_map *m, int64_t row, int64_t column) {
    return &m->cell[row / m->row_stride * m->columns + column / m->column_stride];
}

static void raise_cell(uint8_t *cell, uint8_t byte) {
    if (byte > *cell) *cell = byte;
}

// ---- Errors -------------------------------------------------------------------------------------------------------

typedef struct { const call *c; picture *p; const prediction *right; picture_view view; } errors;

// An error in units of its expected size; infinite where one is finite and the other is not.
static double size_of(double seen, double right, double var, double ulp) {
    if (!isfinite(seen) || !isfinite(right)) return (isnan(seen) && isnan(right)) || seen == right ? 0 : (double)INFINITY;
    return fabs(seen - right) / sqrt(fmax(var, ulp * ulp / 12));
}

static void count(const errors *e, double z) {
    picture *p = e->p;
    if (isinf(z)) p->apart[e->view]++;
    else p->z[e->view][z == 0 ? 0 : (int)fmin(PICTURE_BINS - 1, fmax(0, 1 + floor(2 * (log2(z) + 8))))]++;
}

// rms over the channels of out, or lse's where that is larger.
static double row_size(const errors *e, const observed *seen, int64_t i) {
    const int64_t Dv = e->c->value_channels;
    double sum = 0, lse = 0;
    for (int64_t t = 0; t < Dv; t++) {
        const double right = e->right->out[i * Dv + t], var = e->right->var[i * Dv + t];
        const double z = size_of(seen->out[i * Dv + t], right, var, floor_ulp(e->c->problem.dtype, right));
        count(e, z);
        sum += z * z;
    }
    if (seen->lse != NULL) {
        lse = size_of(seen->lse[i], e->right->lse[i], e->right->var_lse[i], floor_ulp(HEED_F32, e->right->lse[i]));
        count(e, lse);
    }
    return fmax(sqrt(sum / (double)Dv), lse);
}

static heed_status draw_errors(const errors *e, const observed *seen, heed_error *error) {
    const call *c = e->c;
    picture *p = e->p;
    const int64_t heads = c->batch * c->heads, stride = stride_of(c->queries, PICTURE_SIDE);
    picture_map *m = &p->errors[e->view];
    p->positions = int64_ceil_div(c->queries, stride);
    double *worst = p->worst[e->view] = take(p, (size_t)p->positions, sizeof *worst);
    double *usual = p->usual[e->view] = take(p, (size_t)p->positions, sizeof *usual);
    if (!map_begin(p, m, heads, c->queries, PICTURE_SIDE) || worst == NULL || usual == NULL)
        return error_set(error, HEED_NO_MEMORY, "no memory for a page");
    for (int64_t i = 0; i < heads * c->queries; i++) {
        const int64_t row = i % c->queries, at = row / stride;
        const double size = row_size(e, seen, i);
        raise_cell(cell_at(m, i / c->queries, row), scale_byte(picture_errors, size));
        worst[at] = fmax(worst[at], size);
        usual[at] += isfinite(size) ? size * size : 0;
    }
    for (int64_t at = 0; at < p->positions; at++)
        usual[at] = sqrt(usual[at] / (double)(heads * int64_min(stride, c->queries - at * stride)));
    const int64_t n = heads * c->queries * c->value_channels;
    const error_size size = error_size_of(seen->out, e->right->out, n, c->problem.dtype, error_tolerance_of(c->problem.dtype));
    memcpy(p->ulps[e->view], size.ulps, sizeof size.ulps);
    return HEED_OK;
}

// ---- What the floor expects ---------------------------------------------------------------------------------------

// Of a normal error: the part whose size is below x of its standard deviations.
static double below(double x) { return erf(x / sqrt(2)); }

static void expect(picture *p, const call *c, const prediction *right) {
    const int64_t n = c->batch * c->heads * c->queries * c->value_channels, step = 1 + n / 65536;
    for (int i = 0; i < PICTURE_BINS; i++)
        p->z_expected[i] = below(exp2(i / 2.0 - 8)) - (i == 0 ? 0 : below(exp2((i - 1) / 2.0 - 8)));
    double taken = 0;
    for (int64_t i = 0; i < n; i += step) {
        if (!isfinite(right->out[i])) continue;
        const double ulp = floor_ulp(c->problem.dtype, right->out[i]), sd = sqrt(fmax(right->var[i], ulp * ulp / 12));
        double before = 0;
        for (int bin = 0; bin < ULP_BINS - 1; bin++) {    // as measure.c: up to 1/2, 1, 2, 4, ..., beyond
            const double until = bin == ULP_BINS - 2 ? 1 : below(exp2(bin - 1) * ulp / sd);
            p->ulps_expected[bin] += until - before;
            before = until;
        }
        taken++;
    }
    for (int bin = 0; bin < ULP_BINS && taken > 0; bin++) p->ulps_expected[bin] /= taken;
}

// ---- Weights ------------------------------------------------------------------------------------------------------

typedef struct { const formula *claim, *explained; picture_weight_maps *maps; char *memory; size_t bytes; } weights;

// The weight of a key in a row: an empty row's stand everywhere, others' between first and end.
static double weight_of(const formula_row *r, int64_t key) {
    return r->empty || (key >= r->first && key < r->end) ? r->w[key] : 0;
}

static void draw_row(const weights *w, int64_t row, formula_row *a, formula_row *b) {
    const picture_weight_maps *m = w->maps;
    formula_row_compute(w->claim, m->batch, m->head, row, a);
    if (w->explained != NULL) formula_row_compute(w->explained, m->batch, m->head, row, b);
    for (int64_t j = 0; j < w->claim->c->keys; j++) {
        const double claim = weight_of(a, j);
        raise_cell(cell_at(&m->claim, row, j), scale_byte(picture_weights, fabs(claim)));
        if (w->explained == NULL) continue;
        const double explained = weight_of(b, j), change = explained - claim;
        raise_cell(cell_at(&m->explained, row, j), scale_byte(picture_weights, fabs(explained)));
        const uint8_t apart = isnan(explained) == isnan(claim) ? 0 : 127;
        const uint8_t size = isfinite(change) ? scale_byte(picture_changes, fabs(change)) : apart;
        uint8_t *cell = cell_at(&m->change, row, j);
        if (size > (*cell & 127)) *cell = change < 0 ? size : (uint8_t)(size | 128);
    }
}

static void draw_band(void *context, int64_t band, int worker) {
    const weights *w = context;
    const call *c = w->claim->c;
    char *memory = w->memory + (size_t)worker * 2 * w->bytes;
    formula_row a = formula_row_at(c, memory), b = formula_row_at(c, memory + w->bytes);
    const int64_t stride = w->maps->claim.row_stride;
    for (int64_t row = band * stride; row < int64_min((band + 1) * stride, c->queries); row++) draw_row(w, row, &a, &b);
}

// The worst head of a view first, then the others in their order.
static void choose_heads(picture *p, const call *c, picture_view view) {
    const int64_t heads = c->batch * c->heads, side = WEIGHT_SIDE;
    const int64_t rows = int64_ceil_div(c->queries, stride_of(c->queries, side));
    const int64_t cells = rows * int64_ceil_div(c->keys, stride_of(c->keys, side));
    const int64_t most = int64_min(heads, int64_min(PICTURE_HEADS, int64_max(1, WEIGHT_CELLS / int64_max(1, cells))));
    int64_t worst = 0, worst_size = -1;
    const picture_map *m = &p->errors[view];
    for (int64_t h = 0; h < heads && m->row_stride == 1; h++) {
        int64_t size = 0;
        for (int64_t i = 0; i < m->columns; i++) size += m->cell[h * m->columns + i];
        if (size > worst_size) worst = h, worst_size = size;
    }
    p->weights[p->n_weights++] = (picture_weight_maps){.batch = worst / c->heads, .head = worst % c->heads};
    for (int64_t h = 0; h < heads && p->n_weights < most; h++)
        if (h != worst) p->weights[p->n_weights++] = (picture_weight_maps){.batch = h / c->heads, .head = h % c->heads};
}

static heed_status draw_weights(picture *p, const predictor *by, const variant *explained, heed_error *error) {
    const call *c = by->c;
    const size_t bytes = formula_row_bytes(c);
    char *memory = memory_take(size_mul(size_mul((size_t)by->team.workers, 2), bytes));
    formula f = {.memory = NULL};
    heed_status status = memory == NULL ? error_set(error, HEED_NO_MEMORY, "no memory for a page") : HEED_OK;
    if (status == HEED_OK && explained != NULL) status = formula_begin(&f, c, explained, &by->claim, error);
    for (int i = 0; status == HEED_OK && i < p->n_weights; i++) {
        picture_weight_maps *m = &p->weights[i];
        bool made = map_begin(p, &m->claim, c->queries, c->keys, WEIGHT_SIDE);
        if (explained != NULL)
            made = map_begin(p, &m->explained, c->queries, c->keys, WEIGHT_SIDE) &&
                   map_begin(p, &m->change, c->queries, c->keys, WEIGHT_SIDE) && made;
        weights w = {&by->claim, explained == NULL ? NULL : &f, m, memory, bytes};
        if (!made) status = error_set(error, HEED_NO_MEMORY, "no memory for a page");
        else threads_for(&by->team, m->claim.rows, draw_band, &w);
    }
    formula_end(&f);
    memory_free(memory);
    return status;
}

// ---- All together -------------------------------------------------------------------------------------------------

// Errors of one observed result against one formula. floor: what it expects is drawn too.
static heed_status draw_view(picture *p, const predictor *by, const row_list *all, const variant *v, picture_view view, bool floor,
                             const observed *seen, heed_error *error) {
    prediction right;
    heed_status status = prediction_make(&right, by, v, all, error);
    if (status != HEED_OK) return status;
    if (floor) expect(p, by->c, &right);
    status = draw_errors(&(errors){by->c, p, &right, view}, seen, error);
    prediction_free(&right);
    return status;
}

static heed_status draw(picture *p, predictor *by, const observed *of[2], const verdict *v, heed_error *error) {
    const call *c = by->c;
    const int side = v->side < 0 ? 1 : v->side;
    const findings *f = &v->of[side];
    const variant *explained = v->side >= 0 && f->n_explained > 0 ? &f->explained[0].v : NULL;
    row_list all = {0};
    heed_status status = row_list_all(&all, c, error);
    for (int turn = 0; status == HEED_OK && turn < 2; turn++) {    // the side that is told of last: its reading stays
        const int i = turn == 0 ? 1 - side : side;
        status = predictor_use(by, &v->of[i].claimed, error);
        if (status == HEED_OK) status = draw_view(p, by, &all, &by->claim.v, (picture_view)i, i == side, of[i], error);
    }
    if (status == HEED_OK && explained != NULL)
        status = draw_view(p, by, &all, explained, PICTURE_EXPLAINED, false, of[side], error);
    if (status == HEED_OK && c->batch * c->heads > 0) {
        choose_heads(p, c, (picture_view)side);
        status = draw_weights(p, by, explained, error);
    }
    free(all.at);
    return status;
}

heed_status picture_make(picture *p, const call *c, const observed *a, const observed *b, const verdict *v, int n_threads,
                         heed_error *error) {
    *p = (picture){.n_weights = 0};
    predictor by;
    heed_status status = predictor_begin(&by, c, n_threads, error);
    if (status == HEED_OK) status = draw(p, &by, (const observed *[]){a, b}, v, error);
    predictor_end(&by);
    return status;
}

void picture_free(picture *p) {
    for (int i = 0; i < p->blocks; i++) free(p->block[i]);
    p->blocks = 0;
}
