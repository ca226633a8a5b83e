// SPDX-License-Identifier: Apache-2.0
// The demo language: short documents whose true probability is known, so that a model's loss has a known floor. Three things
// in it need attention: agreement with a word far back, a copy of a random name, brackets that close in order. See demo.c.
#pragma once

#include "base/random.h"

enum { DEMO_BYTES = 128 };    // no document is longer

typedef struct {
    char text[DEMO_BYTES];    // ASCII, no zero at its end
    int length;
    double nats;              // -log p(text), its end included: exact, because each text has one derivation
} demo_document;

void demo_write(random_stream *, demo_document *);

// The same with another source of choices and, if most > 0, only the first `most` alternatives of each choice: with few of them
// a test can go through the whole language. choose returns one of 0 .. n - 1; that one has probability weight / sum of weights.
typedef int demo_choose(void *context, const uint8_t *weight, int n);
void demo_derive(demo_choose *, void *context, int most, demo_document *);

double demo_first_nats(void);    // of any document's nats, those its first byte tells
double demo_entropy(void);    // expected nats of a document: what the mean of `nats` tends to
