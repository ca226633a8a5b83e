// SPDX-License-Identifier: Apache-2.0
// Wrong memory is one sentence that names the argument, and nothing is written.
#include "base/memory.h"
#include "compare/drawn.h"
#include "core/impl.h"
#include "core/problem.h"
#include "test.h"

#include <math.h>
#include <string.h>

typedef struct { heed_plan *plan; drawn d; heed_args args; } call;

static call make(const char *text) {
    call c = {.plan = NULL};
    problem_line line;
    heed_error error;
    heed_status status = problem_line_parse(&line, text, &error);
    if (status == HEED_OK) status = drawn_make(&c.d, &line, &error);
    if (status == HEED_OK) status = heed_plan_create(&c.plan, &line.problem, NULL, &error);
    CHECK(status == HEED_OK, "%s: %s", text, error.text);
    if (status != HEED_OK) exit(1);
    c.args = c.d.args;
    c.args.workspace_bytes = heed_workspace_bytes(c.plan);
    c.args.workspace = memory_take(c.args.workspace_bytes);
    return c;
}

static void destroy(call *c, void *workspace) {
    memory_free(workspace);
    heed_plan_destroy(c->plan);
    drawn_free(&c->d);
}

static bool untouched(const drawn *d) {
    const unsigned char *out = d->args.out;
    const size_t bytes = (size_t)(d->problem.batch * d->problem.heads * d->problem.queries * d->problem.value_channels) * 4;
    for (size_t i = 0; i < bytes; i++)
        if (out[i] != 0xff) return false;
    return true;
}

// Applies one fault to otherwise right arguments.
static void expect(const char *text, void (*fault)(heed_args *, const drawn *), const char *names) {
    call c = make(text);
    void *workspace = c.args.workspace;
    heed_error error = {.text = ""};
    CHECK(heed_run(c.plan, &c.args, &error) == HEED_OK, "%s runs before the fault: %s", text, error.text);
    drawn_reset_outputs(&c.d);
    fault(&c.args, &c.d);
    const heed_status status = heed_run(c.plan, &c.args, &error);
    CHECK(status == HEED_INVALID, "%s: a fault in %s was accepted", text, names);
    CHECK(strstr(error.text, names) != NULL, "%s: '%s' does not name %s", text, error.text, names);
    if (c.d.problem.pass == HEED_FORWARD) CHECK(untouched(&c.d), "%s: something was written although %s was wrong", text, names);
    destroy(&c, workspace);
}

static void no_q(heed_args *a, const drawn *d) { a->q = NULL; }
static void no_k(heed_args *a, const drawn *d) { a->k = NULL; }
static void no_out(heed_args *a, const drawn *d) { a->out = NULL; }
static void no_lse(heed_args *a, const drawn *d) { a->lse = NULL; }
static void no_dq(heed_args *a, const drawn *d) { a->dq = NULL; }
static void no_sinks(heed_args *a, const drawn *d) { a->sinks = NULL; }
static void extra_sinks(heed_args *a, const drawn *d) { a->sinks = a->lse; }
static void extra_dbias(heed_args *a, const drawn *d) { a->dbias = a->dq; }
static void odd_q(heed_args *a, const drawn *d) { a->q = (const char *)a->q + 1; }
static void out_is_q(heed_args *a, const drawn *d) { a->out = (void *)(uintptr_t)a->q; }
static void out_in_k(heed_args *a, const drawn *d) { a->out = (float *)(uintptr_t)a->k + 5; }
static void lse_in_out(heed_args *a, const drawn *d) { a->lse = (float *)a->out + 3; }
static void dk_is_dv(heed_args *a, const drawn *d) { a->dk = a->dv; }
static void small_workspace(heed_args *a, const drawn *d) { a->workspace_bytes -= 1; }
static void no_workspace(heed_args *a, const drawn *d) { a->workspace = NULL; }
static void odd_workspace(heed_args *a, const drawn *d) { a->workspace = (char *)a->workspace + 4; }
static void bad_range(heed_args *a, const drawn *d) { ((int32_t *)(uintptr_t)a->key_range)[1] = 1000; }
static void reversed_range(heed_args *a, const drawn *d) {
    ((int32_t *)(uintptr_t)a->key_range)[0] = 9, ((int32_t *)(uintptr_t)a->key_range)[1] = 2;
}
static void negative_count(heed_args *a, const drawn *d) { ((int32_t *)(uintptr_t)a->key_count)[1] = -1; }
static void large_count(heed_args *a, const drawn *d) { ((int32_t *)(uintptr_t)a->key_count)[0] = 21; }

