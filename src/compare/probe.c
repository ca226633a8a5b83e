// SPDX-License-Identifier: Apache-2.0
// Some sizes and some loudnesses of scores are tried in turn, the claim's own sizes first; of each, the search says what it is
// blind
// to. What makes a hypothesis visible: keys past windows, prefixes, pages and tiles; fewer rows than keys, so that the corners of a
// mask differ; sinks as large as the rows' own sums; padding that leaves a row empty; a free slot in the cache; one row whose
// products
// leave the range of f16.
#include "compare/probe.h"

#include "base/dtype.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/random.h"
#include "compare/call_run.h"
#include "core/problem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const probe_reasons[] = {"changes no row of a call like this", "stays inside of what rounding does",
                                     "changes less than rounding may"};

enum { KEYS_LEAST = 41, KEYS_MOST = 300, PAST = 21 };    // past tiles of 16 and 32; more only costs time

typedef struct { int64_t queries, keys; double loud; uint64_t seed; } shape;

// ---- Sizes --------------------------------------------------------------------------------------------------------

static int64_t keys_wanted(const heed_problem *p) {
    int64_t least = KEYS_LEAST;
    for (int i = 0; i < HEED_EDITS && p->mask[i].kind != NULL; i++)
        for (int j = 0; j < 2; j++) least = int64_max(least, p->mask[i].i[j] + PAST);
    if (p->page_size > 0) least = int64_max(least, 2 * p->page_size + 3);
    return int64_max(least, int64_min(p->keys, int64_max(least, KEYS_MOST - 7)));
}

// In the order they are tried; how many.
static int list_shapes(shape *list, const problem_line *claim, const heed_problem *p) {
    static const double louds[] = {2, 1, 4};
    const int64_t K = keys_wanted(p), Q = int64_min(p->queries, K), shorter = int64_max(1, K - 9);
    const int64_t sizes[][2] = {{p->queries, p->keys}, {Q, K}, {shorter, K}, {K, K}, {shorter - shorter / 3, K + 16}, {K + 7, K}};
    int n = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (size_t j = 0; j < sizeof louds / sizeof *louds; j++) {
            if (i == 0 && (p->keys > KEYS_MOST || p->queries > KEYS_MOST)) continue;
            list[n] = (shape){sizes[i][0], sizes[i][1], louds[j], claim->seed + (uint64_t)n};
            n++;
        }
    return n;
}

// ---- Data ---------------------------------------------------------------------------------------------------------

static void make_loud(call *c, double factor) {
    const heed_problem *p = &c->problem;
    const int64_t n = c->batch * c->heads * c->queries * c->channels;
    for (int64_t i = 0; i < n; i++) c->q[i] = formula_round(p->dtype, c->q[i] * factor);
}

// The last row of the first head, so that its products pass 65504, f16's largest.
static void make_overflow(call *c) {
    double *row = c->q + (c->queries - 1) * c->channels, most = 0;
    for (int64_t j = 0; j < call_sequence_of(c, 0).end_valid; j++) {
        double sum = 0;
        for (int64_t t = 0; t < c->channels; t++) sum += row[t] * c->k[j * c->channels + t];
        most = fmax(most, fabs(sum));
    }
    const double factor = exp2(ceil(log2(2 * 65504 / fmax(most, 1e-3))));
    for (int64_t t = 0; t < c->channels; t++)
        if (!(fabs(row[t] * factor) <= dtype_most(c->problem.dtype))) return;
    for (int64_t t = 0; t < c->channels; t++) row[t] = formula_round(c->problem.dtype, row[t] * factor);
}

// About the rows' own log-sums: ln of the keys they see, plus half the variance of the scores.
static void make_sinks(call *c, double loud, random_stream *r) {
    const variant v = variant_of(c);
    double seen = (double)c->keys / 2;
    if (v.left >= 0) seen = fmin(seen, (double)v.left + 1);
    const double level = log(fmax(1, seen)) + fmin(loud * loud / 2, 4);
    for (int64_t h = 0; c->sinks != NULL && h < c->heads; h++) c->sinks[h] = (float)(level + random_normal(r));
}

// Another number of pads each, and some keys left to all; of counts, a free slot each.
static void make_tables(call *c) {
    for (int64_t b = 0; b < c->batch; b++) {
        const int64_t spare = 1 + b % 3 * 2, free_slots = int64_min(spare, int64_max(0, c->keys - c->queries));
        if (c->key_count != NULL) c->key_count[b] = (int32_t)(c->keys - free_slots);
        const int64_t n = c->key_count != NULL ? c->key_count[b] : c->keys, pads = int64_min(3 + 2 * (b % 4), n / 3);
        if (c->key_range == NULL) continue;
        c->key_range[2 * b] = c->line.pad == PAD_RIGHT ? 0 : (int32_t)pads;
        c->key_range[2 * b + 1] = (int32_t)(c->line.pad == PAD_RIGHT ? n - pads : n);
    }
}

static heed_status draw(call *c, const problem_line *claim, const shape *s, heed_error *error) {
    problem_line line = *claim;
    drawn data;
    line.seed = s->seed;
    line.problem.queries = s->queries;
    line.problem.keys = s->keys;
    line.problem.page_size = line.problem.page_count = 0;    // drawn densely; the claim keeps its pages
    heed_status status = drawn_make(&data, &line, error);
    if (status == HEED_OK) status = call_of_drawn(c, &data, error);
    drawn_free(&data);
    if (status != HEED_OK) return status;
    c->line.problem.page_size = c->problem.page_size = claim->problem.page_size;
    random_stream r = random_of(s->seed, 1);
    make_loud(c, s->loud);
    make_overflow(c);
    make_sinks(c, s->loud, &r);
    make_tables(c);
    return HEED_OK;
}

