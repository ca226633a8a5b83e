// SPDX-License-Identifier: Apache-2.0
// classify against visible, intervals against visible, tile against value, slope against differences: for the rows of
// masks.def and scores.def and for masks of a caller.
#include "base/memory.h"
#include "compare/drawn.h"
#include "core/edit.h"
#include "core/problem.h"
#include "core/rows.h"
#include "test.h"

#include <math.h>
#include <string.h>

static bool odd_sum(const heed_mask *mask, heed_pos at) { return (at.position + at.key + at.head) % 3 != 0; }
static const heed_mask_kind checkered = {"checkered", odd_sum, NULL, NULL, 0};

enum { SIDE = 24 };

static bool seen_by_tile(const edit_sequence *s, edit_rect r, int64_t row, int64_t key) {
    float x[SIDE * SIDE];
    for (int i = 0; i < SIDE * SIDE; i++) x[i] = NAN;    // whatever a hidden score held, it becomes -inf
    edit_tile(s, r, x, SIDE, true);
    return x[row * SIDE + key] != -INFINITY;
}

static void check_rect(const edit_sequence *s, edit_rect r, const char *text) {
    int64_t visible = 0;
    int32_t first[SIDE], end[SIDE];
    const bool exact = edit_intervals(s, r, first, end);
    for (int64_t i = 0; i < r.rows; i++)
        for (int64_t j = 0; j < r.keys; j++) {
            const bool sees = r.key0 + j < s->n_key && edit_visible(s, r.head, r.row0 + i, r.key0 + j);
            const bool inside = first[i] <= j && j < end[i];
            visible += sees;
            CHECK(exact ? inside == sees : !sees || inside, "%s: interval of row %lld, key %lld", text, (long long)i, (long long)j);
            const bool by_bias = sees && edit_bias_at(s, r.head, r.row0 + i, r.key0 + j) == -INFINITY;
            if ((i * 7 + j) % 11 == 0)
                CHECK(seen_by_tile(s, r, i, j) == (sees && !by_bias), "%s: edit_tile at row %lld key %lld", text,
                      (long long)(r.row0 + i), (long long)(r.key0 + j));
        }
    const heed_rect_class class = edit_classify(s, r);
    if (class == HEED_RECT_SKIP) CHECK(visible == 0, "%s: a rect with %lld visible scores is skipped", text, (long long)visible);
    if (class == HEED_RECT_KEEP) CHECK(visible == r.rows * r.keys, "%s: a rect with hidden scores is kept", text);
    int64_t bound_first, bound_end;
    edit_key_bounds(s, r.head, r.row0, r.rows, &bound_first, &bound_end);
    if (visible > 0) CHECK(bound_first < r.key0 + r.keys && bound_end > r.key0, "%s: key bounds leave out visible scores", text);
}

static void check_masks(const char *text, const heed_mask *own, random_stream *r) {
    problem_line line;
    heed_error error;
    drawn d;
    CHECK(problem_line_parse(&line, text, &error) == HEED_OK, "%s: %s", text, error.text);
    if (own != NULL) line.problem.mask[line.problem.mask[0].kind != NULL] = *own;
    if (drawn_make(&d, &line, &error) != HEED_OK) {
        CHECK(false, "%s: %s", text, error.text);
        return;
    }
    for (int n = 0; n < 60; n++) {
        const int64_t b = (int64_t)random_below(r, (uint64_t)d.problem.batch);
        const edit_sequence s = edit_begin(&d.problem, &d.args, b);
        edit_rect rect = {.head = (int64_t)random_below(r, (uint64_t)d.problem.heads),
                          .row0 = (int64_t)random_below(r, (uint64_t)d.problem.queries),
                          .key0 = (int64_t)random_below(r, (uint64_t)d.problem.keys)};
        rect.rows = 1 + (int64_t)random_below(r, (uint64_t)int64_min(SIDE, d.problem.queries - rect.row0));
        rect.keys = 1 + (int64_t)random_below(r, SIDE);    // may pass the last key, as a last tile does
        check_rect(&s, rect, text);
    }
    drawn_free(&d);
}

