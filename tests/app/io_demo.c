// SPDX-License-Identifier: Apache-2.0
// That -log p is exact: a small version of the language is gone through as a whole (probabilities sum to 1, texts differ), and
// over many documents of the full one the mean of -log p is the entropy that the comment in demo.c derives by hand.
#include "io/demo.h"

#include "../test.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

// An odometer over choices: replays `digit`, extends it by 0, and counts on at the end.
typedef struct { int digit[64], base[64], used; double p; } odometer;

static int choose_next(void *context, const uint8_t *weight, int n) {
    odometer *o = context;
    double sum = 0;
    for (int i = 0; i < n; i++) sum += weight[i];
    o->base[o->used] = n;
    const int i = o->digit[o->used++];
    o->p *= weight[i] / sum;
    return i;
}

static bool count_on(odometer *o) {
    int at = o->used - 1;
    while (at >= 0 && o->digit[at] + 1 == o->base[at]) o->digit[at--] = 0;
    if (at >= 0) o->digit[at]++;
    return at >= 0;
}

static int compare(const void *a, const void *b) { return memcmp(a, b, 16); }

static void test_whole_language(int most, long expected) {
    typedef struct { uint64_t a, b; } fingerprint;
    fingerprint *seen = malloc((size_t)expected * sizeof *seen);
    odometer o = {0};
    long count = 0;
    double sum = 0;
    do {
        demo_document d;
        o.used = 0;
        o.p = 1;
        demo_derive(choose_next, &o, most, &d);
        CHECK(fabs(exp(-d.nats) / o.p - 1) < 1e-12, "%.*s: p %g, expected %g", d.length, d.text, exp(-d.nats), o.p);
        fingerprint f = {0xcbf29ce484222325u, 1};
        for (int i = 0; i < d.length; i++) {
            f.a = (f.a ^ (unsigned char)d.text[i]) * 0x100000001b3u;
            f.b = (f.b + (unsigned char)d.text[i]) * 0x9E3779B97F4A7C15u;
        }
        if (count < expected) seen[count] = f;
        count++;
        sum += exp(-d.nats);
    } while (count_on(&o));
    CHECK(count == expected, "%ld documents; %ld expected", count, expected);
    CHECK(fabs(sum - 1) < 1e-9, "probabilities sum to %.12f", sum);
    if (count == expected) {
        qsort(seen, (size_t)count, sizeof *seen, compare);
        long equal = 0;
        for (long i = 1; i < count; i++) equal += memcmp(&seen[i - 1], &seen[i], sizeof *seen) == 0;
        CHECK(equal == 0, "%ld texts have more than one derivation", equal);
    }
    free(seen);
}

static void test_full_language(void) {
    enum { DOCUMENTS = 40000 };
    double sum = 0, squares = 0;
    int longest = 0;
    for (int i = 0; i < DOCUMENTS; i++) {
        random_stream stream = random_of(7, (uint64_t)i);
        demo_document d;
        demo_write(&stream, &d);
        sum += d.nats;
        squares += d.nats * d.nats;
        if (d.length > longest) longest = d.length;
        const char *name_end = memchr(d.text, ':', (size_t)d.length);
        const long name = name_end - d.text;
        CHECK(d.text[d.length - 1] == '.' && memcmp(d.text, d.text + d.length - 1 - name, (size_t)name) == 0, "%.*s", d.length,
              d.text);
    }
    const double mean = sum / DOCUMENTS, error = sqrt((squares / DOCUMENTS - mean * mean) / DOCUMENTS);
    CHECK(fabs(demo_entropy() - 35.75 * log(2)) < 1e-12, "entropy %.12f", demo_entropy());
    CHECK(fabs(mean - demo_entropy()) < 4 * error, "mean %.4f, entropy %.4f, standard error %.4f", mean, demo_entropy(), error);
    CHECK(longest + 1 <= 110 && longest <= DEMO_BYTES, "a document of %d bytes", longest);
}

// Each alternative is drawn as often as its probability says: first letters, which are one of 8 at 1/8 each.
static void test_frequencies(void) {
    enum { DOCUMENTS = 16000 };
    int count[256] = {0};
    for (int i = 0; i < DOCUMENTS; i++) {
        random_stream stream = random_of(8, (uint64_t)i);
        demo_document d;
        demo_write(&stream, &d);
        count[(unsigned char)d.text[0]]++;
    }
    double chi = 0;
    for (const char *c = "klmnprst"; *c != 0; c++) chi += pow(count[(unsigned char)*c] - DOCUMENTS / 8.0, 2) / (DOCUMENTS / 8.0);
    CHECK(chi < 30, "chi squared %.1f with 7 degrees of freedom", chi);    // above 30 by chance once in 10,000
}

int main(void) {
    test_whole_language(1, 1);
    // Two alternatives of each choice: names 4^2 + 4^3, adjective 2, subject 4, place 2, object 4, group 4 (1 + 4 (1 + 4)), verb 2.
    test_whole_language(2, 80L * 2 * 4 * 2 * 4 * 84 * 2);
    test_full_language();
    test_frequencies();
    return test_end();
}
