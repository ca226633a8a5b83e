// SPDX-License-Identifier: Apache-2.0
// Presets by hand: what a row sets, refuses and translates. That the rows are true is for tests/python/test_presets*.py.
#include "heed/heed.h"
#include "test.h"

#include <math.h>
#include <string.h>

static heed_error error;

static const heed_preset *row(const char *name) {
    const heed_preset *p = heed_preset_find(name);
    CHECK(p != NULL && strcmp(p->name, name) == 0, "preset %s is not in the table", name);
    return p;
}

static void check_table(void) {
    CHECK(heed_preset_at(-1) == NULL && heed_preset_find("torc") == NULL && heed_preset_find(NULL) == NULL, "no such rows");
    int n = 0, refused = 0;
    for (const heed_preset *p; (p = heed_preset_at(n)) != NULL; n++) {
        heed_problem problem = {.batch = 1, .heads = 1, .queries = 4, .channels = 8, .align = HEED_OFFSET, .offset = 3};
        heed_mask mask;
        const heed_status status = heed_problem_preset(&problem, p->name, &error);
        CHECK(heed_preset_find(p->name) == p && p->system != NULL, "row %d, %s", n, p->name);
        if (p->refused != NULL) {
            refused++;
            CHECK(status == HEED_REFUSED && strstr(error.text, p->name) != NULL, "%s: %s", p->name, error.text);
            CHECK(heed_preset_check(p, &problem, &error) == HEED_REFUSED, "%s: %s", p->name, error.text);
            CHECK(heed_preset_window(p, 0, 1, 0, &mask, &error) == HEED_REFUSED, "%s: %s", p->name, error.text);
            continue;
        }
        CHECK(status == HEED_OK && p->proof != NULL && problem.empty_row == p->empty_row, "%s: %s", p->name, error.text);
        CHECK(problem.align == (p->sets_align ? p->align : HEED_OFFSET) && problem.offset == (p->sets_align ? 0 : 3),
              "%s sets align %d, offset %lld", p->name, (int)problem.align, (long long)problem.offset);
    }
    CHECK(n == 15 && refused == 4, "%d rows, %d of them refused", n, refused);
}

