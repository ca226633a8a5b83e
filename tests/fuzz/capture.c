// SPDX-License-Identifier: Apache-2.0
// capture: a claim and arrays of any names, types and shapes give a call whose every table is in range, or a sentence. The input
// is a
// problem text, a zero byte, then six bytes an array (name, type, axes, three extents) whose elements are the rest of the input.
#include "fuzz.h"

#include "compare/capture.h"

enum { ARRAYS_MOST = 16, ELEMENTS_MOST = 4096 };

static const char *const names[] = {"q", "k", "v", "out", "lse", "sinks", "slopes", "bias", "mask", "key_range", "key_count",
                                    "documents", "keep", "cos", "sin", "dout", "dq", "weights", "problem", "x"};
enum { NAMES = sizeof names / sizeof *names };

static uint8_t elements[ELEMENTS_MOST * 8];

static tensor_view view_of(const uint8_t *at) {
    tensor_view t = {.name = names[at[0] % NAMES], .type = (tensor_type)(at[1] % TENSOR_TYPES), .dims = at[2] % 6, .elements = 1,
                     .data = elements};
    for (int i = 0; i < t.dims; i++) {
        t.shape[i] = i < 3 ? at[3 + i] % 16 : at[3] / 16;
        t.elements *= t.shape[i];
        if (t.elements > ELEMENTS_MOST) t.elements = t.shape[i] = 0;
    }
    t.bytes = (size_t)t.elements * tensor_type_bytes(t.type);
    return t;
}

static bool is_small(const problem_line *l) {
    const heed_problem *p = &l->problem;
    const double keys = p->keys > 0 ? (double)p->keys : (double)p->queries;
    return (double)p->batch * (double)p->heads * ((double)p->queries * keys + (double)p->queries + keys) *
           (double)(p->channels + p->value_channels) < 1e5;
}

static void check_call(const call *c) {
    for (int64_t b = 0; b < c->batch; b++) {
        const call_sequence s = call_sequence_of(c, b);
        REQUIRE(s.n_key >= 0 && s.n_key <= c->keys && s.first_valid >= 0 && s.end_valid <= c->keys, "a table out of range");
    }
    REQUIRE((c->cos == NULL) == (c->sin == NULL), "one table");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    size_t text, rest;
    const uint8_t *at = fuzz_split(data, n, &text, &rest);
    tensor_view list[ARRAYS_MOST];
    capture c = {.from = "it", .array = list};
    for (; rest >= 6 && c.n < ARRAYS_MOST; at += 6, rest -= 6) list[c.n++] = view_of(at);
    for (size_t i = 0; i < sizeof elements; i++) elements[i] = rest > 0 ? at[i % rest] : 0;
    char *claim = strndup((const char *)data, text);
    REQUIRE(claim != NULL, "no memory");
    heed_error e;
    problem_line line;
    call made = {.memory = NULL};
    call_results results = {.memory = NULL};
    heed_status status = capture_claim(&line, &c, text > 0 ? claim : NULL, &e);
    if (status == HEED_OK && is_small(&line)) {
        status = capture_call(&made, &c, &line, &e);
        if (status == HEED_OK) {
            check_call(&made);
            status = capture_results(&results, &c, &made, &e);
        }
        text_string remarks = {0};
        capture_remarks(&c, &line, &remarks);
        free(remarks.text);
    }
    fuzz_sentence(status, &e, status == HEED_OK ? NULL : "it");
    call_free(&made);
    call_results_free(&results);
    free(claim);
    return 0;
}
