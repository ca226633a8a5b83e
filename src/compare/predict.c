// SPDX-License-Identifier: Apache-2.0
#include "compare/predict.h"

#include "base/error.h"
#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// ---- Which rows ---------------------------------------------------------------------------------------------------

heed_status row_list_all(row_list *list, const call *c, heed_error *error) {
    *list = (row_list){.n = c->batch * c->heads * c->queries};
    list->at = malloc(size_mul((size_t)int64_max(list->n, 1), sizeof *list->at));
    if (list->at == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for a list of %lld rows", (long long)list->n);
    for (int64_t i = 0; i < list->n; i++)
        list->at[i] = (row_place){i / c->queries / c->heads, i / c->queries % c->heads, i % c->queries};
    return HEED_OK;
}

// Marks rows worth looking at: ends, both sides of multiples of a few tile sizes and of the window, then every n-th.
static void mark_rows(const call *c, uint8_t *marked, int64_t most) {
    const int64_t Q = c->queries, left = variant_of(c).left;
    const int64_t edges[] = {16, 32, 64, 128, 256, left + 1};
    int64_t n = 0;
    const int64_t always[] = {0, Q - 1, 1, Q - 2, Q / 2};
    for (size_t i = 0; i < sizeof always / sizeof *always; i++)
        if (always[i] >= 0 && always[i] < Q && n < most) n += !marked[always[i]], marked[always[i]] = 1;
    for (size_t e = 0; e < sizeof edges / sizeof *edges; e++)
        for (int64_t side = -1; side <= 0; side++) {
            const int64_t row = edges[e] > 1 ? edges[e] + side : 0;
            if (row >= 0 && row < Q && n < most / 2) n += !marked[row], marked[row] = 1;
        }
    for (int64_t step = 0, wanted = most - n; step < wanted && n < most; step++) {
        const int64_t row = (2 * step + 1) * Q / (2 * wanted);
        n += !marked[row], marked[row] = 1;
    }
}

heed_status row_list_sample(row_list *list, const call *c, int64_t most, heed_error *error) {
    enum { HEADS = 4 };
    const int64_t heads = int64_min(c->heads, HEADS);
    uint8_t *marked = calloc((size_t)int64_max(c->queries, 1), 1);
    const int64_t rows = int64_max(1, c->batch * heads * int64_min(most, c->queries));
    *list = (row_list){.at = malloc(size_mul((size_t)rows, sizeof *list->at))};
    if (marked == NULL || list->at == NULL) {
        free(marked);
        return error_set(error, HEED_NO_MEMORY, "no memory for a list of rows");
    }
    if (c->queries > 0) mark_rows(c, marked, int64_min(most, c->queries));
    for (int64_t b = 0; b < c->batch; b++)
        for (int64_t h = 0; h < heads; h++)
            for (int64_t row = 0; row < c->queries; row++)
                if (marked[row]) list->at[list->n++] = (row_place){b, heads == 1 ? 0 : h * (c->heads - 1) / (heads - 1), row};
    free(marked);
    return HEED_OK;
}

// ---- Predictions --------------------------------------------------------------------------------------------------

// Which row's result lies where the call says this row's does: another one where out is misread.
static row_place source_of(const formula *f, row_place at) {
    const call *c = f->c;
    if (f->v.layout == LAYOUT_OUT_SEQ_HEAD) {
        const int64_t place = at.head * c->queries + at.row;
        return (row_place){at.batch, place % c->heads, place / c->heads};
    }
    if (f->v.layout == LAYOUT_OUT_BATCH_HEAD) {
        const int64_t place = at.batch * c->heads + at.head;
        return (row_place){place % c->batch, place / c->batch, at.row};
    }
    return at;
}

enum { ROWS_AN_ITEM = 16, SIMULATE_NONE = -1 };

typedef struct {
    const formula *f;
    const row_list *rows;
    const prediction *to;
    floor_factors factors;
    char *scratch;
    size_t worker_bytes;
    int way;    // SIMULATE_NONE, or which simulation to write over out and lse
} prediction_job;

// Only out is misread: lse is the row's own.
static void predict_own_lse(const prediction_job *job, const row_place *own, formula_row *r, int64_t i) {
    formula_row_compute(job->f, own->batch, own->head, own->row, r);
    floor_row(job->f, r, &job->factors, r->out, &job->to->var_lse[i]);    // what it says of out is dropped
    job->to->lse[i] = r->lse;
}

static void predict_rows(void *context, int64_t item, int worker) {
    const prediction_job *job = context;
    const call *c = job->f->c;
    char *memory = job->scratch + (size_t)worker * job->worker_bytes;
    formula_row r = formula_row_at(c, memory);
    const int64_t Dv = c->value_channels;
    for (int64_t i = item * ROWS_AN_ITEM; i < int64_min((item + 1) * ROWS_AN_ITEM, job->rows->n); i++) {
        const row_place own = job->rows->at[i], at = source_of(job->f, own);
        formula_row_compute(job->f, at.batch, at.head, at.row, &r);
        floor_row(job->f, &r, &job->factors, job->to->var + i * Dv, &job->to->var_lse[i]);
        memcpy(job->to->out + i * Dv, r.out, (size_t)Dv * sizeof(double));
        job->to->lse[i] = r.lse;
        if (job->way != SIMULATE_NONE && !r.empty)
            floor_simulate(job->f, &r, job->way, (float *)(memory + formula_row_bytes(c)), job->to->out + i * Dv, &job->to->lse[i]);
        if (memcmp(&own, &at, sizeof own) != 0) predict_own_lse(job, &own, &r, i);
    }
}

static heed_status take_memory(prediction *p, const call *c, int64_t rows, heed_error *error) {
    const size_t wide = size_align(size_mul((size_t)int64_max(1, rows * c->value_channels), sizeof(double)));
    const size_t narrow = size_align((size_t)int64_max(1, rows) * sizeof(double));
    char *at = memory_take(2 * wide + 2 * narrow);
    *p = (prediction){.memory = at};
    if (at == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for predictions of %lld rows", (long long)rows);
    p->out = (double *)at, p->var = (double *)(at + wide);
    p->lse = (double *)(at + 2 * wide), p->var_lse = (double *)(at + 2 * wide + narrow);
    return HEED_OK;
}

static heed_status predict(prediction *p, const predictor *by, const variant *v, const row_list *rows, int way, heed_error *error) {
    const call *c = by->c;
    const size_t worker = size_add(formula_row_bytes(c), size_align(floor_scratch_floats(c) * sizeof(float)));
    char *scratch = memory_take(size_mul((size_t)by->team.workers, worker));
    formula f = {.memory = NULL};
    heed_status status = take_memory(p, c, rows->n, error);
    if (status == HEED_OK && scratch == NULL) status = error_set(error, HEED_NO_MEMORY, "no memory for predictions");
    if (status == HEED_OK) status = formula_begin(&f, c, v, &by->claim, error);
    if (status == HEED_OK) {
        prediction_job job = {&f, rows, p, floor_factors_of(c), scratch, worker, way};
        threads_for(&by->team, int64_ceil_div(rows->n, ROWS_AN_ITEM), predict_rows, &job);
    }
    formula_end(&f);
    memory_free(scratch);
    if (status != HEED_OK) prediction_free(p);
    return status;
}

heed_status prediction_make(prediction *p, const predictor *by, const variant *v, const row_list *rows, heed_error *error) {
    return predict(p, by, v, rows, SIMULATE_NONE, error);
}

heed_status predictor_begin(predictor *by, const call *c, int n_threads, heed_error *error) {
    *by = (predictor){.c = c, .team = {.workers = n_threads > 0 ? n_threads : threads_available()}};
    const variant claimed = variant_of(c);
    return formula_begin(&by->claim, c, &claimed, NULL, error);
}

heed_status predictor_use(predictor *by, const variant *claim, heed_error *error) {
    formula_end(&by->claim);
    return formula_begin(&by->claim, by->c, claim, NULL, error);
}

void predictor_end(predictor *by) { formula_end(&by->claim); }

heed_status prediction_part(prediction *p, const call *c, const prediction *all, const row_list *rows, heed_error *error) {
    const heed_status status = take_memory(p, c, rows->n, error);
    const int64_t Dv = c->value_channels;
    const size_t bytes = (size_t)Dv * sizeof(double);
    for (int64_t i = 0; status == HEED_OK && i < rows->n; i++) {
        const int64_t at = (rows->at[i].batch * c->heads + rows->at[i].head) * c->queries + rows->at[i].row;
        memcpy(p->out + i * Dv, all->out + at * Dv, bytes);
        memcpy(p->var + i * Dv, all->var + at * Dv, bytes);
        p->lse[i] = all->lse[at], p->var_lse[i] = all->var_lse[at];
    }
    return status;
}

heed_status row_list_differing(row_list *list, const predictor *by, const variant *v, const row_list *all, heed_error *error) {
    const call *c = by->c;
    const size_t bytes = formula_row_bytes(c);
    char *memory = memory_take(2 * bytes);
    formula f = {.memory = NULL};
    *list = (row_list){.at = malloc(size_mul((size_t)int64_max(1, all->n), sizeof *list->at))};
    heed_status status = memory == NULL || list->at == NULL ? error_set(error, HEED_NO_MEMORY, "no memory for a list of rows")
                                                            : formula_begin(&f, c, v, &by->claim, error);
    formula_row a = formula_row_at(c, memory), b = formula_row_at(c, memory + bytes);
    for (int64_t i = 0; status == HEED_OK && i < all->n; i++) {
        const row_place at = all->at[i];
        if (formula_row_differs(&by->claim, &f, at.batch, at.head, at.row, &a, &b)) list->at[list->n++] = at;
    }
    formula_end(&f);
    memory_free(memory);
    return status;
}

void prediction_free(prediction *p) {
    memory_free(p->memory);
    *p = (prediction){0};
}

// ---- Residuals ----------------------------------------------------------------------------------------------------

// z^2 of one number; infinite where one is finite and the other is not. Equal infinities and two NaN agree.
static double squared(double seen, double right, double var, double ulp) {
    if (!isfinite(seen) || !isfinite(right)) return (isnan(seen) && isnan(right)) || seen == right ? 0 : INFINITY;
    const double d = seen - right;
    return d * d / fmax(var, ulp * ulp / 12);
}

static int64_t place_of(const call *c, row_place at) { return (at.batch * c->heads + at.head) * c->queries + at.row; }

residual residual_of(const call *c, const prediction *p, const observed *seen, const row_list *rows) {
    residual r = {.rows = rows->n};
    double sum = 0, sum_lse = 0;
    for (int64_t i = 0; i < rows->n; i++) {
        const int64_t place = place_of(c, rows->at[i]), Dv = c->value_channels;
        double row = 0, row_lse = 0;
        for (int64_t t = 0; seen->out != NULL && t < Dv; t++) {
            const double right = p->out[i * Dv + t];
            const double z2 = squared(seen->out[place * Dv + t], right, p->var[i * Dv + t], floor_ulp(c->problem.dtype, right));
            row += z2 / (double)Dv;
            if (isfinite(z2)) r.peak = fmax(r.peak, sqrt(z2));
        }
        if (seen->lse != NULL) row_lse = squared(seen->lse[place], p->lse[i], p->var_lse[i], floor_ulp(HEED_F32, p->lse[i]));
        if (isfinite(row_lse)) r.peak_lse = fmax(r.peak_lse, sqrt(row_lse));
        if (isinf(row) || isinf(row_lse)) {
            r.apart++;
            continue;
        }
        sum += row;
        sum_lse += row_lse;
    }
    r.rms = rows->n > 0 ? sqrt(sum / (double)rows->n) : 0;
    r.rms_lse = rows->n > 0 ? sqrt(sum_lse / (double)rows->n) : 0;
    r.sum = sum + sum_lse;
    return r;
}

heed_status residual_of_correct(residual *most, const predictor *by, const variant *of, const row_list *rows, heed_error *error) {
    prediction right, run;
    const variant *v = floor_simulates(of) ? of : &by->claim.v;    // else the claim's: its rows have the same size
    *most = (residual){.rms = 1, .peak = 1, .rms_lse = 1, .peak_lse = 1, .rows = rows->n};
    heed_status status = prediction_make(&right, by, v, rows, error);
    row_list dense = {.at = malloc(size_mul((size_t)int64_max(1, rows->n), sizeof *dense.at)), .n = rows->n};
    call flat = *by->c;    // the simulated rows lie one after another: as rows of one head
    flat.batch = flat.heads = 1, flat.queries = rows->n;
    if (status == HEED_OK && dense.at == NULL) status = error_set(error, HEED_NO_MEMORY, "no memory for a list of rows");
    for (int64_t i = 0; status == HEED_OK && i < rows->n; i++) dense.at[i] = (row_place){0, 0, i};
    for (int way = 0; status == HEED_OK && way < FLOOR_WAYS; way++) {
        status = predict(&run, by, v, rows, way, error);
        if (status != HEED_OK) break;
        const residual r = residual_of(&flat, &right, &(observed){.out = run.out, .lse = run.lse}, &dense);
        most->rms = fmax(most->rms, r.rms);
        most->peak = fmax(most->peak, r.peak);
        most->rms_lse = fmax(most->rms_lse, r.rms_lse);
        most->peak_lse = fmax(most->peak_lse, r.peak_lse);
        prediction_free(&run);
    }
    free(dense.at);
    prediction_free(&right);
    return status;
}

// The largest of more rows is larger: as the square root of the logarithm of their number, for normal errors.
static bool within(double rms, double peak, int64_t rows, double own_rms, double own_peak, int64_t own_rows) {
    const double slack = 3 / sqrt(2 * (double)int64_max(1, rows));
    const double longer = sqrt(fmax(1, log(2 + (double)rows) / log(2 + (double)own_rows)));
    return rms <= 1.2 * own_rms + slack && peak <= (1.5 * own_peak + 1) * longer;
}

bool residual_inside(const residual *r, const residual *own) {
    bool inside = r->apart == 0 && within(r->rms, r->peak, r->rows, own->rms, own->peak, own->rows) &&
                  within(r->rms_lse, r->peak_lse, r->rows, own->rms_lse, own->peak_lse, own->rows);
    for (int i = 0; i < GRADIENTS; i++)
        inside &= r->grad[i].rows == 0 || within(r->grad[i].rms, r->grad[i].peak, r->grad[i].rows, own->grad[i].rms,
                                                 own->grad[i].peak, own->grad[i].rows);
    return inside;
}

void residual_worst(const residual *r, const residual *own, double *rms, double *floor) {
    *rms = r->rms, *floor = own->rms;
    for (int i = 0; i < GRADIENTS; i++)
        if (r->grad[i].rows > 0 && (*floor == 0 || r->grad[i].rms * *floor > *rms * own->grad[i].rms))
            *rms = r->grad[i].rms, *floor = own->grad[i].rms;
}

// ---- The matched filter -------------------------------------------------------------------------------------------

// One row's part: sum of d * delta / var and of delta^2 / var, d what was observed beyond the claim.
typedef struct { double along, size; } projection;

static void project(projection *p, double seen, double claim, double other, double var, double ulp, int64_t *apart) {
    if (!isfinite(claim) || !isfinite(other)) {
        *apart += !(isnan(claim) && isnan(other)) && claim != other;
        return;
    }
    const double delta = other - claim, by = fmax(var, ulp * ulp / 12);
    p->size += delta * delta / by;
    if (isfinite(seen)) p->along += (seen - claim) * delta / by;
}

static projection project_row(const call *c, const prediction *claim, const prediction *other, const observed *seen,
                              row_place at, int64_t i, int64_t *apart) {
    const int64_t Dv = c->value_channels, place = place_of(c, at);
    projection p = {0};
    int64_t parts = 0;
    for (int64_t t = 0; seen->out != NULL && t < Dv; t++) {
        const double right = claim->out[i * Dv + t];
        project(&p, seen->out[place * Dv + t], right, other->out[i * Dv + t], claim->var[i * Dv + t],
                floor_ulp(c->problem.dtype, right), &parts);
    }
    if (seen->lse != NULL)
        project(&p, seen->lse[place], claim->lse[i], other->lse[i], claim->var_lse[i], floor_ulp(HEED_F32, claim->lse[i]), &parts);
    *apart += parts > 0;
    return p;
}

match match_of(const call *c, const prediction *claim, const prediction *other, const observed *seen, const row_list *rows) {
    match m = {0};
    projection whole = {0};
    for (int64_t i = 0; i < rows->n; i++) {
        const projection p = project_row(c, claim, other, seen, rows->at[i], i, &m.apart);
        whole.along += p.along;
        whole.size += p.size;
    }
    m.signal = sqrt(whole.size);
    if (whole.size == 0) return m;
    m.coefficient = whole.along / whole.size;
    double scatter = 0;
    int64_t ignored = 0;
    for (int64_t i = 0; i < rows->n; i++) {
        const projection p = project_row(c, claim, other, seen, rows->at[i], i, &ignored);
        const double rest = p.along - m.coefficient * p.size;
        scatter += rest * rest;
    }
    m.surprise = scatter > 0 ? whole.along / sqrt(scatter) : INFINITY;
    return m;
}

bool match_is_whole(const match *m) { return fabs(m->coefficient - 1) <= 0.35 && m->signal >= 8 && m->surprise >= 6; }