static void check_structs(void) {
    heed_error error;
    heed_plan *plan;
    static const struct { heed_problem p; const char *names;
    } wrong[] = {
        {{.batch = 1, .queries = 4, .channels = 8}, "heads"},
        {{.batch = 1, .heads = 6, .kv_heads = 4, .queries = 4, .channels = 8}, "multiple"},
        {{.batch = -1, .heads = 1, .queries = 4, .channels = 8}, "batch"},
        {{.batch = 1, .heads = 1, .queries = -4, .channels = 8}, "queries"},
        {{.batch = 1, .heads = 1, .queries = 4, .keys = -2, .channels = 8}, "keys"},
        {{.batch = 1, .heads = 1, .queries = 4}, "channels"},
        {{.batch = 1, .heads = 1, .queries = 4, .channels = INT64_MAX}, "channels"},
        {{.batch = 0x7fffffff, .heads = 0x7fffffff, .queries = 0x7fffffff, .channels = 0x7fffffff}, "elements"},
        {{.batch = 1, .heads = 1, .queries = 4, .channels = 8, .dtype = HEED_INT8}, "dtype"},
        {{.batch = 1, .heads = 1, .queries = 4, .channels = 8, .dtype = (heed_dtype)77}, "dtype"},
        {{.batch = 1, .heads = 1, .queries = 4, .channels = 8, .scale = NAN}, "scale"},
        {{.batch = 1, .heads = 1, .queries = 4, .channels = 8, .scale = INFINITY}, "scale"},
        {{.batch = 1, .heads = 1, .queries = 4, .channels = 8, .with = 1u << 20}, "with"},
        {{.batch = 1, .heads = 1, .queries = 4, .channels = 8, .offset = 3}, "offset"},
        {{.batch = 1, .heads = 1, .queries = 4, .channels = 8, .empty_row = (heed_empty)9}, "empty_row"},
        {{.batch = 1, .heads = 2, .queries = 4, .channels = 8, .out = {8, 8, 8}}, "out"},
        {{.batch = 1, .heads = 2, .queries = 4, .channels = 8, .q = {8, -8, 8}}, "q"},
        {{.batch = 2, .heads = 2, .queries = 4, .channels = 8, .q = {INT64_MAX / 2, 8, 8}}, "q"},
        {{.batch = 1, .heads = 1, .queries = 4, .channels = 8, .with = HEED_BIAS, .bias_axes = 99}, "bias_axes"},
        {{.batch = 1,
          .heads = 1,
          .queries = 4,
          .channels = 8,
          .with = HEED_BIAS,
          .bias_axes = HEED_AXIS_KEY,
          .bias = {.query = 4, .key = 1}},
         "bias"},
        {{.batch = 1, .heads = 1, .queries = 4, .channels = 8, .page_size = 4}, "page_count"},
        {{.batch = 1, .heads = 1, .queries = 4, .channels = 8, .pass = (heed_pass)3}, "pass"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        CHECK(heed_plan_create(&plan, &wrong[i].p, NULL, &error) == HEED_INVALID, "struct %zu (%s) was accepted", i,
              wrong[i].names);
        CHECK(strstr(error.text, wrong[i].names) != NULL, "struct %zu: '%s' does not name %s", i, error.text, wrong[i].names);
    }
    heed_problem p = {.batch = 1, .heads = 1, .queries = 4, .channels = 8, .mask = {heed_window(-3, 0)}};
    CHECK(heed_plan_create(&plan, &p, NULL, &error) == HEED_INVALID && strstr(error.text, "window") != NULL, "window -3: %s",
          error.text);
    p.mask[0] = (heed_mask){0};
    p.mask[1] = heed_causal();
    CHECK(heed_plan_create(&plan, &p, NULL, &error) == HEED_INVALID && strstr(error.text, "mask[1]") != NULL,
          "a gap in masks: %s", error.text);
    CHECK(heed_plan_create(&plan,
                           &(heed_problem){.batch = 1, .heads = 1, .queries = 4, .channels = 8, .score = {heed_softcap(NAN)}},
                           NULL, &error) == HEED_INVALID,
          "softcap NaN");
}

// q, k, v (or their gradients) interleaved in one (batch, token, 3, head, channel) array do not overlap.
static void check_interleaved(void) {
    enum { B = 2, H = 2, S = 8, D = 4, W = 3 * H * D };
    static float qkv[B * S * W], dqkv[B * S * W], out[B * S * H * D], dout[B * S * H * D], lse[B * H * S];
    const heed_stride fused = {S * W, D, W}, plain = {S * H * D, D, H * D};
    heed_problem p = {.batch = B,
                      .heads = H,
                      .queries = S,
                      .channels = D,
                      .pass = HEED_BACKWARD,
                      .q = fused,
                      .k = fused,
                      .v = fused,
                      .dq = fused,
                      .dk = fused,
                      .dv = fused,
                      .out = plain,
                      .dout = plain};
    heed_plan *plan;
    heed_error error = {.text = ""};
    CHECK(heed_plan_create(&plan, &p, NULL, &error) == HEED_OK, "fused strides: %s", error.text);
    heed_args a = {.q = qkv,
                   .k = qkv + H * D,
                   .v = qkv + 2 * H * D,
                   .out = out,
                   .lse = lse,
                   .dout = dout,
                   .dq = dqkv,
                   .dk = dqkv + H * D,
                   .dv = dqkv + 2 * H * D};
    a.workspace_bytes = heed_workspace_bytes(plan);
    a.workspace = memory_take(a.workspace_bytes);
    CHECK(heed_run(plan, &a, &error) == HEED_OK, "fused gradients: %s", error.text);
    a.dk = dqkv + H * D - 1;
    CHECK(heed_run(plan, &a, &error) == HEED_INVALID && strstr(error.text, "overlap") != NULL, "overlapping fused gradients: %s",
          error.text);
    memory_free(a.workspace);
    heed_plan_destroy(plan);
}

static bool calls_back(const heed_mask *mask, heed_pos at) {
    heed_error error;
    const struct { const heed_plan *plan; const heed_args *args; int *status; } *inner = mask->data;
    *inner->status = (int)heed_run(inner->plan, inner->args, &error);
    return true;
}

static void check_reentry(void) {
    static const heed_mask_kind kind = {"calls_back", calls_back, NULL, NULL, 0};
    call c = make("b1 h1 q4 d8");
    int status = -1;
    const struct { const heed_plan *plan; const heed_args *args; int *status; } data = {c.plan, &c.args, &status};
    heed_problem p = c.d.line.problem;
    p.mask[0] = (heed_mask){.kind = &kind, .data = &data};
    heed_plan *plan;
    heed_error error = {.text = ""};
    CHECK(heed_plan_create(&plan, &p, NULL, &error) == HEED_OK, "%s", error.text);
    heed_args a = c.args;
    a.workspace_bytes = heed_workspace_bytes(plan);
    a.workspace = memory_take(a.workspace_bytes);
    CHECK(heed_run(plan, &a, &error) == HEED_OK, "%s", error.text);
    CHECK(status == HEED_INVALID, "heed_run inside a mask answered %d", status);
    memory_free(a.workspace);
    heed_plan_destroy(plan);
    destroy(&c, c.args.workspace);
}

int main(void) {
    expect("b2 h2 q9 d8", no_q, "q is NULL");
    expect("b2 h2 q9 d8", no_k, "k is NULL");
    expect("b2 h2 q9 d8", no_out, "out is NULL");
    expect("b2 h2 q9 d8", odd_q, "q is not aligned");
    expect("b2 h2 q9 d8", out_is_q, "overlaps");
    expect("b2 h2 q9 d8", out_in_k, "overlaps");
    expect("b2 h2 q9 d8", lse_in_out, "overlaps");
    expect("b2 h2 q9 d8", extra_sinks, "sinks is given");
    expect("b2 h2 q9 d8", small_workspace, "workspace_bytes");
    expect("b2 h2 q9 d8", no_workspace, "workspace");
    expect("b2 h2 q9 d8", odd_workspace, "workspace");
    expect("b2 h2 q9 d8 sink", no_sinks, "sinks is NULL");
    expect("b2 h2 q9 d8 grad", no_lse, "lse is NULL");
    expect("b2 h2 q9 d8 grad", no_dq, "dq is NULL");
    expect("b2 h2 q9 d8 grad", dk_is_dv, "overlaps");
    expect("b2 h2 q9 d8 grad", extra_dbias, "dbias");
    expect("b2 h2 q9 d8 pad:left", bad_range, "key_range[0]");
    expect("b2 h2 q9 d8 pad:left", reversed_range, "key_range[0]");
    expect("b2 h2 q9 k20 d8 count:rand", negative_count, "key_count[1]");
    expect("b2 h2 q9 k20 d8 count:rand", large_count, "key_count[0]");
    call c = make("b1 h2 q9 k12 d8 docs");
    heed_problem p = c.d.line.problem;
    p.align = HEED_TOP_LEFT;
    p.keys = 5;
    heed_plan *plan;
    heed_error error;
    CHECK(heed_plan_create(&plan, &p, NULL, &error) == HEED_OK, "documents: %s", error.text);
    CHECK(heed_run(plan, &c.args, &error) == HEED_INVALID && strstr(error.text, "documents") != NULL,
          "rows outside the documents: %s", error.text);
    heed_plan_destroy(plan);
    destroy(&c, c.args.workspace);
    check_structs();
    check_interleaved();
    check_reentry();
    return test_end();
}