// The form a built-in mask or score would have by its definition alone.
static void check_classify_matters(void) {
    problem_line line;
    CHECK(problem_line_parse(&line, "b1 h1 q4096 d8 causal", NULL) == HEED_OK, "causal parses");
    heed_problem p;
    problem_complete(&line.problem, &p, NULL);
    const edit_sequence s = edit_begin(&p, NULL, 0);
    CHECK(edit_classify(&s, (edit_rect){0, 0, 64, 64, 64}) == HEED_RECT_SKIP, "causal skips what lies above the diagonal");
    CHECK(edit_classify(&s, (edit_rect){0, 128, 64, 64, 64}) == HEED_RECT_KEEP, "causal keeps what lies below the diagonal");
    CHECK(edit_classify(&s, (edit_rect){0, 64, 64, 64, 64}) == HEED_RECT_EDIT, "causal edits the diagonal");
    CHECK(problem_visible(&p) == 4096.0 * 4097 / 2, "causal sees half");
}

static void check_score(const score_row *row, const char *text) {
    problem_line line;
    char whole[256];
    snprintf(whole, sizeof whole, "b1 h1 q9 d8 %s", text);
    CHECK(problem_line_parse(&line, whole, NULL) == HEED_OK, "%s parses", whole);
    const heed_score *score = &line.problem.score[0];
    const heed_rect rect = {.rows = 1, .keys = 1};
    for (double x = -200; x <= 200; x += 0.037) {
        float y = (float)x;
        const double right = row->kind->value(score, rect.first, (double)y), step = 1e-5;
        const double slope = row->kind->slope(score, rect.first, x);
        const double difference =
            (row->kind->value(score, rect.first, x + step) - row->kind->value(score, rect.first, x - step)) / (2 * step);
        CHECK(fabs(slope - difference) < 1e-7, "%s: slope at %g is %g, differences say %g", text, x, slope, difference);
        if (row->kind->tile == NULL) continue;
        row->kind->tile(score, &rect, &y, 1);
        // Half an ulp each for 1 / cap, its product with x, the last product; tanh one and a half: three ulps.
        CHECK(fabs((double)y - right) <= 3 * 0x1p-23 * fabs(right), "%s: tile at %g is %.9g, value says %.9g", text, x, (double)y,
              right);
    }
    if (row->kind->tile == NULL) return;
    float nan = NAN;
    row->kind->tile(score, &rect, &nan, 1);
    CHECK(isnan(nan), "%s: NaN stays NaN", text);
}

// The next word of an examples string; false at the end.
static bool next_word(const char **examples, char word[64]) {
    *examples += strspn(*examples, " ");
    const size_t n = strcspn(*examples, " ");
    snprintf(word, 64, "%.*s", (int)n, *examples);
    *examples += n;
    return n > 0;
}

int main(void) {
    char word[64];
    random_stream r = random_of(3, 0);
    static const char *const around[] = {"", " offset:top", " offset:5", " pad:left", " pad:right", " count:rand", " docs", " mask",
                                         " mask:b,k", " bias", " docs pad:left mask:q,k",
                                         " window:4,9", " window:7 docs pad:left"};
    for (size_t i = 0; i < sizeof around / sizeof *around; i++) {
        char text[256];
        const char *sizes = strstr(around[i], "docs") ? "b2 h2 q50 k70 d4" : "b2 h2 q60 k50 d4";
        snprintf(text, sizeof text, "%s%s", sizes, around[i]);
        check_masks(text, NULL, &r);
        check_masks(text, &(heed_mask){.kind = &checkered}, &r);
        for (const mask_row *row = mask_rows; row->name != NULL; row++)
            for (const char *rest = row->examples; next_word(&rest, word);) {
                if (strstr(around[i], row->name) != NULL) continue;    // said twice
                snprintf(text, sizeof text, "%s %s%s", sizes, word, around[i]);
                check_masks(text, NULL, &r);
                check_masks(text, &(heed_mask){.kind = &checkered}, &r);
            }
    }
    check_classify_matters();
    for (const score_row *row = score_rows; row->name != NULL; row++)
        for (const char *rest = row->examples; next_word(&rest, word);) check_score(row, word);
    return test_end();
}
