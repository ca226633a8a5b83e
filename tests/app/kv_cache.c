// SPDX-License-Identifier: Apache-2.0
// Token by token over a cache is the whole sequence at once: random sequences, in random pieces, alone and beside others of
// other lengths, with every attention name. kv_cache SEED runs one drawn case.
#include "gpt2_small.h"

#include "../test.h"

#include "base/dtype.h"
#include "base/memory.h"
#include "model/kv_cache.h"
#include "nn/linear.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static heed_error error;

// More positions than one tile of keys (256); tiny besides.
enum { POSITIONS = 280, VOCABULARY = 61, ROWS = 5, CASES = 70 };

static model *make(const attention_choice *choice, heed_dtype precision) {
    model *m;
    if (model_begin(&m, &error) != HEED_OK) return NULL;
    m->config = (model_config){.name = "cached", .vocabulary = VOCABULARY, .positions = POSITIONS, .layers = 2, .heads = 3,
                               .width = 24, .inner = 40, .epsilon = 1e-5, .bos = -1, .eos = -1};
    if (gpt2_layout(m, &error) != HEED_OK || model_set_attention(m, choice, false, &error) != HEED_OK) {
        model_free(m);
        return NULL;
    }
    m->initializer_range = 0.3;    // far from uniform attention
    gpt2_initialize(m, 3);
    CHECK(model_set_precision(m, precision, &error) == HEED_OK, "%s", error.text);
    return m;
}

typedef struct {
    uint64_t seed;
    int64_t rows, capacity, length[ROWS];    // of the whole sequences
    int32_t *id[ROWS];
    float *whole[ROWS];                      // (length, vocabulary)
    double rounding;                         // how far bf16 took the whole sequences' logits from those of f32
} drawn;

static void run_whole(model *m, const int32_t *id, int64_t n, float *logits) {
    int32_t position[POSITIONS];
    for (int64_t i = 0; i < n; i++) position[i] = (int32_t)i;
    const model_batch b = {.rows = 1, .length = n, .id = id, .position = position};
    CHECK(model_logits(m, &b, logits, &error) == HEED_OK, "%s", error.text);
}

static drawn draw(uint64_t seed, random_stream *s, model *m, model *f32) {
    static float exact[POSITIONS * VOCABULARY];
    drawn d = {.seed = seed, .rows = 1 + (int64_t)random_below(s, ROWS)};
    for (int64_t r = 0; r < d.rows; r++) {
        const int64_t most = random_below(s, 3) == 0 ? POSITIONS : 40, n = 1 + (int64_t)random_below(s, (uint64_t)most);
        d.length[r] = n;
        if (n > d.capacity) d.capacity = n;
        d.id[r] = malloc((size_t)n * sizeof(int32_t));
        d.whole[r] = malloc((size_t)(n * VOCABULARY) * sizeof(float));
        for (int64_t i = 0; i < n; i++) d.id[r][i] = (int32_t)random_below(s, VOCABULARY);
        run_whole(m, d.id[r], n, d.whole[r]);
        run_whole(f32, d.id[r], n, exact);
        for (int64_t i = 0; i < n * VOCABULARY; i++) d.rounding = fmax(d.rounding, fabs((double)d.whole[r][i] - (double)exact[i]));
    }
    if (random_below(s, 2) == 0) d.capacity = POSITIONS;
    return d;
}

static void drawn_free(drawn *d) {
    for (int64_t r = 0; r < d->rows; r++) free(d->id[r]), free(d->whole[r]);
}

// The yardstick: two f32 passes may differ by the rounding of their sums, here 100 units in the last place of the largest
// logit (measured: up to 15); two bf16 passes, besides, by twice what bf16 took one of them from f32.
static void compare(const drawn *d, const char *name, int64_t row, int64_t at, int64_t n, const float *got) {
    const float *want = d->whole[row] + at * VOCABULARY;
    double worst = 0, size = 0;
    for (int64_t i = 0; i < n * VOCABULARY; i++) {
        const double off = fabs((double)got[i] - (double)want[i]);
        if (!(off <= worst)) worst = off;
        size = fmax(size, fabs((double)want[i]));
    }
    CHECK(worst <= 100 * 0x1p-24 * size + 2 * d->rounding,
          "%s: row %lld of %lld, tokens %lld to %lld: off by %.3g at a scale of %.3g (kv_cache %llu)",
          name, (long long)row, (long long)d->rows, (long long)at, (long long)(at + n), worst, size, (unsigned long long)d->seed);
}

