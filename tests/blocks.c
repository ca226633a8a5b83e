// SPDX-License-Identifier: Apache-2.0
// Block lists: masks known by `visible` alone give the bits of the built-in masks they equal, declared axes change no bit,
// every pair is asked once a run and list, and random masks of every dependence match ref, also beside other edits.
// Usage: test_blocks [problems] [seed]
#include "core/blocks.h"

#include "base/memory.h"
#include "compare/check.h"
#include "core/problem.h"
#include "test.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

enum { SHARED = HEED_AXIS_QUERY | HEED_AXIS_KEY };

// ---- Masks --------------------------------------------------------------------------------------------------------

static _Atomic long asked;

// A built-in mask, pair by pair and counted. data: the built-in.
static bool same_as(const heed_mask *mask, heed_pos at) {
    const heed_mask *of = mask->data;
    asked++;
    return of->kind->visible(of, at);
}
static const heed_mask_kind shared_copy = {.name = "shared_copy", .visible = same_as, .axes = SHARED};
static const heed_mask_kind plain_copy = {.name = "plain_copy", .visible = same_as};

static uint32_t mixed(uint64_t x) {
    x = (x ^ x >> 31) * 0x9E3779B97F4A7C15u;
    return (uint32_t)((x ^ x >> 29) * 0xBF58476D1CE4E5B9u >> 33);
}

// Blocks of 1 << i[1] rows and keys, a share of i[0] / 16 of them visible; i[2]: the axes it depends on besides.
static bool patches(const heed_mask *mask, heed_pos at) {
    const uint64_t row = (uint64_t)at.row >> mask->i[1], key = (uint64_t)at.key >> mask->i[1];
    uint64_t place = row * 100003 + key;
    if (mask->i[2] & HEED_AXIS_HEAD) place += (uint64_t)at.head << 40;
    if (mask->i[2] & HEED_AXIS_BATCH) place += (uint64_t)at.batch << 50;
    return mixed(place) % 16 < (uint32_t)mask->i[0];
}
static const heed_mask_kind patch_kinds[] = {
    {.name = "patches", .visible = patches, .axes = SHARED},
    {.name = "patches_of_head", .visible = patches, .axes = SHARED | HEED_AXIS_HEAD},
    {.name = "patches_of_batch", .visible = patches, .axes = SHARED | HEED_AXIS_BATCH},
    {.name = "patches_of_all", .visible = patches},
};

// ---- Runs ---------------------------------------------------------------------------------------------------------

typedef struct { char *bytes; size_t n; } bits;

static void append(bits *b, const void *from, int64_t n) {
    if (from == NULL || n == 0) return;
    b->bytes = realloc(b->bytes, b->n + (size_t)n);
    memcpy(b->bytes + b->n, from, (size_t)n);
    b->n += (size_t)n;
}

// Every output of cpu.flash, forward or backward (out and lse are those that the args hold). Dense arrays.
static bits run(const heed_problem *problem, const heed_args *args, int n_threads, const char *text) {
    bits b = {NULL, 0};
    heed_plan *plan;
    heed_error error;
    const heed_choice choice = {.implementation = "cpu.flash", .threads = n_threads};
    heed_status status = heed_plan_create(&plan, problem, &choice, &error);
    heed_args a = *args;
    if (status == HEED_OK) {
        a.workspace_bytes = heed_workspace_bytes(plan);
        a.workspace = memory_take(a.workspace_bytes);
        memset(a.workspace, 0x7f, a.workspace_bytes);
        status = heed_run(plan, &a, &error);
        memory_free(a.workspace);
    }
    heed_plan_destroy(plan);
    CHECK(status == HEED_OK, "%s: %s", text, status == HEED_OK ? "" : error.text);
    heed_problem p;
    problem_complete(problem, &p, NULL);
    const bool forward = p.pass == HEED_FORWARD;
    const void *const array[] = {a.out, a.dq, a.dk, a.dv};
    static const int which[] = {PROBLEM_OUT, PROBLEM_DQ, PROBLEM_DK, PROBLEM_DV};
    for (int i = forward ? 0 : 1; i < (forward ? 1 : 4); i++) {
        const problem_array x = problem_array_of(&p, which[i]);
        append(&b, array[i], p.batch * x.stride.batch * (int64_t)dtype_bytes(x.dtype));
    }
    if (forward) append(&b, a.lse, p.batch * p.heads * p.queries * 4);
    return b;
}

static void expect_same(bits want, bits got, const char *text, const char *what) {
    CHECK(want.n == got.n && memcmp(want.bytes, got.bytes, want.n) == 0, "%s: other bits %s", text, what);
    free(got.bytes);
}

static void copies(const heed_problem *p, const heed_mask_kind *kind, heed_mask of[HEED_EDITS], heed_problem *to) {
    *to = *p;
    for (int i = 0; i < HEED_EDITS && p->mask[i].kind != NULL; i++) {
        of[i] = p->mask[i];
        to->mask[i] = (heed_mask){.kind = kind, .data = &of[i]};
    }
}