static void check_windows(void) {
    static const struct { const char *name; int64_t layer, left, right, first, second; heed_status status; } rows[] = {
        {"heed", 0, 3, -1, 3, -1, HEED_OK},
        {"flash_attention_2", 7, 3, 5, 3, 5, HEED_OK},
        {"flash_attention_3", 0, -1, 0, -1, 0, HEED_OK},
        {"onnx", 0, 0, 0, 0, 0, HEED_OK},
        {"onnx", 0, -2, 0, 0, 0, HEED_INVALID},
        {"hf_eager", 1, 4, 0, 3, 0, HEED_OK},        // four keys: self and three before it
        {"hf_eager", 1, 0, 0, 0, 0, HEED_INVALID},
        {"hf_eager", 1, 4, 1, 0, 0, HEED_INVALID},
        {"gpt_oss", 0, 128, 0, 127, 0, HEED_OK},
        {"gpt_oss", 1, 128, 0, -1, -1, HEED_OK},     // full attention
        {"gpt_oss", 34, 128, 0, 127, 0, HEED_OK},
        {"gpt_oss", -1, 128, 0, 0, 0, HEED_INVALID},
        {"torch", 0, 4, 0, 0, 0, HEED_REFUSED},
        {"ggml", 0, 4, 0, 0, 0, HEED_REFUSED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        heed_mask mask = {.kind = NULL};
        error.text[0] = 0;
        const heed_status status = heed_preset_window(row(rows[i].name), rows[i].layer, rows[i].left, rows[i].right, &mask, &error);
        CHECK(status == rows[i].status && (status == HEED_OK) == (error.text[0] == 0), "%s, row %zu: status %d, '%s'", rows[i].name,
              i, (int)status, error.text);
        if (status != HEED_OK) continue;
        CHECK(mask.kind == heed_window(0, 0).kind && mask.i[0] == rows[i].first && mask.i[1] == rows[i].second,
              "%s, row %zu: window (%lld, %lld)", rows[i].name, i, (long long)mask.i[0], (long long)mask.i[1]);
    }
}

static void check_refusals(void) {
    static const struct { const char *text; heed_status status; const char *says; } rows[] = {
        {"b1 h1 q4 d8 preset:torch causal", HEED_OK, ""},
        {"b1 h1 q4 d8 preset:torch causal mask", HEED_REFUSED, "causal"},
        {"b1 h1 q4 d8 preset:torch_pre25 causal bias", HEED_REFUSED, "causal"},
        {"b1 h1 q4 d8 preset:heed causal mask", HEED_OK, ""},
        {"b1 h1 q4 d8 preset:flash_attention_2 causal alibi", HEED_OK, ""},
        {"b1 h1 q4 d8 preset:flash_attention_2 window:-1,0 alibi", HEED_OK, ""},
        {"b1 h1 q4 d8 preset:flash_attention_2 alibi", HEED_REFUSED, "slopes"},
        {"b1 h1 q4 d8 preset:flash_attention_2 window:3,1 alibi", HEED_REFUSED, "slopes"},
        {"b1 h1 q4 d8 preset:flash_attention_3 alibi", HEED_OK, ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        heed_problem p;
        error.text[0] = 0;
        const heed_status status = heed_problem_parse(&p, rows[i].text, &error);
        CHECK(status == rows[i].status && strstr(error.text, rows[i].says) != NULL, "'%s': %s", rows[i].text, error.text);
    }
}

enum { ROWS = 4, KEYS = 6 };

// Row 0 and 1 of the one head see nothing: the first two keys are padding and the offset is 0.
static float lse_after(const char *name, const char *text, float lse, int at, heed_status wanted) {
    static float q[ROWS * 8], k[KEYS * 8], v[KEYS * 8], out[ROWS * 8];
    static const int32_t range[] = {2, KEYS};
    static const float slope = 0.5F;
    float all[ROWS] = {0};
    all[at] = lse;
    heed_problem p;
    CHECK(heed_problem_parse(&p, text, &error) == HEED_OK, "'%s': %s", text, error.text);
    const heed_args args = {.q = q, .k = k, .v = v, .out = out, .lse = all, .key_range = p.with & HEED_KEY_RANGE ? range : NULL,
                            .slopes = p.with & HEED_SLOPES ? &slope : NULL};
    error.text[0] = 0;
    const heed_status status = heed_preset_lse(row(name), &p, &args, &error);
    CHECK(status == wanted, "%s of '%s': status %d, %s", name, text, (int)status, error.text);
    return all[at];
}

static void check_lse(void) {
    const char *pad = "b1 h1 q4 k6 d8 causal:top pad:left", *pad_nan = "b1 h1 q4 k6 d8 causal:top pad:left empty:nan";
    const char *alibi = "b1 h1 q4 k6 d8 causal alibi", *near = "b1 h1 q4 k6 d8 window:3,0 alibi";
    static const struct { const char *name; float empty; } rows[] = {
        {"heed", -INFINITY}, {"torch", 0}, {"torch_pre25", -INFINITY}, {"flash_attention_2", INFINITY},
        {"flash_attention_3", -INFINITY}, {"gpt_oss", -INFINITY}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const float empty = lse_after(rows[i].name, pad, -INFINITY, 0, HEED_OK);
        const float kept = lse_after(rows[i].name, pad, 1.5F, 2, HEED_OK);
        CHECK(empty == rows[i].empty && kept == 1.5F, "%s: %g of an empty row, %g instead of 1.5", rows[i].name, (double)empty,
              (double)kept);
    }
    const float pre25 = lse_after("torch_pre25", pad_nan, NAN, 1, HEED_OK);
    const float seen = lse_after("torch_pre25", pad_nan, NAN, 2, HEED_OK);
    CHECK(pre25 == -INFINITY && isnan(seen), "a NaN that row 1 cannot see gives %g, one that row 2 sees gives %g", (double)pre25,
          (double)seen);
    CHECK(isnan(lse_after("heed", pad_nan, NAN, 0, HEED_OK)), "heed's own NaN stays");
    // Row 1 stands at position 3: without "- position" its scores are all 0.5 * 3 larger.
    const float by_key = lse_after("flash_attention_2", alibi, 1, 1, HEED_OK);
    const float by_distance = lse_after("flash_attention_2", near, 1, 1, HEED_OK);
    const float wide = lse_after("flash_attention_2", "b1 h1 q4 k6 d8 window:6,0 alibi", 1, 1, HEED_OK);
    CHECK(wide == by_key, "a window of all keys is none: %g", (double)wide);
    CHECK(by_key == 2.5F && by_distance == 1 && lse_after("heed", alibi, 1, 1, HEED_OK) == 1, "lse 1 became %g and %g",
          (double)by_key, (double)by_distance);
    lse_after("onnx", pad, 1, 0, HEED_REFUSED);
    CHECK(strstr(error.text, "no lse") != NULL, "%s", error.text);
    heed_problem p;
    heed_problem_parse(&p, alibi, NULL);
    CHECK(heed_preset_lse(row("heed"), &p, NULL, &error) == HEED_INVALID, "no args: %s", error.text);
    CHECK(heed_preset_lse(NULL, &p, &(heed_args){0}, &error) == HEED_INVALID, "no preset: %s", error.text);
    CHECK(heed_preset_lse(row("heed"), &p, &(heed_args){0}, &error) == HEED_INVALID, "no arrays: %s", error.text);
}

int main(void) {
    check_table();
    check_windows();
    check_refusals();
    check_lse();
    return test_end();
}