// Each row begins alone, in random pieces, and leaves some tokens for later.
static void prefill(const drawn *d, const char *name, random_stream *s, model *m, kv_cache *c, float *logits) {
    for (int64_t r = 0; r < d->rows; r++) {
        const int64_t end = (int64_t)random_below(s, (uint64_t)d->length[r] + 1);
        while (c->length[r] < end) {
            const int64_t at = c->length[r], n = 1 + (int64_t)random_below(s, (uint64_t)(end - at));
            const bool every = random_below(s, 2) == 0;
            const model_tokens t = {.first_row = r, .rows = 1, .length = n, .id = d->id[r] + at, .every = every};
            CHECK(model_extend(m, c, &t, logits, &error) == HEED_OK, "%s", error.text);
            compare(d, name, r, every ? at : at + n - 1, every ? n : 1, logits);
        }
    }
}

// The same tokens of one row in a cache of its own.
static void extend_alone(model *m, const kv_cache *c, int64_t row, const int32_t *id, int64_t n, float *logits) {
    kv_cache *one;
    CHECK(kv_cache_create(&one, m, 1, c->capacity, &error) == HEED_OK, "%s", error.text);
    for (int64_t l = 0; l < c->layers; l++)
        for (int which = 0; which < 2; which++)
            for (int64_t h = 0; h < c->heads; h++)
                memcpy(kv_cache_at(one, l, which, 0, h), kv_cache_at(c, l, which, row, h),
                       (size_t)(c->length[row] * c->channels) * dtype_bytes(c->type));
    one->length[0] = c->length[row];
    const model_tokens t = {.rows = 1, .length = n, .id = id, .every = true};
    CHECK(model_extend(m, one, &t, logits, &error) == HEED_OK, "%s", error.text);
    kv_cache_free(one);
}

// Then all rows go on together, a few tokens at a time, each from where it stands.
static void go_on(const drawn *d, const char *name, random_stream *s, model *m, model *single, kv_cache *c, float *logits) {
    for (;;) {
        int64_t least = POSITIONS;
        for (int64_t r = 0; r < d->rows; r++) least = int64_min(least, d->length[r] - c->length[r]);
        if (least == 0) return;
        const int64_t n = 1 + (int64_t)random_below(s, (uint64_t)int64_min(least, 3));
        int32_t id[ROWS * 3];
        float alone[3 * VOCABULARY];
        for (int64_t r = 0; r < d->rows; r++)
            for (int64_t i = 0; i < n; i++) id[r * n + i] = d->id[r][c->length[r] + i];
        const int64_t probe = (int64_t)random_below(s, (uint64_t)d->rows);
        extend_alone(single, c, probe, id + probe * n, n, alone);
        const model_tokens t = {.rows = d->rows, .length = n, .id = id, .every = true};
        CHECK(model_extend(m, c, &t, logits, &error) == HEED_OK, "%s", error.text);
        for (int64_t r = 0; r < d->rows; r++) compare(d, name, r, c->length[r] - n, n, logits + r * n * VOCABULARY);
        CHECK(d->rows * n > LINEAR_FEW_ROWS || memcmp(alone, logits + probe * n * VOCABULARY, (size_t)n * VOCABULARY * 4) == 0,
              "%s: row %lld has other bits alone, on one thread (kv_cache %llu)", name, (long long)probe,
              (unsigned long long)d->seed);
    }
}

static void test_case(uint64_t seed, const char *name) {
    random_stream s = random_of(seed, 77);
    const heed_dtype precision = random_below(&s, 3) == 0 ? HEED_BF16 : HEED_F32;
    model *m = make(&(attention_choice){.name = name}, precision);
    model *single = make(&(attention_choice){.name = name, .threads = 1}, precision), *f32 = make(&(attention_choice){0}, HEED_F32);
    drawn d = draw(seed, &s, m, precision == HEED_F32 ? m : f32);
    CHECK((d.rounding > 0) == (precision == HEED_BF16), "bf16 computes what f32 does");
    kv_cache *c;
    CHECK(kv_cache_create(&c, m, d.rows, d.capacity, &error) == HEED_OK, "%s", error.text);
    const size_t values = (size_t)(2 * c->layers * c->rows * c->heads * c->capacity * c->channels);
    memset(c->values, 0xff, values * dtype_bytes(c->type));    // NaN: what no token has written must not be read
    float *logits = malloc((size_t)(ROWS * POSITIONS * VOCABULARY) * sizeof *logits);
    prefill(&d, name, &s, m, c, logits);
    go_on(&d, name, &s, m, single, c, logits);
    int64_t count;
    const attention_record *r = model_attention_records(m, &count);
    for (int64_t i = 0; i < count; i++)
        CHECK(r[i].evaluation && strcmp(r[i].requested, name) == 0 && r[i].calls > 0, "%s: %s", name, r[i].problem);
    free(logits);
    kv_cache_free(c);
    drawn_free(&d);
    model_free(m);
    model_free(single);
    model_free(f32);
}

