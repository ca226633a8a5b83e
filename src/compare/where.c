// SPDX-License-Identifier: Apache-2.0
#include "compare/where.h"

#include "base/error.h"
#include "base/memory.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Counts of bad rows by head and by row.
typedef struct { int64_t *by_head, *by_row, *empty_by_row; double *size_by_row; void *memory; } counts;

static double row_error(const call *c, const prediction *p, int64_t i, const observed *seen, int64_t place, double limit_out,
                        double limit_lse) {
    double most = 0;
    for (int64_t t = 0; seen->out != NULL && t < c->value_channels; t++) {
        const double a = seen->out[place * c->value_channels + t], b = p->out[i * c->value_channels + t];
        if (!isfinite(a) || !isfinite(b)) {
            if (a != b && !(isnan(a) && isnan(b))) return INFINITY;
            continue;
        }
        const double ulp = floor_ulp(c->problem.dtype, b);
        most = fmax(most, fabs(a - b) / sqrt(fmax(p->var[i * c->value_channels + t], ulp * ulp / 12)) / limit_out);
    }
    if (seen->lse != NULL && isfinite(seen->lse[place]) && isfinite(p->lse[i])) {
        const double ulp = floor_ulp(HEED_F32, p->lse[i]);
        most = fmax(most, fabs(seen->lse[place] - p->lse[i]) / sqrt(fmax(p->var_lse[i], ulp * ulp / 12)) / limit_lse);
    } else if (seen->lse != NULL && seen->lse[place] != p->lse[i] && !(isnan(seen->lse[place]) && isnan(p->lse[i]))) {
        return INFINITY;
    }
    return most;
}

static void count(counts *k, const call *c, const prediction *p, const row_list *all, const observed *seen, const residual *own) {
    for (int64_t i = 0; i < all->n; i++) {
        const row_place at = all->at[i];
        const int64_t place = (at.batch * c->heads + at.head) * c->queries + at.row;
        const double error = row_error(c, p, i, seen, place, 1.5 * own->peak + 1, 1.5 * own->peak_lse + 1);
        k->size_by_row[at.row] += isfinite(error) ? error : 0;
        if (!(error > 1)) continue;
        k->by_head[at.head]++;
        k->by_row[at.row]++;
        k->empty_by_row[at.row] += p->lse[i] == -INFINITY || isnan(p->lse[i]);
    }
}

static int list_nonzero(const int64_t *count_of, int64_t n, int64_t *list) {
    int found = 0;
    for (int64_t i = 0; i < n && found < WHERE_MOST; i++)
        if (count_of[i] > 0) list[found++] = i;
    return found;
}

// ---- Keys ---------------------------------------------------------------------------------------------------------

