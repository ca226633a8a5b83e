// SPDX-License-Identifier: Apache-2.0
// Text -> problem -> text is the identity; what has no meaning is one sentence that names it.
#include "compare/drawn.h"
#include "core/problem.h"
#include "test.h"

#include <string.h>

static void check_round_trip(const char *text) {
    problem_line line, again;
    heed_error error;
    char printed[512], reprinted[512];
    CHECK(problem_line_parse(&line, text, &error) == HEED_OK, "%s: %s", text, error.text);
    problem_line_print(&line, printed, sizeof printed);
    CHECK(problem_line_parse(&again, printed, &error) == HEED_OK, "%s, printed of %s: %s", printed, text, error.text);
    problem_line_print(&again, reprinted, sizeof reprinted);
    CHECK(strcmp(printed, reprinted) == 0, "'%s' prints as '%s', then as '%s'", text, printed, reprinted);
    heed_problem a, b;
    problem_complete(&line.problem, &a, NULL);
    problem_complete(&again.problem, &b, NULL);
    CHECK(a.batch == b.batch && a.heads == b.heads && a.kv_heads == b.kv_heads && a.queries == b.queries && a.keys == b.keys &&
              a.channels == b.channels && a.value_channels == b.value_channels && a.dtype == b.dtype && a.kv_dtype == b.kv_dtype &&
              a.pass == b.pass && a.with == b.with && a.align == b.align && a.offset == b.offset && a.empty_row == b.empty_row &&
              a.scale == b.scale && a.page_size == b.page_size && a.ragged == b.ragged && a.bias_axes == b.bias_axes &&
              a.mask_axes == b.mask_axes && a.q.head == b.q.head && a.v.token == b.v.token && a.dropout == b.dropout &&
                  a.bias_dtype == b.bias_dtype,
          "'%s' and '%s' are different problems", text, printed);
    for (int i = 0; i < HEED_EDITS; i++)
        CHECK(a.mask[i].kind == b.mask[i].kind && a.mask[i].i[0] == b.mask[i].i[0] && a.mask[i].i[1] == b.mask[i].i[1] &&
                  a.score[i].kind == b.score[i].kind && a.score[i].f[0] == b.score[i].f[0],
              "'%s' and '%s' differ in edit %d", text, printed, i);
    CHECK(line.seed == again.seed && line.pad == again.pad, "'%s' and '%s' differ in data", text, printed);
}

static void check_wrong(const char *text, const char *names) {
    heed_problem problem, before;
    memset(&problem, 0x5a, sizeof problem);
    memcpy(&before, &problem, sizeof problem);
    heed_error error = {.text = ""};
    const heed_status status = heed_problem_parse(&problem, text, &error);
    CHECK(status != HEED_OK, "'%s' was accepted", text);
    CHECK(strstr(error.text, names) != NULL, "'%s': '%s' does not name '%s'", text, error.text, names);
    CHECK(memcmp(&before, &problem, sizeof problem) == 0, "'%s' was refused, but the problem was written", text);
}

