// SPDX-License-Identifier: Apache-2.0
// The grammar; every | is a choice with the weights given, all others are equally likely:
//
//   document = name ": the " [adjective " "] subject " " place " the " object " " verb " " group ", then " pronoun
//              ", says " name "."
//   name     = syllable syllable | syllable syllable syllable        syllable = one of 8 consonants, then one of 4 vowels
//   subject, object = one of 8 animals, singular or plural           adjective: none 4, four others 1 each
//   place    = near 4 | by 2 | under 1 | behind 1
//   verb     = the subject's own (dog: bark), with s if the subject is singular                   <- no choice: agreement
//   group    = open word [" " group] close    4 kinds of brackets, 4 words, another inside 1 of 2, to a depth of 3
//                                             close is open's                                     <- no choice: brackets
//   pronoun  = "it " and one of 4 verbs with s, or "they " and one without, as the subject        <- agreement again
//   the second name is the first                                                                  <- no choice: copying
//
// Every alternative of a choice begins or ends differently (words end at a blank, and none is another's beginning followed by one),
// so a text has one derivation and p(text) is the product of its choices' probabilities. The floor is then, exactly, the sum of
// -log p over the documents divided by their tokens. In expectation (H, nats, with ln 2 = 0.6931 as unit):
//   name 1 + 2.5 (3 + 2) = 13.5; adjective 2; subject 3 + 1; place 1.75; object 3 + 1; group 1.5 + 1.75 (2 + 2) = 8.5; pronoun 2
//   together 35.75 units = 24.78 nats a document.
// A model that cannot look back pays again for the name (12.5 units), verb (4), brackets (3.5) and pronoun (1).
#include "io/demo.h"

#include <math.h>
#include <string.h>

enum { NAME_MOST = 6, DEPTH_MOST = 3 };

typedef struct {
    demo_choose *choose;
    void *context;
    int most;
    demo_document *document;
} writer;

typedef struct { const char *text[8]; uint8_t weight[8]; int n; } choice;

static const choice consonants = {{"k", "l", "m", "n", "p", "r", "s", "t"}, {1, 1, 1, 1, 1, 1, 1, 1}, 8};
static const choice vowels = {{"a", "e", "i", "o"}, {1, 1, 1, 1}, 4};
static const choice adjectives = {{"", "old ", "red ", "big ", "shy "}, {4, 1, 1, 1, 1}, 5};
static const choice animals = {{"dog", "cat", "frog", "lion", "duck", "owl", "cow", "pig"}, {1, 1, 1, 1, 1, 1, 1, 1}, 8};
static const char *const voices[] = {"bark", "purr", "croak", "roar", "quack", "hoot", "moo", "oink"};
static const choice places = {{"near", "by", "under", "behind"}, {4, 2, 1, 1}, 4};
static const choice words = {{"sun", "rain", "wind", "snow"}, {1, 1, 1, 1}, 4};
static const choice rests = {{"sleep", "play", "eat", "hide"}, {1, 1, 1, 1}, 4};
static const choice twofold = {{"no", "yes"}, {1, 1}, 2};
static const choice brackets = {{"(", "[", "{", "<"}, {1, 1, 1, 1}, 4};
static const char *const closers[] = {")", "]", "}", ">"};

static void write(writer *w, const char *text) {
    const size_t n = strlen(text);
    memcpy(w->document->text + w->document->length, text, n);
    w->document->length += (int)n;
}

static int decide(writer *w, const choice *c) {
    const int n = w->most > 0 && w->most < c->n ? w->most : c->n;
    int sum = 0;
    for (int i = 0; i < n; i++) sum += c->weight[i];
    const int i = w->choose(w->context, c->weight, n);
    w->document->nats += log((double)sum / c->weight[i]);
    return i;
}

static int write_one(writer *w, const choice *c) {
    const int i = decide(w, c);
    write(w, c->text[i]);
    return i;
}

// An animal; *plural becomes whether there are several.
static int write_animal(writer *w, int *plural) {
    const int animal = write_one(w, &animals);
    *plural = decide(w, &twofold);
    if (*plural) write(w, "s");
    return animal;
}

static void write_group(writer *w, int depth) {
    const int kind = write_one(w, &brackets);
    write_one(w, &words);
    if (depth < DEPTH_MOST && decide(w, &twofold)) {
        write(w, " ");
        write_group(w, depth + 1);
    }
    write(w, closers[kind]);
}

void demo_derive(demo_choose *choose, void *context, int most, demo_document *document) {
    writer w = {choose, context, most, document};
    document->length = 0;
    document->nats = 0;
    const int syllables = 2 + decide(&w, &twofold);
    for (int i = 0; i < syllables; i++) {
        write_one(&w, &consonants);
        write_one(&w, &vowels);
    }
    char name[NAME_MOST + 1] = {0};
    memcpy(name, document->text, (size_t)document->length);
    write(&w, ": the ");
    write_one(&w, &adjectives);
    int plural, ignored;
    const int subject = write_animal(&w, &plural);
    write(&w, " ");
    write_one(&w, &places);
    write(&w, " the ");
    write_animal(&w, &ignored);
    write(&w, " ");
    write(&w, voices[subject]);
    write(&w, plural ? " " : "s ");
    write_group(&w, 1);
    write(&w, plural ? ", then they " : ", then it ");
    write_one(&w, &rests);
    write(&w, plural ? ", says " : "s, says ");
    write(&w, name);
    write(&w, ".");
}

static int choose_random(void *stream, const uint8_t *weight, int n) {
    uint64_t sum = 0;
    for (int i = 0; i < n; i++) sum += weight[i];
    uint64_t drawn = random_below(stream, sum);
    int i = 0;
    while (drawn >= weight[i]) drawn -= weight[i++];
    return i;
}

void demo_write(random_stream *stream, demo_document *document) { demo_derive(choose_random, stream, 0, document); }

// ---- entropy ------------------------------------------------------------------------------------------------------

static double entropy_of(const choice *c) {
    double sum = 0, h = 0;
    for (int i = 0; i < c->n; i++) sum += c->weight[i];
    for (int i = 0; i < c->n; i++) h += c->weight[i] / sum * log(sum / c->weight[i]);
    return h;
}

// Every text begins with one of the consonants, which are equally likely.
double demo_first_nats(void) { return entropy_of(&consonants); }

double demo_entropy(void) {
    const double yes = entropy_of(&twofold), animal = entropy_of(&animals) + yes;
    const double syllable = entropy_of(&consonants) + entropy_of(&vowels), ring = entropy_of(&brackets) + entropy_of(&words);
    double group = ring;    // from the innermost out: a group at depth d, entropy group(d) = ring + yes + group(d + 1) / 2
    for (int depth = DEPTH_MOST - 1; depth >= 1; depth--) group = ring + yes + group / 2;
    return yes + 2.5 * syllable + entropy_of(&adjectives) + 2 * animal + entropy_of(&places) + group + entropy_of(&rests);
}
