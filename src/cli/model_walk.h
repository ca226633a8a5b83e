// SPDX-License-Identifier: Apache-2.0
// Two models walked through together, component by component, so that the first one that departs is found and not what follows
// from it: model A computes each component in double from what the other side's component was given.
#pragma once

#include "model/gpt2_exact.h"

// The other side.
typedef struct {
    void *context;
    // What it gives for a component, into `to`, and the unit of the type it was stored in. in: what A's component reads. false: not
    // known.
    bool (*give)(void *context, exact_component, int64_t layer, const exact_state *in, double *to, double *unit);
    bool recorded;         // it ran by itself: what it gives is what its next component read. Else it computes from `in`
    exact_units units;     // of its arithmetic; `result` where give does not say otherwise
} walk_side;

typedef struct {
    exact_component component;
    int64_t layer;           // -1: outside of the blocks
    bool known, equal, inside, finite;    // finite: no element is finite in one of them only
    double rms, peak;        // of rows, in expected errors
    double largest;          // |difference|
    int64_t row;             // where it is largest: of (batch, length), or of (batch, heads, length)
} walk_step;

typedef struct {
    walk_step *step;
    int64_t n, first;        // first: the first that departs; -1: none
    int64_t known;           // how many the other side gave
    bool equal;              // all of them, to the last bit
    // Of the first layer whose scores, weights or attention depart: what attention read and gave there, (rows, length, width);
    // NULL: none departs, or the other side gives no attention.
    double *q, *k, *v, *attention;
    int64_t attention_layer;
} walk_findings;

heed_status walk_models(walk_findings *, const model *a, const exact_batch *, const walk_side *, heed_error *);
void walk_free(walk_findings *);

// "q of layer 3", "final norm".
void walk_name(const walk_step *, char *text, size_t bytes);
extern const char *const walk_components[EXACT_COMPONENTS];
