// SPDX-License-Identifier: Apache-2.0
//
// What attention looked at: weights, scores, entropy and the largest score of chosen heads, rows and keys, computed after a
// run of any implementation from its q, k and lse. Nothing holds queries x keys unless the caller asks for all of it.
//
//     heed_wanted wanted = { .rows = (int64_t[]){ 99 }, .n_rows = 1, .row_weights = w, .entropy = h };
//     args.workspace_bytes = heed_inspect_bytes(plan);    // and a workspace of that size
//     heed_inspect(plan, &args, &wanted, &error);
//
// With x the score of row i and key j (heed.h has the formula), at each step of its way:
//
//     raw      scale * dot(q_i, k_j)                                        of every pair, seen or not
//     edited   raw after score functions, slopes and bias                   of every pair, seen or not
//     masked   edited where the key is visible, else -infinity
//     weights  exp(masked - lse_i), then dropout: what multiplies v_j       0 where hidden
//     entropy  - sum over j of u_j ln u_j, in nats                          u_j = exp(masked) / sum over keys of exp(masked)
//     largest  the largest masked score of a head, its row and its key
//
// A sink takes its share of the weights, which then sum to less than 1; it is no key and no part of u, so that exp(entropy)
// says how many keys a row attends to. Dropout is no part of entropy either. A row that sees no key has the weights that its
// rule implies (heed_problem.empty_row): 0; NaN; 1 / n over the n keys of the mean. Its entropy is 0; NaN; ln n. With a sink
// both are 0. Dropout leaves such a row alone. Under HEED_EMPTY_NAN a row whose lse is NaN is NaN at all of its keys.
// Keys that a sequence does not have (key_count) score -infinity and weigh 0. A hidden key that holds NaN shows in its own
// raw and edited scores and nowhere else.

#ifndef HEED_INSPECT_H
#define HEED_INSPECT_H

#include <heed/heed.h>

#ifdef __cplusplus
extern "C" {
#endif

// Which, and where to: every array is the caller's, dense, f32, and written whole; NULL: not wanted. In the shapes, `heads`,
// `rows` and `keys` count the chosen ones. Outputs overlap nothing.
typedef struct {
    const int64_t *heads, *rows, *keys;       // query heads, rows, keys in ascending order; NULL: all of them
    int64_t n_heads, n_rows, n_keys;          // how many; 0 where the list is NULL

    float *row_raw, *row_edited, *row_masked, *row_weights;    // chosen rows: (batch, heads, rows, all keys of the problem)
    float *key_raw, *key_edited, *key_masked, *key_weights;    // chosen keys: (batch, heads, keys, all queries)
    float *entropy;                           // chosen rows: (batch, heads, rows)

    // Over all rows and keys of each chosen head: (batch, heads). A NaN is larger than any number; among equals the first row,
    // then the first key. -infinity where no pair is visible.
    float *largest;
    int64_t *largest_at;                      // (batch, heads, 2): its row and its key; -1, -1 where no pair is visible
} heed_wanted;

// Bytes of workspace that one call needs, whatever it asks for; a function of problem and threads alone. Thread-safe.
HEED_API size_t heed_inspect_bytes(const heed_plan *plan);

// Reads q, k, the arrays of masks and edits, for weights and entropy also lse, as heed_run wrote it (or read it, backward);
// v, out and gradients may be NULL. args->workspace: at least heed_inspect_bytes(plan), aligned to 64. Checks everything first;
// on failure nothing was written. Allocates nothing. Any number of threads at once, a workspace each; bit-identical for any
// number of threads in the plan. HEED_INVALID: a list out of order or range, a NULL, an overlap. Chosen rows cost about their
// scores' share of a forward run, chosen keys likewise; entropy and largest of all rows about one forward run.
HEED_API heed_status heed_inspect(const heed_plan *plan, const heed_args *args, const heed_wanted *wanted, heed_error *error);

#ifdef __cplusplus
}
#endif

#endif
