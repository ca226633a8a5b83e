// SPDX-License-Identifier: Apache-2.0
// What a mask of one's own costs that says `visible` and nothing else, beside the built-in mask it equals and beside no mask;
// and what heed_inspect costs beside a forward run. One thread, in turns, best of several, by the thread's own clock.
// Usage: bench_own_mask [tokens] [window] [rounds]
#include <heed/inspect.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { HEADS = 12, CHANNELS = 64, SHARED = HEED_AXIS_QUERY | HEED_AXIS_KEY };
static int64_t tokens = 4096, window = 256, rounds = 5;
static float *q, *k, *v, *out, *lse, *dout, *dq, *dk, *dv, *found;
static int32_t *documents;    // of `window` tokens each

static bool near(const heed_mask *mask, heed_pos at) { return at.key <= at.position && at.key >= at.position - window; }
static bool together(const heed_mask *mask, heed_pos at) {
    return at.key <= at.position && documents[at.key] == documents[at.position];
}
static const heed_mask_kind window_shared = {.name = "window", .visible = near, .axes = SHARED};
static const heed_mask_kind window_alone = {.name = "window", .visible = near};
static const heed_mask_kind documents_shared = {.name = "documents", .visible = together, .axes = SHARED};

typedef struct { const char *name; const heed_mask_kind *own; bool causal, windowed, packed; int same_as; } row;
static const row rows[] = {
    {"no mask", NULL, false, false, false, -1},
    {"causal", NULL, true, false, false, -1},
    {"window", NULL, true, true, false, -1},
    {"  by visible, axes declared", &window_shared, false, false, false, 2},
    {"  by visible, asked by each head", &window_alone, false, false, false, 2},
    {"documents", NULL, true, false, true, -1},
    {"  by visible, axes declared", &documents_shared, false, false, false, 5},
};
enum { ROWS = sizeof rows / sizeof *rows };

static void fail(const char *text) {
    fprintf(stderr, "bench_own_mask: %s\n", text);
    exit(1);
}

static void *take(size_t bytes) {
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);
    if (memory == NULL) fail("no memory");
    return memory;
}

static float *draw(int64_t n, uint32_t seed) {
    float *x = take((size_t)n * sizeof *x);
    for (int64_t i = 0; i < n; i++) x[i] = (float)((seed = seed * 1664525 + 1013904223) >> 8) * 0x1p-23f - 1;
    return x;
}

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

typedef struct { heed_plan *plan; heed_args args; double best; } side;

static side side_of(const row *r, heed_pass pass) {
    heed_problem p = {.batch = 1, .heads = HEADS, .queries = tokens, .channels = CHANNELS, .pass = pass};
    int n = 0;
    if (r->own != NULL) p.mask[n++] = (heed_mask){.kind = r->own};
    if (r->causal) p.mask[n++] = heed_causal();
    if (r->windowed) p.mask[n++] = heed_window(window, -1);
    if (r->packed) p.with = HEED_DOCUMENTS;
    side s = {.best = 1e9};
    heed_error error;
    const heed_choice choice = {.implementation = "cpu.flash", .threads = 1};
    if (heed_plan_create(&s.plan, &p, &choice, &error) != HEED_OK) fail(error.text);
    const size_t run = heed_workspace_bytes(s.plan), look = heed_inspect_bytes(s.plan), bytes = run > look ? run : look;
    s.args = (heed_args){.q = q, .k = k, .v = v, .out = out, .lse = lse, .documents = r->packed ? documents : NULL,
                         .workspace = take(bytes), .workspace_bytes = bytes};
    if (pass == HEED_BACKWARD) s.args.dout = dout, s.args.dq = dq, s.args.dk = dk, s.args.dv = dv;
    return s;
}

static void run_once(side *s) {
    heed_error error;
    const double began = seconds();
    if (heed_run(s->plan, &s->args, &error) != HEED_OK) fail(error.text);
    const double took = seconds() - began;
    s->best = took < s->best ? took : s->best;
}

