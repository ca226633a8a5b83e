// SPDX-License-Identifier: Apache-2.0
// What a variant of a call computes, in double, row by row; the gradients of all rows together. Read formula_score.c,
// formula_row.c, formula_grad.c in this order. Where nothing varies it equals ref (tests/compare_formula.c).
#pragma once

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
    double *raw, *x, *w;       // dot products; scores after scale and edits; weights that multiply v
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
double formula_round(heed_dtype, double);                         // to the nearest number of a storage type
double formula_sink(const formula *, int64_t head);               // as the variant takes it; -infinity without one
int64_t formula_kv_head(const formula *, int64_t head);

// Gradients of everything by the variant, over all rows: the arrays of ref_results that are not NULL. Single-threaded per
// sequence and kv head; sums in a fixed order.
heed_status formula_gradients(const formula *, const ref_results *, heed_error *);