static void test_edges(void) {
    model *m = make(&(attention_choice){0}, HEED_F32);
    kv_cache *c;
    CHECK(kv_cache_create(&c, m, 2, POSITIONS + 1, &error) == HEED_INVALID && strstr(error.text, "280 positions") != NULL, "%s",
          error.text);
    CHECK(kv_cache_create(&c, m, 0, 4, &error) == HEED_INVALID, "no rows");
    CHECK(kv_cache_create(&c, m, 1, 0, &error) == HEED_INVALID, "no capacity");
    CHECK(kv_cache_create(&c, m, 2, 4, &error) == HEED_OK, "%s", error.text);
    int32_t id[6] = {1, 2, 3, 4, 5, 6};
    float logits[VOCABULARY], again[VOCABULARY];
    model_tokens t = {.first_row = 1, .rows = 1, .length = 3, .id = id};
    CHECK(model_extend(m, c, &t, NULL, &error) == HEED_OK && c->length[1] == 3 && c->length[0] == 0, "%s", error.text);
    kv_cache_copy(c, 0, 1);
    t = (model_tokens){.first_row = 1, .rows = 1, .length = 1, .id = id + 3};
    CHECK(model_extend(m, c, &t, logits, &error) == HEED_OK && c->length[1] == 4, "the last place: %s", error.text);
    CHECK(model_extend(m, c, &t, again, &error) == HEED_INVALID && c->length[1] == 4 &&
          strstr(error.text, "row 1 has 4 tokens and gets 1 more") != NULL, "%s", error.text);
    t.first_row = 0;
    CHECK(model_extend(m, c, &t, again, &error) == HEED_OK && memcmp(logits, again, sizeof logits) == 0, "a copied row: %s",
          error.text);
    c->length[0] = 3;    // forget the last token and take it again
    CHECK(model_extend(m, c, &t, again, &error) == HEED_OK && memcmp(logits, again, sizeof logits) == 0, "a row set back");
    const model_tokens bad[] = {
        {.first_row = 2, .rows = 1, .length = 1, .id = id}, {.first_row = -1, .rows = 1, .length = 1, .id = id},
        {.rows = 3, .length = 1, .id = id}, {.rows = 0, .length = 1, .id = id}, {.rows = 1, .length = 0, .id = id},
        {.rows = 1, .length = INT64_MAX, .id = id}, {.rows = INT64_MAX, .length = INT64_MAX, .id = id},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(model_extend(m, c, &bad[i], again, &error) == HEED_INVALID, "bad tokens %zu", i);
    c->length[0] = 0, id[0] = VOCABULARY;
    t.id = id;
    CHECK(model_extend(m, c, &t, again, &error) == HEED_INVALID && strstr(error.text, "is 61") != NULL && c->length[0] == 0, "%s",
          error.text);
    kv_cache_free(c);
    CHECK(kv_cache_create(&c, m, 1, POSITIONS, &error) == HEED_OK, "%s", error.text);
    int32_t many[POSITIONS + 1] = {0};
    t = (model_tokens){.rows = 1, .length = POSITIONS + 1, .id = many};
    CHECK(model_extend(m, c, &t, again, &error) == HEED_INVALID && strstr(error.text, "all the model's positions") != NULL, "%s",
          error.text);
    kv_cache_free(c);
    model_free(m);
    m = make(&(attention_choice){.name = "paged_attention"}, HEED_F32);
    CHECK(kv_cache_create(&c, m, 1, 4, &error) == HEED_OK, "%s", error.text);
    t = (model_tokens){.rows = 1, .length = 1, .id = many};
    CHECK(model_extend(m, c, &t, again, &error) == HEED_REFUSED && c->length[0] == 0, "pages: %s", error.text);
    CHECK(model_set_precision(m, HEED_BF16, &error) == HEED_OK && model_extend(m, c, &t, again, &error) == HEED_INVALID &&
          strstr(error.text, "the cache holds f32") != NULL, "%s", error.text);
    kv_cache_free(c);
    model_free(m);
}

int main(int argc, char **argv) {
    int count;
    const attention_name *names = attention_names(&count);
    uint64_t first = 0, end = CASES;
    if (argc > 1) first = strtoull(argv[1], NULL, 10), end = first + 1;
    for (uint64_t seed = first; seed < end; seed++) {
        const int which = (int)(seed % (uint64_t)count);
        if (names[which].missing == NULL || names[which].substitute[0] != NULL) test_case(seed, names[which].name);
    }
    test_edges();
    return test_end();
}
