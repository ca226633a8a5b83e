// SPDX-License-Identifier: Apache-2.0
// A call that somebody recorded: arrays by name, wherever they come from (docs/compare.md, "Captures", has the names), and the text
// of what it claims to be. From it a call, and what came out. Everything in a capture is a stranger's: sizes, values and tables are
// checked against the claim, and a sentence names the array, the axis, its value and what is needed.
#pragma once

#include "base/tensor.h"
#include "base/text.h"
#include "compare/call_run.h"

typedef struct {
    const char *from;            // the file's name, for sentences
    const tensor_view *array;    // in any order; they must outlive the capture
    int64_t n;
    const char *problem;         // the text it brought; NULL: none
} capture;

const tensor_view *capture_find(const capture *, const char *name);    // NULL: there is none

// Does it hold q, k or v? If not, it is only a result of a call whose inputs are elsewhere.
bool capture_has_inputs(const capture *);

// What the call claims: `text`, or (at NULL) the capture's own. Sizes that the text does not say, and a storage type of 16 bits,
// are
// taken from q, k and v. HEED_INVALID: the text (or that there is none).
heed_status capture_claim(problem_line *, const capture *, const char *text, heed_error *);

// The claim's call with the capture's inputs. Free with call_free, also after a failure. HEED_REFUSED for a claim that captures
// cannot hold.
heed_status capture_call(call *, const capture *, const problem_line *claim, heed_error *);

// What came out, as far as it was captured (NULL where not), in the call's sizes; at least `out`.
heed_status capture_results(call_results *, const capture *, const call *, heed_error *);

// Are the inputs of two calls of the same claim equal? If not: the sentence that names the first that is not.
heed_status capture_same_inputs(const call *, const char *a, const call *, const char *b, heed_error *);

// Appends a line for each array that is not looked at, and why: unknown, or not part of the claim.
void capture_remarks(const capture *, const problem_line *claim, text_string *);

// ---- for writing ----
enum { CAPTURE_ARRAYS = 24 };

// The arrays of a call (in its storage types where those are exact) and of results (NULL: none), for a file to be written. Free
// with
// memory_free(list->memory). The text is that of call->line without a layout: arrays are (batch, head, token, channel).
typedef struct { tensor_view array[CAPTURE_ARRAYS]; int64_t n; char problem[512]; void *memory; } capture_list;
heed_status capture_list_of(capture_list *, const call *, const call_results *, heed_error *);
