// SPDX-License-Identifier: Apache-2.0
#include "train/mixture.h"

#include "base/memory.h"

#include <math.h>
#include <stdlib.h>

// Quotas by largest remainders: rate * rows rounded down, the rows still missing to the largest fractions, first member first.
static void share_out(mixture *m, const double *rate) {
    int64_t given = 0;
    for (int64_t i = 0; i < m->count; i++) {
        const double share = rate[i] > 0 ? rate[i] * (double)m->rows : (double)m->member[i].rows.rows;
        m->member[i].quota = int64_min((int64_t)floor(share + 1e-9), m->rows - given);
        given += m->member[i].quota;
    }
    for (; given < m->rows; given++) {
        int64_t best = 0;
        double most = -INFINITY;
        for (int64_t i = 0; i < m->count; i++) {
            const double left = rate[i] * (double)m->rows - (double)m->member[i].quota;
            if (left > most) best = i, most = left;
        }
        m->member[best].quota++;
    }
}

heed_status mixture_create(mixture *m, int64_t count, const char *const *label, const dataset *const *data, const double *rate,
                           row_layout layout, heed_error *error) {
    *m = (mixture){.member = calloc((size_t)count, sizeof *m->member), .count = count};
    heed_status status = m->member == NULL ? error_set(error, HEED_NO_MEMORY, "no memory for a mixture") : HEED_OK;
    for (int64_t i = 0; status == HEED_OK && i < count; i++) {
        m->member[i].label = label[i];
        status = rows_create(&m->member[i].rows, data[i], layout, error);
        m->rows += m->member[i].rows.rows;
    }
    if (status == HEED_OK) share_out(m, rate);
    for (int64_t i = 0; status == HEED_OK && i < count; i++)
        if (m->member[i].quota == 0)
            status = error_set(error, HEED_INVALID, "--mixture_rates gives data set \"%.60s\" no row of an epoch's %lld: its rate, "
                               "%g, is too small", label[i], (long long)m->rows, rate[i]);
    if (status != HEED_OK) mixture_free(m);
    return status;
}

void mixture_free(mixture *m) {
    for (int64_t i = 0; m->member != NULL && i < m->count; i++) rows_free(&m->member[i].rows);
    free(m->member);
    *m = (mixture){0};
}

uint64_t mixture_hash(const mixture *m) {
    uint64_t hash = rows_hash(&m->member[0].rows);
    for (int64_t i = 1; i < m->count; i++) hash = (hash ^ rows_hash(&m->member[i].rows)) * 0x100000001b3ull;
    for (int64_t i = 0; m->count > 1 && i < m->count; i++) hash = (hash ^ (uint64_t)m->member[i].quota) * 0x100000001b3ull;
    return hash;
}

// ---- the order ----

// The rows a member gives in an epoch: `quota` of them, from where the epoch before stopped. pass: memory for its rows.
static void member_rows(const mixture *m, int64_t index, uint64_t seed, int64_t epoch, int64_t *pass, int64_t *out) {
    const mixture_member *of = &m->member[index];
    const int64_t n = of->rows.rows, first = epoch * of->quota;
    for (int64_t i = 0; i < of->quota; i++) {
        const int64_t at = (first + i) % n;
        if (i == 0 || at == 0) rows_order(pass, n, seed, (first + i) / n + (index << 32));    // a stream of its own for each
        out[i] = pass[at];
    }
}

// Whose turn it is for row i of an epoch, given[] counting what each gave before. A member whose share runs ahead of what it gave
// may be next; of those the one that would be the first to fall a whole row behind.
static int64_t turn(const mixture *m, const int64_t *given, int64_t i) {
    const double slack = m->count > 1 ? 1 / (double)(2 * m->count - 2) : 0;
    int64_t next = -1;
    double soonest = INFINITY;
    for (int64_t k = 0; k < m->count; k++) {
        const double rate = (double)m->member[k].quota / (double)m->rows;
        const double behind = (double)m->member[k].quota * (double)(i + 1) / (double)m->rows - (double)given[k];
        const double time = (1 - slack - behind) / rate;
        if (given[k] < m->member[k].quota && behind >= slack - 1e-9 && time < soonest) next = k, soonest = time;
    }
    for (int64_t k = 0; next < 0 && k < m->count; k++)    // none by rounding alone
        if (given[k] < m->member[k].quota) next = k;
    return next;
}

heed_status mixture_order(const mixture *m, row_pick *order, uint64_t seed, int64_t epoch, heed_error *error) {
    int64_t longest = 0;
    for (int64_t k = 0; k < m->count; k++) longest = int64_max(longest, m->member[k].rows.rows);
    int64_t *pass = malloc(size_mul((size_t)longest, sizeof *pass)), *drawn = malloc(size_mul((size_t)m->rows, sizeof *drawn));
    int64_t *first = calloc((size_t)m->count, sizeof *first), *given = calloc((size_t)m->count, sizeof *given);
    heed_status status = HEED_OK;
    if (pass == NULL || drawn == NULL || first == NULL || given == NULL)
        status = error_set(error, HEED_NO_MEMORY, "no memory for the order of %lld rows", (long long)m->rows);
    for (int64_t k = 0, at = 0; status == HEED_OK && k < m->count; at += m->member[k++].quota) {
        first[k] = at;
        member_rows(m, k, seed, epoch, pass, drawn + at);
    }
    for (int64_t i = 0; status == HEED_OK && i < m->rows; i++) {
        const int64_t k = turn(m, given, i);
        order[i] = (row_pick){&m->member[k].rows, drawn[first[k] + given[k]++]};
    }
    free(pass);
    free(drawn);
    free(first);
    free(given);
    return status;
}
