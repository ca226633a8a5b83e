// SPDX-License-Identifier: Apache-2.0
// Philox4x32-10 against the known answers that its authors publish with Random123 (kat_vectors), and the threshold of dropout.
// tests/python/test_attention_dropout.py writes the rounds a second time and compares whole masks.
#include "base/philox.h"
#include "test.h"

#include <string.h>

typedef struct { uint32_t counter[4], key[2], word[4]; } answer;

static const answer known[] = {
    {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
    {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
     {0xffffffff, 0xffffffff},
     {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
    {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},    // digits of pi
     {0xa4093822, 0x299f31d0},
     {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
};

static void check_known(void) {
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const answer *a = &known[i];
        const philox_block y = philox((uint64_t)a->key[1] << 32 | a->key[0], a->counter[0], a->counter[1], a->counter[2],
                                      a->counter[3]);
        CHECK(memcmp(y.word, a->word, sizeof y.word) == 0, "vector %zu: %08x %08x %08x %08x", i, y.word[0], y.word[1], y.word[2],
              y.word[3]);
    }
}

static void check_threshold(void) {
    static const struct { double p; uint32_t from; } rows[] = {
        {0, 0}, {0.5, 0x80000000u}, {0.25, 0x40000000u}, {0x1p-32, 1}, {0x1.8p-32, 2}, {0x1p-60, 1}, {0.1, 429496730u},
        {1 - 0x1p-32, 0xffffffffu},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        CHECK(philox_keep_from(rows[i].p) == rows[i].from, "p %.17g keeps from %u", rows[i].p, philox_keep_from(rows[i].p));
    CHECK(!philox_can_drop(1) && !philox_can_drop(1 - 0x1p-33) && !philox_can_drop(-0x1p-60) && !philox_can_drop(NAN),
          "probabilities that leave no word are told apart");
}

// Frequencies of 2^18 draws: six standard deviations are sqrt(p (1 - p) / n) * 6.
static void check_rates(void) {
    enum { N = 1 << 18 };
    static const double rates[] = {0.05, 0.1, 0.5, 0.9};
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        const double p = rates[i];
        const uint32_t from = philox_keep_from(p);
        int64_t dropped[4] = {0};
        for (uint32_t n = 0; n < N; n++) {
            const philox_block y = philox(17, n % 512, n / 512, 3, 0);
            for (int w = 0; w < 4; w++) dropped[w] += y.word[w] < from;
        }
        for (int w = 0; w < 4; w++)
            CHECK(fabs((double)dropped[w] / N - p) < 6 * sqrt(p * (1 - p) / N), "word %d drops %.5f at p %g", w,
                  (double)dropped[w] / N, p);
    }
}

int main(void) {
    check_known();
    check_threshold();
    check_rates();
    return test_end();
}
