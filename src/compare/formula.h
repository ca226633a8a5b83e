// SPDX-License-Identifier: Apache-2.0
// What a variant of a call computes, in double, row by row; the gradients of all rows together. Read formula_score.c,
// formula_row.c, formula_grad.c in this order. Where nothing varies it equals ref (tests/compare_formula.c).
#pragma once

#include "base/threads.h"
#include "compare/variant.h"

// A variant with its inputs made ready: rotary applied, roles exchanged, layouts misread. Keys lie transposed, so that a row's
// scores are sums over channels of whole vectors.
typedef struct {
    const call *c;
    variant v;
    int64_t key_heads;         // heads of key_t: kv_heads, or heads where q and k change roles
    const double *query;       // (batch, heads, queries, channels)
    double *key_t;             // (batch, key_heads, channels, keys)
    const double *value;       // (batch, kv_heads, keys, value_channels)
    void *memory;
} formula;

// base: a formula of the same call whose inputs may be used where the variants read them alike; it must outlive this one.
// NULL: none.
heed_status formula_begin(formula *, const call *, const variant *, const formula *base, heed_error *);
void formula_end(formula *);    // also after a failure

// One row of one head; arrays are by key.
typedef struct {
    int64_t batch, head, row, kv_head;
    call_sequence at;
    int64_t first, end;        // keys outside are not shown
    uint8_t *shown;            // 1: takes part in the softmax
    double *raw, *x, *w;       // dot products; scores after scale and edits; weights that multiply v (empty: of all keys)
    double *out, lse;
    bool empty;                // nothing is shown
    double *spare;             // value_channels doubles
} formula_row;

size_t formula_row_bytes(const call *);
formula_row formula_row_at(const call *, void *memory);
void formula_row_compute(const formula *, int64_t batch, int64_t head, int64_t row, formula_row *);

// Does the variant give this row another result than `claim` does? Exact where they differ in who is shown and in rows that
// see nothing; otherwise always true.
bool formula_row_differs(const formula *claim, const formula *, int64_t batch, int64_t head, int64_t row, formula_row *a,
                         formula_row *b);

// ---- stages of a row, for the files of formula_*.c ----
void formula_row_scores(const formula *, formula_row *);          // formula_score.c: shown, raw, x
void formula_row_shown(const formula *, formula_row *);           // shown, first, end alone: by masks
void formula_row_place(const formula *, int64_t batch, int64_t head, int64_t row, formula_row *);    // where it stands: at, kv_head
double formula_row_drop(const formula *, const formula_row *, int64_t key);    // what dropout multiplies the weight by
double formula_round(heed_dtype, double);                         // to the nearest number of a storage type
double formula_sink(const formula *, int64_t head);               // as the variant takes it; -infinity without one
int64_t formula_kv_head(const formula *, int64_t head);

// What is added to a score besides the product; its derivative by the head's slope; the claim's caps on a number.
double formula_terms(const formula *, const formula_row *, int64_t key);
double formula_distance(const formula *, const formula_row *, int64_t key);
double formula_capped(const formula *, double);
double formula_row_sink(const formula *, const formula_row *);    // of this row's softmax; -infinity: none takes part

// Exactly; or as correct code may compute them: STAGES stores p, dP and dS of every pair, TILES rounds p and dS for their
// products only and takes D from the stored output.
typedef enum { GRADIENTS_EXACT, GRADIENTS_STAGES, GRADIENTS_TILES, GRADIENT_WAYS } gradient_way;

// Gradients of everything by the variant, over all rows: the arrays of ref_results that are not NULL. var: NULL, or their
// variances, the same arrays (without the rounding of the result itself). forward: NULL, or another formula of the call, whose
// out and lse the backward pass was given. Sums in a fixed order whatever the team.
heed_status formula_gradients(const formula *, const formula *forward, const ref_results *, const ref_results *var, gradient_way,
                              const threads *, heed_error *);
// Gradients by what the variant reads (turned, misread) to gradients by what the call was given; in place.
heed_status formula_inputs_back(const formula *, const ref_results *, const ref_results *var, heed_error *);