// ---- What it is blind to ------------------------------------------------------------------------------------------

static heed_status find_change(const predictor *by, const variant *v, const row_list *all, bool *changes, heed_error *error) {
    const call *c = by->c;
    row_list rows;
    prediction claimed = {.memory = NULL}, other = {.memory = NULL};
    heed_status status = row_list_differing(&rows, by, v, all, error);
    if (status == HEED_OK) status = prediction_make(&claimed, by, &by->claim.v, &rows, error);
    if (status == HEED_OK) status = prediction_make(&other, by, v, &rows, error);
    if (status == HEED_OK)
        *changes |= memcmp(claimed.out, other.out, (size_t)(rows.n * c->value_channels) * sizeof(double)) != 0 ||
                    memcmp(claimed.lse, other.lse, (size_t)rows.n * sizeof(double)) != 0;
    prediction_free(&claimed);
    prediction_free(&other);
    free(rows.at);
    return status;
}

// Does any row's result change at all?
static heed_status find_reason(probe *p, const predictor *by, const row_list *all, int i, heed_error *error) {
    const hypothesis *h = p->blind[i];
    bool changes = false;
    heed_status status = HEED_OK;
    for (int j = 0; status == HEED_OK && (j == 0 || (j < HYPOTHESIS_PARAMETERS && h->parameters[j] != 0)); j++) {
        variant v = by->claim.v;
        h->edit(&p->c, &v, h->parameters[j]);
        status = find_change(by, &v, all, &changes, error);
    }
    p->reason[i] = !changes ? PROBE_NO_CHANGE : strncmp(h->id, "precision.", 10) == 0 ? PROBE_IS_ROUNDING : PROBE_TOO_SMALL;
    return status;
}

static heed_status find_reasons(probe *p, int n_threads, heed_error *error) {
    predictor by;
    row_list all = {.at = NULL};
    heed_status status = predictor_begin(&by, &p->c, n_threads, error);
    if (status == HEED_OK) status = row_list_all(&all, &p->c, error);
    for (int i = 0; status == HEED_OK && i < p->n_blind; i++) status = find_reason(p, &by, &all, i, error);
    free(all.at);
    predictor_end(&by);
    return status;
}

// Blind to what the search says of the claim's own result.
static heed_status look(probe *p, int n_threads, heed_error *error) {
    call_results r;
    findings *f = malloc(sizeof *f);
    const heed_choice choice = {.implementation = "ref", .threads = n_threads};
    heed_status status = f == NULL ? error_set(error, HEED_NO_MEMORY, "no memory for a search") : HEED_OK;
    if (status == HEED_OK) status = call_run(&r, &p->c, &choice, NULL, error);
    if (status != HEED_OK) {
        free(f);
        return status;
    }
    const observed seen = {.out = r.of.out, .lse = r.of.lse};
    status = search_formulas(f, &p->c, &seen, true, n_threads, error);
    call_results_free(&r);
    p->n_blind = p->hypotheses = 0;
    for (const hypothesis *h = hypotheses; h->id != NULL; h++) p->hypotheses += h->applies(&p->c);
    for (int i = 0; status == HEED_OK && i < f->n_undecidable; i++) p->blind[p->n_blind++] = f->undecidable[i];
    free(f);
    return status == HEED_OK ? find_reasons(p, n_threads, error) : status;
}

// How many could still be shown by other inputs.
static int open_ones(const probe *p) {
    int n = 0;
    for (int i = 0; i < p->n_blind; i++) n += p->reason[i] != PROBE_IS_ROUNDING;
    return n;
}

heed_status probe_make(probe *best, const problem_line *claim, int n_threads, heed_error *error) {
    shape list[24];
    heed_problem complete;
    heed_status status = problem_complete(&claim->problem, &complete, error);
    if (status == HEED_OK && complete.pass == HEED_BACKWARD)
        status = error_set(error, HEED_REFUSED, "a probe is made for forward calls only; leave out grad");
    if (status == HEED_OK && (complete.batch == 0 || complete.queries == 0 || complete.keys == 0))
        status = error_set(error, HEED_INVALID, "a problem without rows or keys has no inputs that could show anything");
    *best = (probe){.tried = 0};
    if (status != HEED_OK) return status;
    probe *now = calloc(1, sizeof *now);
    if (now == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for a search of inputs");
    const int n = list_shapes(list, claim, &complete);
    int tried = 0;
    for (int i = 0; i < n && (tried == 0 || open_ones(best) > 0); i++) {
        status = draw(&now->c, claim, &list[i], error);
        if (status == HEED_OK) status = look(now, n_threads, error);
        if (status == HEED_INVALID && (tried > 0 || i + 1 < n)) {    // sizes the claim does not allow, as documents with an offset
            call_free(&now->c);
            status = HEED_OK;
            continue;
        }
        if (status != HEED_OK) break;
        const bool better = tried++ == 0 || open_ones(now) < open_ones(best);
        call_free(better ? &best->c : &now->c);
        if (better) *best = *now;
        *now = (probe){.tried = 0};
    }
    call_free(&now->c);
    free(now);
    best->tried = tried;
    return status;
}