// Forward results of a mask and its copy agree, before anything is timed.
static void compare(side *all, float *kept) {
    const size_t bytes = (size_t)(HEADS * tokens * CHANNELS) * sizeof(float);
    for (int i = 0; i < ROWS; i++) {
        run_once(&all[i]);
        if (rows[i].same_as < 0) memcpy(kept, out, bytes);
        for (int64_t j = 0; rows[i].same_as >= 0 && j < HEADS * tokens * CHANNELS; j++)
            if (!(out[j] - kept[j] < 1e-5f && kept[j] - out[j] < 1e-5f)) fail("a mask and its copy disagree");
        all[i].best = 1e9;
    }
}

static void time_masks(heed_pass pass, float *kept) {
    side all[ROWS];
    for (int i = 0; i < ROWS; i++) all[i] = side_of(&rows[i], pass);
    if (pass == HEED_FORWARD) compare(all, kept);
    for (int64_t r = 0; r < rounds; r++)
        for (int i = 0; i < ROWS; i++) run_once(&all[i]);
    printf("\n%-34s %10s %12s %14s\n", pass == HEED_FORWARD ? "forward" : "backward", "ms", "of no mask", "of built-in");
    for (int i = 0; i < ROWS; i++) {
        printf("%-34s %10.2f %12.3f", rows[i].name, 1e3 * all[i].best, all[i].best / all[0].best);
        if (rows[i].same_as >= 0) printf(" %14.2f", all[i].best / all[rows[i].same_as].best);
        putchar('\n');
        free(all[i].args.workspace);
        heed_plan_destroy(all[i].plan);
    }
}

static void time_inspect(void) {
    const int64_t four[] = {tokens / 4, tokens / 2, tokens * 3 / 4, tokens - 1};
    const heed_wanted wanted[] = {{.entropy = found, .largest = found + HEADS * tokens},
                                  {.rows = four, .n_rows = 4, .row_weights = found},
                                  {.keys = four, .n_keys = 4, .key_weights = found}};
    static const char *const name[] = {"entropy and largest score, all rows", "weights of 4 rows", "weights of 4 keys"};
    side s = side_of(&rows[1], HEED_FORWARD);
    double best[3] = {1e9, 1e9, 1e9};
    heed_error error;
    for (int64_t r = 0; r < rounds; r++) {
        run_once(&s);
        for (int i = 0; i < 3; i++) {
            const double began = seconds();
            if (heed_inspect(s.plan, &s.args, &wanted[i], &error) != HEED_OK) fail(error.text);
            const double took = seconds() - began;
            best[i] = took < best[i] ? took : best[i];
        }
    }
    printf("\n%-34s %10s %12s\n", "heed_inspect, causal", "ms", "of forward");
    for (int i = 0; i < 3; i++) printf("%-34s %10.2f %12.3f\n", name[i], 1e3 * best[i], best[i] / s.best);
    free(s.args.workspace);
    heed_plan_destroy(s.plan);
}

int main(int argc, char **argv) {
    if (argc > 1) tokens = atoll(argv[1]);
    if (argc > 2) window = atoll(argv[2]);
    if (argc > 3) rounds = atoll(argv[3]);
    if (tokens < 4 || tokens > 1 << 20 || window < 1 || rounds < 1) fail("tokens are 4 to 1048576, window and rounds at least 1");
    const int64_t n = HEADS * tokens * CHANNELS;
    q = draw(n, 1), k = draw(n, 2), v = draw(n, 3), dout = draw(n, 4);
    out = take((size_t)n * 4), dq = take((size_t)n * 4), dk = take((size_t)n * 4), dv = take((size_t)n * 4);
    lse = take((size_t)(HEADS * tokens) * 4), found = take((size_t)(4 * HEADS * tokens) * 4 + HEADS * 4);
    documents = take((size_t)tokens * 4);
    for (int64_t i = 0; i < tokens; i++) documents[i] = (int32_t)(i / window);
    printf("heed %s, 1 thread, %d heads, %lld tokens, %d channels, window and documents of %lld\n", heed_version(), HEADS,
           (long long)tokens, CHANNELS, (long long)window);
    time_masks(HEED_FORWARD, dq);
    time_masks(HEED_BACKWARD, dq);
    time_inspect();
    return 0;
}
