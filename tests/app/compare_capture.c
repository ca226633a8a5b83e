// SPDX-License-Identifier: Apache-2.0
// A call written as a capture reads back as itself, whatever the problem; what does not fit its claim is told by name.
#include "cli/capture_file.h"

#include "base/memory.h"
#include "compare/drawn.h"
#include "core/problem.h"
#include "io_place.h"

static bool make(call *c, call_results *r, const char *text, heed_error *e) {
    problem_line line;
    drawn data;
    const heed_choice choice = {.implementation = "ref"};
    if (problem_claim_parse(&line, text, e) != HEED_OK) return false;
    heed_status status = drawn_make(&data, &line, e);
    if (status == HEED_OK) status = call_of_drawn(c, &data, e);
    drawn_free(&data);
    if (status == HEED_OK) status = call_run(r, c, &choice, NULL, e);
    return status == HEED_OK;
}

static bool equal(const double *a, const double *b, int64_t n) { return a != NULL && b != NULL && memcmp(a, b,
                                                                                                         (size_t)n * 8) == 0; }

// Written, read, and the same again: claim, inputs, results.
static void round_trip(const char *text, const char *name) {
    heed_error e;
    call c, again = {.memory = NULL};
    call_results r, read = {.memory = NULL};
    capture_file f;
    problem_line claim;
    const char *path = place_path(name);
    if (!make(&c, &r, text, &e)) {
        CHECK(e.status == HEED_REFUSED, "\"%s\": %s", text, e.text);
        return;
    }
    heed_status status = capture_file_write(path, &c, &r, &e);
    CHECK(status == HEED_OK, "\"%s\": %s", text, e.text);
    if (status == HEED_OK) status = capture_file_open(&f, path, &e);
    if (status == HEED_OK) status = capture_claim(&claim, &f.of, NULL, &e);
    if (status == HEED_OK) status = capture_call(&again, &f.of, &claim, &e);
    if (status == HEED_OK) status = capture_same_inputs(&c, "a", &again, "b", &e);
    if (status == HEED_OK) status = capture_results(&read, &f.of, &again, &e);
    CHECK(status == HEED_OK, "\"%s\": %s", text, e.text);
    const int64_t rows = c.batch * c.heads * c.queries;
    if (status == HEED_OK) {
        CHECK(equal(r.of.out, read.of.out, rows * c.value_channels) && equal(r.of.lse, read.of.lse, rows), "\"%s\": results", text);
        CHECK(r.of.dq == NULL || equal(r.of.dq, read.of.dq, rows * c.channels), "\"%s\": dq", text);
        text_string remarks = {0};
        capture_remarks(&f.of, &claim, &remarks);
        CHECK(remarks.text == NULL, "\"%s\": %s", text, remarks.text);
    }
    capture_file_close(&f);
    call_results_free(&r);
    call_results_free(&read);
    call_free(&c);
    call_free(&again);
}

static void test_round_trips(void) {
    static const char *const fixed[] = {
        "b2 h4/2 q5 k9 d8/4 bf16 causal sink rope:half,theta=500000", "b1 h2 q6 d8 f16 mask:q,k bias:h,k alibi pad:right",
        "b2 h2 q4 d8 docs dropout:0.25 seed:4", "b1 h2 q4 d8 count:rand causal", "b1 h2 q4 d8 grad causal sink",
        "b1 h2 q40 d8 paged:16 softcap:5", "b1 h3 q1 d2 layout:bshd", "b1 h1 q3 k0 d4",
    };
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) {
        round_trip(fixed[i], "fixed.npz");
        round_trip(fixed[i], "fixed.safetensors");
    }
    random_stream stream = random_of(5, 0);
    for (int i = 0; i < 60; i++) {
        char text[256];
        drawn_random_text(&stream, 20, text, sizeof text);
        if (strstr(text, "int8") != NULL || strstr(text, "ragged") != NULL) continue;
        round_trip(text, i % 2 ? "drawn.npz" : "drawn.safetensors");
    }
}

// ---- What does not fit --------------------------------------------------------------------------------------------

static const float values[64];
static const float third[64] = {0.1f};
static const int32_t numbers[8] = {0, 9, 0, 4};
static const int64_t far = (int64_t)1 << 40;

static tensor_view view(const char *name, tensor_type type, int dims, const int64_t *shape, const void *data) {
    tensor_view t = {.name = name, .type = type, .dims = dims, .elements = 1, .data = data};
    for (int i = 0; i < dims; i++) t.elements *= t.shape[i] = shape[i];
    t.bytes = (size_t)t.elements * tensor_type_bytes(type);
    return t;
}

