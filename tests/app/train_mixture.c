// SPDX-License-Identifier: Apache-2.0
// Random mixtures: quotas, the share of every member after any number of rows, and each member's rows in its own order.
#include "train/mixture.h"

#include "base/random.h"

#include <math.h>
#include <string.h>

#include "../test.h"

enum { MOST_ROWS = 300, EOS = 9 };

typedef struct { int32_t id[3 * MOST_ROWS]; int64_t start[MOST_ROWS + 1]; dataset data; } source;
static source sources[8];

// A data set of `rows` documents of two tokens: as many rows.
static const dataset *make(int index, int64_t rows) {
    source *s = &sources[index];
    for (int64_t i = 0; i < rows; i++) {
        s->id[2 * i] = (int32_t)i;
        s->id[2 * i + 1] = EOS;
        s->start[i + 1] = 2 * i + 2;
    }
    s->data = (dataset){.id = s->id, .start = s->start, .documents = rows, .tokens = 2 * rows, .name = "member"};
    return &s->data;
}

static void check_epochs(const mixture *m, const double *rate, uint64_t seed) {
    static row_pick order[8 * MOST_ROWS];
    static int64_t pass[MOST_ROWS];
    heed_error e;
    int64_t drawn[8] = {0};
    for (int64_t epoch = 0; epoch < 3; epoch++) {
        int64_t given[8] = {0};
        CHECK(mixture_order(m, order, seed, epoch, &e) == HEED_OK, "%s", e.text);
        for (int64_t i = 0; i < m->rows; i++) {
            int64_t k = 0;
            while (order[i].set != &m->member[k].rows) k++;
            const int64_t n = m->member[k].rows.rows;
            rows_order(pass, n, seed, drawn[k] / n + (k << 32));
            CHECK(order[i].row == pass[drawn[k] % n], "seed %llu, member %lld: draw %lld is row %lld, not %lld",
                  (unsigned long long)seed, (long long)k, (long long)drawn[k], (long long)order[i].row,
                  (long long)pass[drawn[k] % n]);
            drawn[k]++;
            given[k]++;
            for (int64_t j = 0; j < m->count; j++) {
                const double share = (double)m->member[j].quota * (double)(i + 1) / (double)m->rows;
                CHECK(fabs((double)given[j] - share) < 1, "seed %llu, member %lld, row %lld of epoch %lld: %lld given, %.3f is its "
                      "share", (unsigned long long)seed, (long long)j, (long long)i,
                      (long long)epoch, (long long)given[j], share);
            }
        }
        for (int64_t k = 0; k < m->count; k++) {
            CHECK(given[k] == m->member[k].quota, "member %lld gave %lld of %lld", (long long)k, (long long)given[k],
                  (long long)m->member[k].quota);
            CHECK(fabs((double)given[k] - rate[k] * (double)m->rows) < 1, "member %lld: %lld rows of %lld at rate %g", (long long)k,
                  (long long)given[k], (long long)m->rows, rate[k]);
        }
    }
}

static void random_mixtures(void) {
    static const char *const label[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    for (uint64_t seed = 0; seed < 60; seed++) {
        random_stream s = random_of(seed, 1);
        const int64_t count = 1 + (int64_t)random_below(&s, 8);
        const dataset *data[8];
        double rate[8], sum = 0;
        for (int i = 0; i < count; i++) {
            data[i] = make(i, 20 + (int64_t)random_below(&s, MOST_ROWS - 20));
            sum += rate[i] = 0.1 + random_unit(&s);
        }
        for (int i = 0; i < count; i++) rate[i] /= sum;
        mixture m;
        heed_error e;
        CHECK(mixture_create(&m, count, label, data, rate, (row_layout){.length = 8}, &e) == HEED_OK, "%s", e.text);
        check_epochs(&m, rate, seed);
        const uint64_t hash = mixture_hash(&m);
        mixture_free(&m);
        const double none[8] = {0};
        CHECK(mixture_create(&m, count, label, data, none, (row_layout){.length = 8}, &e) == HEED_OK, "%s", e.text);
        for (int i = 0; i < count; i++) CHECK(m.member[i].quota == data[i]->documents, "without rates an epoch has each row once");
        CHECK(count == 1 || hash != mixture_hash(&m), "other rates, the same hash");
        mixture_free(&m);
    }
}

static void refusals(void) {
    static const char *const label[] = {"a", "b"};
    const dataset *data[] = {make(0, 20), make(1, 20)};
    mixture m;
    heed_error e;
    CHECK(mixture_create(&m, 2, label, data, (const double[]){1 - 1e-4, 1e-4}, (row_layout){.length = 8}, &e) == HEED_INVALID &&
          strstr(e.text, "\"b\"") != NULL, "a member that never gives a row");
}

int main(void) {
    random_mixtures();
    refusals();
    return test_end();
}