// What is wrong, and a word that the sentence must hold.
static const struct { const char *text, *names;
} wrong[] = {
    {"", "bN"},
    {"b1 h1 q4", "dN"},
    {"b1 h0 q4 d8", "h0"},
    {"b1 h6/4 q4 d8", "multiple"},
    {"b1 h1 q4 d0", "d0"},
    {"b-1 h1 q4 d8", "b-1"},
    {"b1 h1 q99999999999 d8", "q99999999999"},
    {"b1 h1 q999999999999999999999 d8", "q99999"},
    {"b1 h1 q4 d8/0", "d8/0"},
    {"b1 b2 h1 q4 d8", "twice"},
    {"b2147483647 h2147483647 q2147483647 d2147483647", "elements"},
    {"b1 h1 q4 d8 causl", "causal"},
    {"b1 h1 q4 d8 scale:0", "scale:0"},
    {"b1 h1 q4 d8 scale:nan", "scale:nan"},
    {"b1 h1 q4 d8 window:-5", "window:-5"},
    {"b1 h1 q4 d8 window:5,-3", "window:5,-3"},
    {"b1 h1 q4 d8 window", "window"},
    {"b1 h1 q4 d8 window:1,2,3", "window:1,2,3"},
    {"b1 h1 q4 d8 softcap:0", "softcap:0"},
    {"b1 h1 q4 d8 softcap:-5", "softcap"},
    {"b1 h1 q4 d8 softcap:inf", "softcap"},
    {"b1 h1 q4 d8 causal prefix:3", "prefix"},
    {"b1 h1 q4 d8 causal causal", "twice"},
    {"b1 h1 q4 d8 causal:top offset:3", "offset"},
    {"b1 h1 q4 d8 int8", "int8"},
    {"b1 h1 q4 d8 bf16 f32", "twice"},
    {"b1 h1 q4 d8 bias:x", "bias:x"},
    {"b1 h1 q4 d8 bias:b,", "bias:b,"},
    {"b1 h1 q4 d8 bias:", "bias:"},
    {"b1 h1 q4 d8 bias-first", "BIAS_FIRST"},
    {"b1 h1 q4 d8 bias bias-type:int8", "bias-type:int8"},
    {"b1 h1 q4 d8 bias-type:f16", "no bias"},
    {"b1 h1 q4 d8 pad:up", "pad:up"},
    {"b1 h1 q4 d8 dropout:1", "dropout:1"},
    {"b1 h1 q4 d8 dropout:0.9999999999", "2^-32"},
    {"b1 h1 q4 d8 dropout:-1", "dropout"},
    {"b1 h1 q4 d8 paged:0", "paged:0"},
    {"b1 h1 q4 d8 preset:trch", "torch"},
    {"b1 h1 q4 d8 preset:torch causal mask", "preset torch"},
    {"b1 h1 q4 d8 preset:cudnn", "cudnn"},
    {"b1 h1 q4 d8 rope:half", "rope"},
    {"b1 h1 q4 d8 seed:-1", "seed:-1"},
    {"b1 h1 q4 d8 empty:none", "empty:none"},
    {"b1 h1 q4 d8 kv:int8 grad", "int8"},
    {"b1 h1 q4 d8 offset:9999999999999999", "offset"},
    {"b1 h1 q4 d8 sink:1", "sink:1"},
    {"b1 h1 q4x d8", "q4x"},
    {"b1 h1/ q4 d8", "h1/"},
    {"b1 h1 q4/2 d8", "q4/2"},
    {"b1 h1 q0x10 d8", "q0x10"},
};

int main(void) {
    random_stream r = random_of(5, 0);
    for (int i = 0; i < 3000; i++) {
        char text[512];
        drawn_random_text(&r, 300, text, sizeof text);
        check_round_trip(text);
    }
    static const char *const valid[] = {"b1 h32/8 q1 k8192 d128 bf16 causal sink",
                                        "b1 h1 q5 k0 d8",
                                        "b1 h2 q4 d8 f16 kv:int8 paged:16 count:rand",
                                        "b2 h2 q4 d8 ragged dropout:0.125",
                                        "b1 h1 q4 d8 causal:top",
                                        "b1 h1 q4 d8 preset:mps_pre28 causal pad:left",
                                        "b1 h1 q4 d8 offset:bottom preset:torch",
                                        "b0 h1 q0 d1",
                                        "b1 h1 q4 d8 f16 kv:bf16 bias-type:f16 bias:q,k",
                                        "b1 h1 q4 d8 bias:h,k bf16 scale:-0.333333333333333"};
    for (size_t i = 0; i < sizeof valid / sizeof *valid; i++) check_round_trip(valid[i]);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) check_wrong(wrong[i].text, wrong[i].names);
    problem_line tenth;
    char shortest[128];
    problem_line_parse(&tenth, "b1 h1 q4 d8 softcap:0.1 scale:-0.333333333333333 dropout:0.1", NULL);
    problem_line_print(&tenth, shortest, sizeof shortest);
    CHECK(strcmp(shortest, "b1 h1 q4 d8 softcap:0.1 scale:-0.333333333333333 dropout:0.1") == 0, "numbers print as '%s'", shortest);
    static char endless[8000];
    memset(endless, 'b', sizeof endless - 1);
    check_wrong(endless, "longer");
    endless[300] = 0;
    check_wrong(endless, "bbbb");
    check_wrong(NULL, "NULL");
    char small[8];
    heed_problem p;
    heed_problem_parse(&p, "b1 h1 q4 d8 causal", NULL);
    CHECK(heed_problem_print(&p, small, sizeof small) == strlen("b1 h1 q4 d8 causal") && strcmp(small, "b1 h1 q") == 0,
          "print is cut as snprintf cuts");
    return test_end();
}
