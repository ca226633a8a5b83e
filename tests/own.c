// SPDX-License-Identifier: Apache-2.0
// Masks and score functions of a caller are equal citizens: with any subset of their optional functions, alone and beside
// built-in ones, on every implementation and instruction set, forward and backward.
#include "compare/check.h"
#include "cpu/kernels.h"
#include "test.h"

#include <math.h>
#include <string.h>

// ---- A mask: blocks of `data` positions see themselves and every block before that has the same parity ----------------

static int64_t block_of(const heed_mask *mask, int64_t at) { return at / *(const int64_t *)mask->data; }

static bool strided(const heed_mask *mask, heed_pos at) {
    return at.position >= 0 && at.key <= at.position && (block_of(mask, at.position) - block_of(mask, at.key)) % 2 == 0;
}

static heed_rect_class classify_strided(const heed_mask *mask, const heed_rect *rect) {
    const heed_pos first = rect->first;
    const int64_t last_position = first.position + rect->rows - 1, last_key = first.key + rect->keys - 1;
    if (first.position < 0) return HEED_RECT_EDIT;
    if (first.key > last_position) return HEED_RECT_SKIP;
    const int64_t row_block = block_of(mask, first.position), key_block = block_of(mask, first.key);
    if (block_of(mask, last_position) != row_block || block_of(mask, last_key) != key_block) return HEED_RECT_EDIT;
    if ((row_block - key_block) % 2 != 0) return HEED_RECT_SKIP;
    return last_key <= first.position ? HEED_RECT_KEEP : HEED_RECT_EDIT;
}

static void keys_of_past(const heed_mask *mask, heed_pos at, int64_t *first, int64_t *end) {
    *first = at.position - *(const int64_t *)mask->data;
    *end = at.position;
}
static bool past(const heed_mask *mask, heed_pos at) {
    return at.key >= at.position - *(const int64_t *)mask->data && at.key < at.position;
}

static const heed_mask_kind masks[] = {
    {"strided", strided, NULL, NULL, 0},
    {"strided_classified", strided, classify_strided, NULL, 0},
    {"strided_shared", strided, NULL, NULL, HEED_AXIS_QUERY | HEED_AXIS_KEY},
    {"past", past, NULL, keys_of_past, 0},    // a strict window: the first row sees nothing
};

// ---- A score function: a relative bias that depends on head and distance, after a mild bend --------------------------

static double bent(const heed_score *score, heed_pos at, double x) {
    return x + score->f[0] * sin(x) - 0.01 * (double)(at.head + 1) * fabs((double)(at.position - at.key));
}
static double bent_slope(const heed_score *score, heed_pos at, double x) { return 1 + score->f[0] * cos(x); }

static void bent_tile(const heed_score *score, const heed_rect *rect, float *x, int64_t ld) {
    for (int64_t row = 0; row < rect->rows; row++)
        for (int64_t key = 0; key < rect->keys; key++) {
            const float distance = fabsf((float)(rect->first.position + row - rect->first.key - key));
            float *at = &x[row * ld + key];
            *at = *at + (float)score->f[0] * sinf(*at) - 0.01f * (float)(rect->first.head + 1) * distance;
        }
}

static const heed_score_kind scores[] = {
    {"bent", bent, bent_slope, NULL},
    {"bent_tiled", bent, bent_slope, bent_tile},
};

// ---------------------------------------------------------------------------------------------------------------------

static void check_everywhere(const problem_line *line, const char *text, const char *mask, const char *score) {
    check_case c;
    heed_error error;
    const heed_status begun = check_begin(&c, line, true, &error);
    CHECK(begun == HEED_OK, "%s with %s, %s: %s", text, mask, score, error.text);
    for (const heed_impl *const *impl = heed_impls; begun == HEED_OK && *impl != NULL; impl++) {
        const cpu_kernels *table;
        if ((*impl)->pass != line->problem.pass || (*impl)->only_when_named) continue;
        for (int i = 0; cpu_kernels_row(i, &table) != NULL; i++) {
            if (table == NULL) continue;
            check_report report;
            const heed_choice choice = {.implementation = (*impl)->name, .cpu = table->name, .threads = 2};
            const heed_status status = check_run(&c, &choice, &report, &error);
            CHECK(status == HEED_OK && report.pass, "%s with %s, %s: %s on %s: %s (%s)", text, mask, score, (*impl)->name,
                  table->name, status == HEED_OK ? "wrong" : error.text, report.output[0].name);
        }
    }
    check_end(&c);
}

int main(void) {
    static const int64_t block = 24;
    static const char *const texts[] = {"b2 h2 q100 d16", "b1 h4/2 q70 k300 d64 causal grad",
                                        "b1 h2 q130 d40 softcap:4 sink grad", "b2 h2 q60 d16 pad:left grad",
                                        "b1 h2 q80 d32 bf16 bias:h,q,k grad"};
    for (size_t t = 0; t < sizeof texts / sizeof *texts; t++)
        for (size_t m = 0; m < 5; m++)
            for (size_t s = 0; s < 3; s++) {
                problem_line line;
                heed_error error;
                CHECK(problem_line_parse(&line, texts[t], &error) == HEED_OK, "%s: %s", texts[t], error.text);
                int n = 0;
                while (line.problem.mask[n].kind != NULL) n++;
                if (m < 4) line.problem.mask[n] = (heed_mask){.kind = &masks[m], .data = &block};
                n = line.problem.score[0].kind != NULL;
                if (s < 2) line.problem.score[n] = (heed_score){.kind = &scores[s], .f = {0.3}};
                check_everywhere(&line, texts[t], m < 4 ? masks[m].name : "no mask", s < 2 ? scores[s].name : "no score function");
            }
    heed_problem p;
    char text[128];
    heed_problem_parse(&p, "b1 h1 q4 d8", NULL);
    p.mask[0] = (heed_mask){.kind = &masks[0], .data = &block};
    heed_problem_print(&p, text, sizeof text);
    CHECK(strcmp(text, "b1 h1 q4 d8 mask:strided?") == 0, "a caller's mask prints as '%s'", text);
    CHECK(heed_problem_parse(&p, text, NULL) == HEED_INVALID, "what names a caller's mask does not parse back");
    return test_end();
}