// q, k, v of b1 h2 q3 k4 d2, one more array, and what reading it must say.
static void refuse(const char *claim, tensor_view more, const char *words) {
    static const int64_t q[] = {1, 2, 3, 2}, k[] = {1, 2, 4, 2};
    tensor_view list[] = {view("q", TENSOR_F32, 4, q, values), view("k", TENSOR_F32, 4, k, values),
                          view("v", TENSOR_F32, 4, k, values), more};
    capture c = {.from = "it", .array = list, .n = 4};
    for (int i = 0; i < 3; i++)
        if (strcmp(more.name, list[i].name) == 0) list[i] = more, c.n = 3;
    heed_error e = {.status = HEED_OK};
    problem_line line;
    call made = {.memory = NULL};
    call_results results = {.memory = NULL};
    heed_status status = capture_claim(&line, &c, claim, &e);
    if (status == HEED_OK) status = capture_call(&made, &c, &line, &e);
    if (status == HEED_OK) status = capture_results(&results, &c, &made, &e);
    CHECK(status != HEED_OK && place_says(&e, words), "%s, %s: status %d, %s", claim, more.name, status,
          status == HEED_OK ? "" : e.text);
    call_free(&made);
    call_results_free(&results);
}

static void test_refusals(void) {
    static const int64_t two[] = {2}, pair[] = {1, 2}, wide[] = {1, 3, 2, 2}, big[] = {2, 2, 3, 2}, seven[] = {7}, table[] = {4, 1};
    static const int64_t grid[] = {3, 4}, flat[] = {1, 2, 3, 4};
    const tensor_view none = view("x", TENSOR_F32, 1, two, values);
    refuse(NULL, none, "it has no text|--problem|b1 h2 q3 k4 d2 ");
    refuse("causl", none, "it: |causl");
    refuse("sink", none, "it lacks arrays|sinks");
    refuse("sink bias docs", none, "sinks, bias, documents");
    refuse("causal", none, "it lacks out");
    refuse("b2 causal", none, "it: q has shape (1, 2, 3, 2)|sequences are 1|needs 2");
    refuse("causal", view("v", TENSOR_F32, 4, wide, values), "v has shape (1, 3, 2, 2)|keys are 2|needs 4");
    refuse("b1", view("q", TENSOR_F32, 4, big, values), "q has shape (2, 2, 3, 2)|sequences are 2");
    refuse("h3/2 q2", view("q", TENSOR_F32, 4, (int64_t[]){1, 2, 3, 2}, values), "");
    refuse("h3 q2 k4", view("q", TENSOR_F32, 4, (int64_t[]){1, 2, 3, 2}, values), "heads and tokens seem exchanged");
    refuse("bf16", view("q", TENSOR_F32, 4, (int64_t[]){1, 2, 3, 2}, third), "q is 0.1|no bf16 number");
    refuse("causal", view("q", TENSOR_I32, 4, (int64_t[]){1, 2, 3, 2}, values), "q has type I32|floats");
    refuse("f32", view("q", TENSOR_U16, 4, (int64_t[]){1, 2, 3, 2}, values), "q has type U16|bf16");
    refuse("sink", view("sinks", TENSOR_F32, 1, seven, values), "sinks has shape (7)|heads are 7|needs 2");
    refuse("mask", view("mask", TENSOR_F32, 2, grid, values), "mask has type F32|bias");
    refuse("mask:k", view("mask", TENSOR_BOOL, 2, grid, values), "mask has shape (3, 4)");
    refuse("pad:left", view("key_range", TENSOR_I32, 2, pair, numbers), "key_range[0] is [0, 9)|keys, which is 4");
    refuse("pad:left", view("key_range", TENSOR_F32, 2, pair, values), "key_range has type F32|integers");
    refuse("count:rand", view("key_count", TENSOR_I64, 0, two, &far), "key_count holds 1099511627776|32-bit");
    refuse("count:rand", view("key_count", TENSOR_I32, 0, two, &numbers[1]), "key_count[0] is 9");
    refuse("rope:half", view("cos", TENSOR_F32, 2, table, values), "it has cos but not sin");
    refuse("kv:int8", none, "kv:int8 cannot be captured");
    refuse("ragged", none, "ragged");
    refuse("causal", view("out", TENSOR_F32, 4, flat, values), "out has shape (1, 2, 3, 4)|channels are 4|needs 2");
}

int main(void) {
    place_begin();
    test_round_trips();
    test_refusals();
    return place_end();
}