// The built-in masks of a text, then their copies: the same bits, and every pair is asked as often as it must be.
static void check_copies(const char *text) {
    problem_line line;
    heed_error error;
    check_case c;
    CHECK(problem_line_parse(&line, text, &error) == HEED_OK && check_begin(&c, &line, true, &error) == HEED_OK, "%s: %s", text,
          error.text);
    const heed_problem *p = &line.problem;
    bits builtin = run(p, &c.data.args, 1, text);
    heed_mask of[HEED_EDITS];
    heed_problem copy;
    const long pairs = (long)(c.data.problem.queries * c.data.problem.keys);
    copies(p, &shared_copy, of, &copy);
    for (int n_threads = 1; n_threads <= 3; n_threads += 2) {
        asked = 0;
        expect_same(builtin, run(&copy, &c.data.args, n_threads, text), text, "with a list");
        const bool batch = p->with & (HEED_KEY_RANGE | HEED_KEY_COUNT);
        const long most = pairs * (p->mask[1].kind != NULL ? 2 : 1) * (batch ? (long)p->batch : 1);
        CHECK(asked > 0 && asked <= most, "%s: masks were asked %ld times, at most %ld", text, asked, most);
    }
    copies(p, &plain_copy, of, &copy);
    asked = 0;
    expect_same(builtin, run(&copy, &c.data.args, 2, text), text, "without a list");
    const long most = pairs * (p->mask[1].kind != NULL ? 2 : 1) * (long)(p->batch * p->heads);
    CHECK(asked <= most, "%s: without a list masks were asked %ld times, at most %ld", text, asked, most);
    free(builtin.bytes);
    check_end(&c);
}

// A random mask beside whatever the text has: right by the yardstick, and the same bits whichever axes it declares.
static void check_patches(const char *text, int64_t share, int64_t size, int which) {
    problem_line line;
    heed_error error;
    check_case c;
    CHECK(problem_line_parse(&line, text, &error) == HEED_OK, "%s: %s", text, error.text);
    int n = 0;
    while (n < HEED_EDITS - 1 && line.problem.mask[n].kind != NULL) n++;
    line.problem.mask[n] = (heed_mask){.kind = &patch_kinds[which], .i = {share, size, patch_kinds[which].axes}};
    const heed_status begun = check_begin(&c, &line, true, &error);
    CHECK(begun == HEED_OK, "%s: %s", text, error.text);
    if (begun != HEED_OK) return;
    check_report report;
    const heed_choice choice = {.implementation = "cpu.flash", .threads = 2};
    const heed_status status = check_run(&c, &choice, &report, &error);
    CHECK(status == HEED_OK && report.pass, "%s with %s %lld/16 of %lld: %s", text, patch_kinds[which].name, (long long)share,
          (long long)1 << size, status == HEED_OK ? "wrong" : error.text);
    bits declared = run(&line.problem, &c.data.args, 1, text);
    heed_problem undeclared = line.problem;
    undeclared.mask[n].kind = &patch_kinds[3];    // i[2] still says what it really depends on
    expect_same(declared, run(&undeclared, &c.data.args, 3, text), text, "without declared axes");
    free(declared.bytes);
    check_end(&c);
}

int main(int argc, char **argv) {
    static const char *const builtin[] = {
        "b2 h4/2 q200 k600 d32 causal",
        "b2 h2 q300 d16 causal window:40",
        "b1 h3 q257 k513 d64 window:30,9",
        "b1 h2 q700 d16 prefix:100",
        "b3 h2 q130 d32 causal pad:left",
        "b2 h2 q96 k300 d16 causal count:rand",
        "b2 h4/2 q200 k600 d32 causal grad",
        "b1 h1 q600 d16 causal window:40 grad",
        "b2 h2 q130 d24/40 causal pad:left softcap:5 grad",
    };
    static const char *const beside[] = {
        "b2 h4/2 q130 k530 d16", "b2 h2 q100 d32 causal grad", "b2 h2 q60 k300 d16 softcap:4 sink pad:left grad",
        "b1 h4 q70 k9000 d8", "b2 h2 q128 k256 d16 bf16 docs mask:h,q,k offset:top", "b2 h2 q90 d16 count:rand window:50,50 grad",
        "b2 h3 q97 d40 alibi bias:h,q,k grad", "b3 h1 q1 k700 d16", "b2 h2 q50 k0 d8 sink", "b2 h2 q60 d8 empty:mean",
    };
    const long problems = argc > 1 ? atol(argv[1]) : 60;
    random_stream r = random_of(argc > 2 ? strtoull(argv[2], NULL, 10) : 1, 0);
    for (size_t i = 0; i < sizeof builtin / sizeof *builtin; i++) check_copies(builtin[i]);
    for (long i = 0; i < problems; i++)
        check_patches(beside[i % (long)(sizeof beside / sizeof *beside)], (int64_t)random_below(&r, 17),
                      (int64_t)random_below(&r, 9), (int)random_below(&r, 4));
    const heed_mask_kind bad = {.name = "bad", .visible = patches, .axes = 16};
    heed_plan *plan;
    heed_error error;
    heed_problem p = {.batch = 1, .heads = 1, .queries = 4, .channels = 4, .mask = {{.kind = &bad}}};
    CHECK(heed_plan_create(&plan, &p, NULL, &error) == HEED_INVALID && strstr(error.text, "axes is 16") != NULL, "%s", error.text);
    return test_end();
}
