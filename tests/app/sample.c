// SPDX-License-Identifier: Apache-2.0
// Sampling: what is kept obeys each option's definition, checked by sorting; draws come as often as their probability says, and
// again from the same stream. tests/python/test_generate.py compares with transformers. Also text that is shown as it grows.
#include "../test.h"

#include "cpu/kernels.h"
#include "io/text_stream.h"
#include "model/sample.h"

#include <math.h>
#include <string.h>

static heed_error error;
static engine e;

enum { MOST = 400 };

static int falling(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

// Normal logits, sometimes rounded so that many are equal; y is a copy.
static void draw_logits(random_stream *s, int64_t n, float *x, float *y) {
    const float grain = random_below(s, 2) == 0 ? 0.5f : 0;
    for (int64_t i = 0; i < n; i++) {
        x[i] = (float)(3 * random_normal(s));
        if (grain > 0) x[i] = roundf(x[i] / grain) * grain;
    }
    memcpy(y, x, (size_t)n * sizeof *x);
}

static sampler *make(const sample_options *o, int64_t n) {
    sampler *s;
    CHECK(sampler_create(&s, &e, o, n, &error) == HEED_OK, "%s", error.text);
    return s;
}

static void test_top_k(random_stream *s) {
    const int64_t n = 1 + (int64_t)random_below(s, MOST), k = 1 + (int64_t)random_below(s, (uint64_t)n);
    float x[MOST], y[MOST];
    double sorted[MOST];
    draw_logits(s, n, x, y);
    for (int64_t i = 0; i < n; i++) sorted[i] = (double)x[i];
    qsort(sorted, (size_t)n, sizeof *sorted, falling);
    sampler *one = make(&(sample_options){.repetition_penalty = 1, .temperature = 1, .top_k = k, .top_p = 1}, n);
    sample_process(one, NULL, 0, y);
    for (int64_t i = 0; i < n; i++) {
        const bool keep = (double)x[i] >= sorted[k - 1];
        CHECK(keep ? y[i] == x[i] : y[i] == -INFINITY, "top_k %lld of %lld: logit %g became %g", (long long)k, (long long)n, x[i],
              y[i]);
    }
    sampler_free(one);
}

static void test_top_p(random_stream *s) {
    const int64_t n = 1 + (int64_t)random_below(s, MOST);
    const double top_p = random_below(s, 4) == 0 ? 1e-6 : random_unit(s) * 0.999 + 1e-9;
    float x[MOST], y[MOST];
    double p[MOST], total = 0, kept = 0, least = 2, dropped = 0;
    draw_logits(s, n, x, y);
    sampler *one = make(&(sample_options){.repetition_penalty = 1, .temperature = 1, .top_p = top_p}, n);
    sample_process(one, NULL, 0, y);
    for (int64_t i = 0; i < n; i++) p[i] = exp((double)x[i]), total += p[i];
    for (int64_t i = 0; i < n; i++) {
        p[i] /= total;
        CHECK(y[i] == x[i] || y[i] == -INFINITY, "top_p: a kept logit changed");
        if (y[i] == x[i]) kept += p[i], least = fmin(least, p[i]);
        else dropped = fmax(dropped, p[i]);
    }
    CHECK(kept >= top_p - 1e-5 && kept - least <= top_p + 1e-5 && dropped <= least * (1 + 1e-6),
          "top_p %g of %lld: kept %g, the least of them %g, the largest dropped %g", top_p, (long long)n, kept, least, dropped);
    sampler_free(one);
}

static void test_min_p_and_penalty(random_stream *s) {
    const int64_t n = 2 + (int64_t)random_below(s, MOST - 2);
    const double min_p = random_unit(s);
    float x[MOST], y[MOST], most = -INFINITY;
    draw_logits(s, n, x, y);
    const int32_t seen[] = {1, 0, 1, 1};
    sampler *one = make(&(sample_options){.repetition_penalty = 1.5, .temperature = 2, .top_p = 1, .min_p = min_p}, n);
    sample_process(one, seen, 4, y);
    for (int64_t i = 0; i < n; i++) {
        if (i < 2) x[i] = x[i] < 0 ? x[i] * 1.5f : x[i] / 1.5f;
        x[i] /= 2;
        most = fmaxf(most, x[i]);
    }
    for (int64_t i = 0; i < n; i++) {
        const double share = exp((double)x[i] - (double)most);
        if (fabs(share - min_p) < 1e-6) continue;    // rounding may decide
        CHECK(share >= min_p ? y[i] == x[i] : y[i] == -INFINITY, "min_p %g: %g of the likeliest became %g", min_p, share, y[i]);
    }
    sampler_free(one);
}

static void test_draws(void) {
    enum { N = 40, DRAWS = 40000 };
    random_stream s = random_of(6, 0), stream = random_of(1, 2);
    float x[N], y[N];
    int count[N] = {0};
    draw_logits(&s, N, x, y);
    sampler *one = make(&(sample_options){.repetition_penalty = 1, .temperature = 1.5, .top_k = 20, .top_p = 0.95}, N);
    int32_t first[8];
    for (int i = 0; i < DRAWS; i++) {
        memcpy(y, x, sizeof x);
        const int32_t id = sample(one, NULL, 0, y, &stream);
        if (i < 8) first[i] = id;
        count[id]++;
    }
    memcpy(y, x, sizeof x);
    sample_process(one, NULL, 0, y);
    double total = 0;
    for (int i = 0; i < N; i++) total += exp((double)y[i]);
    for (int i = 0; i < N; i++) {
        const double p = exp((double)y[i]) / total, deviation = sqrt(p * (1 - p) / DRAWS), got = (double)count[i] / DRAWS;
        CHECK(fabs(got - p) <= 5 * deviation, "token %d came %g of the time, its probability is %g", i, got, p);
    }
    stream = random_of(1, 2);
    for (int i = 0; i < 8; i++) {
        memcpy(y, x, sizeof x);
        CHECK(sample(one, NULL, 0, y, &stream) == first[i], "draw %d from the same stream differs", i);
    }
    sampler_free(one);
    one = make(&sample_greedy, N);
    memcpy(y, x, sizeof x);
    const int32_t best = sample(one, NULL, 0, y, &stream);
    for (int i = 0; i < N; i++) CHECK(x[i] <= x[best], "greedy took %g, there is %g", x[best], x[i]);
    sampler_free(one);
}

// ---- Text as it grows ---------------------------------------------------------------------------------------------------

// bytes in pieces of `piece`; shown: how much was ready after each.
static void check_stream(const char *bytes, size_t piece, const char *const *stops, const char *want, bool stopped) {
    text_stream t = {.stops = stops};
    size_t shown = 0, n = strlen(bytes);
    for (size_t at = 0; at < n; at += piece) {
        text_stream_add(&t, bytes + at, at + piece <= n ? piece : n - at);
        CHECK(t.ready >= shown && t.ready <= t.text.length, "ready went from %zu to %zu of %zu", shown, t.ready, t.text.length);
        CHECK(t.ready <= strlen(want) && memcmp(t.text.text, want, t.ready) == 0, "\"%s\" by %zu: shows \"%.*s\"", bytes, piece,
              (int)t.ready, t.text.text);
        shown = t.ready;
        const unsigned char next = (unsigned char)want[shown], last = shown == 0 ? 0 : (unsigned char)want[shown - 1];
        CHECK((next & 0xc0) != 0x80 || last < 0xc2 || last > 0xf4,
              "\"%s\" by %zu: a character is cut at %zu", bytes, piece, shown);
    }
    text_stream_end(&t);
    CHECK(t.ready == strlen(want) && memcmp(t.text.text, want, t.ready) == 0 && t.stopped == stopped,
          "\"%s\" by %zu became \"%.*s\", not \"%s\"", bytes, piece, (int)t.ready, t.text.text, want);
    text_stream_free(&t);
}

static void test_stream(void) {
    static const char *const stops[] = {"STOP", "\n\n", "abac", NULL}, *const one[] = {"x", NULL};
    static const char mixed[] = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z";
    for (size_t piece = 1; piece < 8; piece++) {
        check_stream(mixed, piece, NULL, mixed, false);
        check_stream("end \xe2\x82", piece, NULL, "end \xe2\x82", false);              // never finished: shown at the end
        check_stream("\xff\xfe\x80 bad", piece, NULL, "\xff\xfe\x80 bad", false);      // no UTF-8: as it is
        check_stream("one STOP two", piece, stops, "one ", true);
        check_stream("one STO two S", piece, stops, "one STO two S", false);
        check_stream("ababac and STOP", piece, stops, "ab", true);
        check_stream("line\n\nnext STOP", piece, stops, "line", true);
        check_stream("xyz", piece, one, "", true);
        check_stream("\xe2\x82x", piece, one, "\xe2\x82", true);
    }
    text_stream t = {0};
    text_stream_add(&t, "a\xf0\x9f", 3);
    CHECK(t.ready == 1, "an unfinished character is held back, %zu bytes are ready", t.ready);
    text_stream_add(&t, "\x98\x80", 2);
    CHECK(t.ready == 5, "a finished one is not, %zu bytes are ready", t.ready);
    text_stream_add(&t, "\xed\xa0", 2);
    CHECK(t.ready == 7, "half a surrogate can never become a character, %zu bytes are ready", t.ready);
    text_stream_free(&t);
}

int main(void) {
    const cpu_kernels *table;
    for (int i = 0; cpu_kernels_row(i, &table) != NULL; i++) {
        if (table == NULL) continue;
        CHECK(engine_create(&e, 1, table->name, &error) == HEED_OK, "%s: %s", table->name, error.text);
        random_stream s = random_of(5, (uint64_t)i);
        for (int round = 0; round < 300; round++) test_top_k(&s), test_top_p(&s), test_min_p_and_penalty(&s);
        test_draws();
        engine_destroy(&e);
    }
    test_stream();
    return test_end();
}
