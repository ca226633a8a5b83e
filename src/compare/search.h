// SPDX-License-Identifier: Apache-2.0
// Which formula was computed? Whether the claim's own explains what was observed; if not, or if something small and
// systematic is left, which hypotheses do: singles, then pairs, and all that explain equally well.
#pragma once

#include "compare/hypothesis.h"
#include "compare/predict.h"

enum { EXPLANATION_IDS = 2, EXPLANATIONS_MOST = 16, NEAREST = 3, HYPOTHESES_MOST = 128, SCREENED_MOST = 256 };

typedef struct {
    const hypothesis *of[EXPLANATION_IDS];    // NULL past the last
    double parameter[EXPLANATION_IDS];        // 0: it has none
    variant v;                   // what it computes
    double residual, floor;      // rms z under it, of the array it fits least; what a correct computation of it reaches
    double fraction_fixed;       // of the sum of z^2 that the claim leaves (1 where rows of NaN are explained)
    bool small;                  // the claim is inside its floor, and yet this is in what was observed
    bool backward_only;          // the forward pass was the claim's
} explanation;

// What a single left on the sample of rows: not confirmed, for the record.
typedef struct {
    const hypothesis *of;
    double parameter, residual;    // rms z of out
    int64_t apart;                 // rows finite on one side only
    double coefficient;            // how much of its difference from the claim is in what was observed: 1 when whole
    bool visible;                  // these inputs could show it
} screening;

typedef struct {
    variant claimed;             // the correct reading of the claim that is nearest to what was observed (variants_correct)
    residual claim, correct;     // of the claim's formula, over all rows
    bool inside;                 // rounding explains it
    explanation explained[EXPLANATIONS_MOST];
    int n_explained;
    explanation nearest[NEAREST];    // when nothing explains
    int n_nearest;
    const hypothesis *undecidable[HYPOTHESES_MOST];    // what these inputs cannot show
    int n_undecidable;
    const hypothesis *note[HYPOTHESES_MOST];           // precision.* that would stay inside the floor
    int n_notes;
    screening screened[SCREENED_MOST];                 // every single, in the order of hypotheses.def
    int n_screened;
} findings;

// A backward call's gradients, where they were observed: narrows what the rows of out and lse say (found by search_formulas)
// to what gradients confirm, names what only they show. residual and correct grow by them.
heed_status search_gradients(findings *, const predictor *, const observed *, bool thorough, heed_error *);

// thorough: what a sample of rows cannot show is looked for in all rows, which is what makes `undecidable` exact.
heed_status search_formulas(findings *, const call *, const observed *, bool thorough, int n_threads, heed_error *);