// Keys that one formula shows and the other hides, over rows spread through the problem.
static heed_status find_keys(where *w, const predictor *by, const variant *explained, heed_error *error) {
    enum { ROWS = 64 };
    const call *c = by->c;
    const size_t bytes = formula_row_bytes(c);
    char *memory = memory_take(size_add(2 * bytes, size_mul((size_t)int64_max(1, c->keys), sizeof(int64_t))));
    formula f = {.memory = NULL};
    if (memory == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for the keys of a difference");
    const heed_status status = formula_begin(&f, c, explained, &by->claim, error);
    formula_row a = formula_row_at(c, memory), b = formula_row_at(c, memory + bytes);
    int64_t *differs = (int64_t *)(memory + 2 * bytes);
    memset(differs, 0, (size_t)c->keys * sizeof *differs);
    for (int64_t step = 0; status == HEED_OK && step < int64_min(ROWS, c->queries); step++) {
        const int64_t row = step * c->queries / int64_min(ROWS, c->queries);
        formula_row_compute(&by->claim, 0, 0, row, &a);
        formula_row_compute(&f, 0, 0, row, &b);
        for (int64_t j = 0; j < c->keys; j++) differs[j] += a.shown[j] != b.shown[j];
    }
    if (status == HEED_OK) w->n_keys = list_nonzero(differs, c->keys, w->key);
    formula_end(&f);
    memory_free(memory);
    return status;
}

// ---- Patterns -----------------------------------------------------------------------------------------------------

static bool every_from(const int64_t *by_row, int64_t first, int64_t n) {
    for (int64_t i = first; i < n; i++)
        if (by_row[i] == 0) return false;
    return true;
}

static int64_t first_bad(const int64_t *by_row, int64_t n) {
    int64_t i = 0;
    while (i < n && by_row[i] == 0) i++;
    return i;
}

static bool period_of_group(const call *c, const int64_t *by_head, int64_t *member) {
    if (c->group < 2 || c->kv_heads < 2) return false;
    *member = first_bad(by_head, c->heads) % c->group;
    for (int64_t h = 0; h < c->heads; h++)
        if ((by_head[h] > 0) != (h % c->group == *member)) return false;
    return true;
}

// Rank correlation would do as well: the mean error of the last quarter of the rows against the first.
static bool grows(const double *size, int64_t n) {
    double first = 0, last = 0;
    const int64_t quarter = n / 4;
    if (quarter < 4) return false;
    for (int64_t i = 0; i < quarter; i++) first += size[i], last += size[n - 1 - i];
    return last > 4 * first && first >= 0;
}

static void find_pattern(where *w, const call *c, const counts *k) {
    const int64_t Q = c->queries, left = variant_of(c).left, first = first_bad(k->by_row, Q);
    int64_t bad = 0, empty = 0, member;
    for (int64_t i = 0; i < Q; i++) bad += k->by_row[i], empty += k->empty_by_row[i];
    if (bad == 0) return;
    if (empty == bad) snprintf(w->pattern, sizeof w->pattern, "only rows that see no key");
    else if (left > 0 && first > left && first <= left + 2 && every_from(k->by_row, first, Q))
        snprintf(w->pattern, sizeof w->pattern, "from the window's edge (row %lld) on", (long long)first);
    else if (first >= 16 && first % 16 == 0 && every_from(k->by_row, first, Q))
        snprintf(w->pattern, sizeof w->pattern, "from a tile's edge (row %lld) on", (long long)first);
    else if (period_of_group(c, k->by_head, &member))
        snprintf(w->pattern, sizeof w->pattern, "head %lld of every group of %lld", (long long)member, (long long)c->group);
    else if (every_from(k->by_row, 0, Q))
        snprintf(w->pattern, sizeof w->pattern, "every row%s", grows(k->size_by_row, Q) ? ", growing with the position" : "");
    else if (grows(k->size_by_row, Q))
        snprintf(w->pattern, sizeof w->pattern, "growing with the position");
    else if (first > 0 && every_from(k->by_row, first, Q))
        snprintf(w->pattern, sizeof w->pattern, "from row %lld on", (long long)first);
}

heed_status where_find(where *w, const predictor *by, const prediction *claim, const row_list *all, const observed *seen,
                       const residual *correct, const variant *explained, heed_error *error) {
    const call *c = by->c;
    const int64_t n = c->heads + 3 * c->queries;
    *w = (where){.rows = all->n};
    int64_t *memory = calloc((size_t)int64_max(1, n), sizeof *memory);
    if (memory == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for counts of rows");
    counts k = {memory, memory + c->heads, memory + c->heads + c->queries, (double *)(memory + c->heads + 2 * c->queries), memory};
    count(&k, c, claim, all, seen, correct);
    w->n_heads = list_nonzero(k.by_head, c->heads, w->head);
    w->n_rows = list_nonzero(k.by_row, c->queries, w->row);
    for (int64_t h = 0; h < c->heads; h++) w->bad_rows += k.by_head[h];
    find_pattern(w, c, &k);
    free(memory);
    return explained == NULL ? HEED_OK : find_keys(w, by, explained, error);
}
