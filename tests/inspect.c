// SPDX-License-Identifier: Apache-2.0
// heed_inspect against the formulas of inspect.h in double: random problems after random implementations, every instruction
// set, chosen and whole lists, poisoned hidden places; the same bits for any number of threads.
// Usage: test_inspect [problems] [seed] [size]
#include "heed/inspect.h"

#include "base/memory.h"
#include "base/philox.h"
#include "compare/drawn.h"
#include "core/edit.h"
#include "core/impl.h"
#include "core/problem.h"
#include "cpu/kernels.h"
#include "test.h"

#include <math.h>
#include <string.h>

static const double EPSILON = 0x1p-23;
enum { RAW, EDITED, MASKED, WEIGHTS, KINDS };
static const char *const kind_name[KINDS] = {"raw", "edited", "masked", "weights"};

// What is right, what plain f32 code makes of it, and how far f32 rounding alone may lead away; over the whole grid.
typedef struct {
    double *right[KINDS], *plain[KINDS], *floor[KINDS], *entropy, *entropy_plain, *entropy_floor, *lse;
    double *block;
} grid;

static grid grid_take(const heed_problem *p) {
    const int64_t rows = p->batch * p->heads * p->queries, n = rows * p->keys;
    grid g = {.block = calloc((size_t)(3 * KINDS * n + 4 * rows + 1), sizeof(double))};
    double *at = g.block;
    for (int kind = 0; kind < KINDS; kind++) {
        g.right[kind] = at, g.plain[kind] = at + n, g.floor[kind] = at + 2 * n;
        at += 3 * n;
    }
    g.entropy = at, g.entropy_plain = at + rows, g.entropy_floor = at + 2 * rows, g.lse = at + 3 * rows;
    return g;
}

// ---- The definition, row by row -----------------------------------------------------------------------------------

typedef struct { const heed_problem *p; const heed_args *a; edit_sequence s; int64_t b, h, i, place; } row;

static double raw_score(const row *r, int64_t j, float *plain, double *size) {
    const heed_problem *p = r->p;
    const void *q = row_at(p->dtype, r->a->q, p->q, r->b, r->h, r->i);
    const void *k = row_at(p->kv_dtype, r->a->k, p->k, r->b, r->h / (p->heads / p->kv_heads), j);
    double sum = 0;
    *size = 0;
    *plain = 0;
    for (int64_t c = 0; c < p->channels; c++) {
        const float x = dtype_load(p->dtype, q, c), y = dtype_load(p->kv_dtype, k, c);
        sum += (double)x * (double)y;
        *plain += x * y;
        *size += fabs((double)x * (double)y);
    }
    *plain *= (float)p->scale;
    *size *= fabs(p->scale);
    return p->scale * sum;
}

static bool key_is_finite(const row *r, int64_t j) {
    const heed_problem *p = r->p;
    const void *k = row_at(p->kv_dtype, r->a->k, p->k, r->b, r->h / (p->heads / p->kv_heads), j);
    for (int64_t c = 0; c < p->channels; c++)
        if (!isfinite(dtype_load(p->kv_dtype, k, c))) return false;
    return true;
}

// Scores of the row; true when an unprotected softmax (empty:nan) would be NaN in it.
static bool define_scores(const row *r, grid *g) {
    bool poisoned = false;
    for (int64_t j = 0; j < r->p->keys; j++) {
        const int64_t at = r->place * r->p->keys + j;
        if (j >= r->s.n_key) {
            for (int kind = RAW; kind <= MASKED; kind++) g->right[kind][at] = g->plain[kind][at] = -INFINITY;
            continue;
        }
        float plain;
        double size;
        const double raw = raw_score(r, j, &plain, &size), edited = edit_score(&r->s, r->h, r->i, j, raw);
        const bool seen = edit_visible(&r->s, r->h, r->i, j) && edited != -INFINITY;
        const double bias = edit_bias_at(&r->s, r->h, r->i, j);
        double terms = isfinite(bias) ? fabs(bias) : 0;
        if (r->p->with & HEED_SLOPES) terms += fabs((double)r->a->slopes[r->h] * (double)(j - r->i - r->s.offset));
        g->right[RAW][at] = raw, g->plain[RAW][at] = (double)plain, g->floor[RAW][at] = 2 * EPSILON * size;
        g->right[EDITED][at] = edited;
        g->plain[EDITED][at] = (double)(float)edit_score(&r->s, r->h, r->i, j, (double)plain);
        g->floor[EDITED][at] = EPSILON * (2 * (size + terms) + (isfinite(edited) ? fabs(edited) : 0));
        g->right[MASKED][at] = seen ? edited : -INFINITY;
        g->plain[MASKED][at] = seen ? g->plain[EDITED][at] : -INFINITY;
        g->floor[MASKED][at] = seen ? g->floor[EDITED][at] : 0;
        poisoned |= !seen && !key_is_finite(r, j);
    }
    return poisoned;
}

static int64_t keys_of_mean(const row *r) {
    const int64_t upto = r->i + r->s.offset + 1;
    if (r->p->empty_row == HEED_EMPTY_MEAN) return r->s.n_key;
    return r->p->empty_row == HEED_EMPTY_MEAN_CAUSAL ? upto < 0 ? 0 : upto < r->s.n_key ? upto : r->s.n_key : 0;
}

static bool kept(const row *r, int64_t j) {
    const philox_block words = philox(r->a->seed, (uint32_t)(j / 4), (uint32_t)r->i, (uint32_t)r->h, (uint32_t)r->b);
    return (double)words.word[j % 4] >= r->p->dropout * 0x1p32;
}

// Weights and entropy of a row without visible keys.
static void define_empty(const row *r, grid *g, bool nan) {
    const int64_t n = keys_of_mean(r);
    for (int64_t j = 0; j < r->s.n_key; j++) {
        double *w = &g->right[WEIGHTS][r->place * r->p->keys + j];
        *w = nan ? (double)NAN : j < n ? 1 / (double)n : 0;
        g->plain[WEIGHTS][r->place * r->p->keys + j] = *w;
        g->floor[WEIGHTS][r->place * r->p->keys + j] = nan ? 0 : EPSILON * *w;
    }
    const double h = r->s.n_key == 0 ? 0 : nan ? (double)NAN : n > 0 ? log((double)n) : 0;
    g->entropy[r->place] = g->entropy_plain[r->place] = h;
    g->entropy_floor[r->place] = isnan(h) ? 0 : EPSILON * h;
}

static void define_weights(const row *r, grid *g, double big, double z) {
    const double sink = r->p->with & HEED_SINKS ? (double)r->a->sinks[r->h] : -(double)INFINITY;
    const double top = fmax(big, sink), lse = top + log(z * exp(big - top) + exp(sink - top));
    const double *x = &g->right[MASKED][r->place * r->p->keys], *plain = &g->plain[MASKED][r->place * r->p->keys];
    float plain_z = 0, plain_mean = 0;
    double mean = 0;
    for (int64_t j = 0; j < r->s.n_key; j++) {
        if (x[j] == -INFINITY) continue;
        plain_z += expf((float)(plain[j] - big));
        plain_mean += expf((float)(plain[j] - big)) * (float)plain[j];
        mean += exp(x[j] - big) / z * x[j];
    }
    const float plain_lse = (float)top + logf(plain_z * expf((float)(big - top)) + expf((float)(sink - top)));
    const double h = log(z) + big - mean;
    double floor = EPSILON * (1 + h + 2 * fabs(big));
    for (int64_t j = 0; j < r->s.n_key; j++) {
        const int64_t at = r->place * r->p->keys + j;
        if (x[j] == -INFINITY) continue;
        const double u = exp(x[j] - big) / z, w = exp(x[j] - lse), grow = 1 / (1 - r->p->dropout);
        floor += u * (fabs(x[j] - big - log(z) + h) * g->floor[MASKED][at] + EPSILON * fabs(x[j]));
        if (r->p->dropout > 0 && !kept(r, j)) continue;
        g->right[WEIGHTS][at] = w * grow;
        g->plain[WEIGHTS][at] = (double)expf((float)plain[j] - plain_lse) * grow;
        g->floor[WEIGHTS][at] = w * grow * (g->floor[MASKED][at] + EPSILON * (2 + fabs(lse)));
    }
    g->entropy[r->place] = h;
    g->entropy_plain[r->place] = (double)(logf(plain_z) + (float)big - plain_mean / plain_z);
    g->entropy_floor[r->place] = floor;
}

static void define_row(const row *r, grid *g) {
    const bool poisoned = define_scores(r, g), nan = r->p->empty_row == HEED_EMPTY_NAN;
    const double *x = &g->right[MASKED][r->place * r->p->keys];
    double big = -(double)INFINITY, z = 0;
    for (int64_t j = 0; j < r->s.n_key; j++) big = fmax(big, x[j]);
    for (int64_t j = 0; j < r->s.n_key; j++) z += x[j] == -INFINITY ? 0 : exp(x[j] - big);
    if (big != -(double)INFINITY && !(nan && poisoned)) define_weights(r, g, big, z);
    else if (!(r->p->with & HEED_SINKS) || (nan && poisoned)) define_empty(r, g, nan);
}

static void define(const heed_problem *p, const heed_args *a, grid *g) {
    row r = {.p = p, .a = a};
    for (r.b = 0; r.b < p->batch; r.b++) {
        r.s = edit_begin(p, a, r.b);
        for (r.h = 0; r.h < p->heads; r.h++)
            for (r.i = 0; r.i < p->queries; r.i++, r.place++) define_row(&r, g);
    }
}

// ---- What heed says -----------------------------------------------------------------------------------------------

typedef struct {
    heed_wanted w;
    int64_t heads, rows, keys;    // chosen
    int64_t *list;                // memory of the lists
    char *block;                  // memory of the outputs
    size_t bytes;
} looked;

// Ascending, each with probability 1/share; NULL (all) now and then.
static const int64_t *draw_list(random_stream *s, int64_t size, uint64_t share, int64_t **memory, int64_t *n_list, int64_t *n) {
    *n_list = 0;
    *n = size;
    if (random_below(s, 3) == 0) return NULL;
    int64_t *list = *memory;
    for (int64_t i = 0; i < size; i++)
        if (random_below(s, share) == 0) list[(*n_list)++] = i;
    *memory += *n_list;
    *n = *n_list;
    return list;
}

static looked look_begin(const heed_problem *p, random_stream *s) {
    looked l = {.list = calloc((size_t)(p->heads + p->queries + p->keys + 1), sizeof(int64_t))};
    int64_t *memory = l.list;
    const uint64_t share = 1 + random_below(s, 6);    // 1: the whole list, written out
    l.w.heads = draw_list(s, p->heads, 2, &memory, &l.w.n_heads, &l.heads);
    l.w.rows = draw_list(s, p->queries, share, &memory, &l.w.n_rows, &l.rows);
    l.w.keys = draw_list(s, p->keys, share, &memory, &l.w.n_keys, &l.keys);
    const size_t heads = (size_t)(p->batch * l.heads), of_rows = heads * (size_t)(l.rows * p->keys) * 4;
    const size_t of_keys = heads * (size_t)(l.keys * p->queries) * 4;
    l.bytes = KINDS * (of_rows + of_keys) + heads * (size_t)l.rows * 4 + heads * 24 + 64;
    l.block = malloc(l.bytes);
    memset(l.block, 0xFF, l.bytes);
    char *at = l.block;
    l.w.largest_at = (int64_t *)(void *)at;
    float *const memory_of = (float *)(void *)(at + heads * 16);
    float **const slot[] = {&l.w.row_raw, &l.w.row_edited, &l.w.row_masked, &l.w.row_weights,
                            &l.w.key_raw, &l.w.key_edited, &l.w.key_masked, &l.w.key_weights};
    float *next = memory_of;
    for (int i = 0; i < 2 * KINDS; i++) {
        *slot[i] = next;
        next += (i < KINDS ? of_rows : of_keys) / 4;
    }
    l.w.entropy = next;
    l.w.largest = next + heads * (size_t)l.rows;
    return l;
}

static void look_end(looked *l) {
    free(l->list);
    free(l->block);
}

static heed_status look(const heed_problem *p, const heed_args *a, const heed_choice *choice, looked *l, heed_error *error) {
    heed_plan *plan;
    heed_status status = heed_plan_create(&plan, p, choice, error);
    if (status != HEED_OK) return status;
    heed_args args = *a;
    args.v = args.out = NULL;    // nobody may need them
    args.workspace_bytes = heed_inspect_bytes(plan);
    args.workspace = memory_take(args.workspace_bytes);
    memset(args.workspace, 0x7f, args.workspace_bytes);
    if (l->bytes > 0) memset(l->block, 0xFF, l->bytes);
    status = heed_inspect(plan, &args, &l->w, error);
    memory_free(args.workspace);
    heed_plan_destroy(plan);
    return status;
}

// ---- Comparison ---------------------------------------------------------------------------------------------------

typedef struct { double error, e, r, most; int64_t worst; } tally;

static void add(tally *t, double result, double right, double plain, double floor, int64_t at) {
    double d = result == right || (isnan(result) && isnan(right)) ? 0 : fabs(result - right);
    if (!isfinite(d)) d = INFINITY;
    if (d > t->error) t->error = d, t->worst = at;
    if (!isfinite(right)) return;
    t->most = fmax(t->most, fabs(right));
    if (isfinite(plain)) t->e = fmax(t->e, fabs(plain - right));
    if (isfinite(floor)) t->r = fmax(t->r, floor);
}

static void judge(const tally *t, const char *what, const char *name, const char *text, const char *cpu) {
    const double bound = 2 * t->e + t->r + EPSILON * t->most;
    CHECK(t->error <= bound, "%s on %s: %s %s: error %.3g above %.3g at %lld", text, cpu, what, name, t->error, bound,
          (long long)t->worst);
}

static int64_t at_of(const int64_t *list, int64_t i) { return list == NULL ? i : list[i]; }

static void compare_kind(const heed_problem *p, const grid *g, const looked *l, int kind, const char *text, const char *cpu) {
    const float *const of_rows[] = {l->w.row_raw, l->w.row_edited, l->w.row_masked, l->w.row_weights};
    const float *const of_keys[] = {l->w.key_raw, l->w.key_edited, l->w.key_masked, l->w.key_weights};
    tally rows = {0}, keys = {0};
    for (int64_t bh = 0; bh < p->batch * l->heads; bh++) {
        const int64_t head = bh / l->heads * p->heads + at_of(l->w.heads, bh % l->heads);
        for (int64_t i = 0; i < p->queries; i++)
            for (int64_t j = 0; j < l->keys; j++) {
                const int64_t at = (head * p->queries + i) * p->keys + at_of(l->w.keys, j);
                add(&keys, (double)of_keys[kind][(bh * l->keys + j) * p->queries + i], g->right[kind][at], g->plain[kind][at],
                    g->floor[kind][at], at);
            }
        for (int64_t i = 0; i < l->rows; i++)
            for (int64_t j = 0; j < p->keys; j++) {
                const int64_t at = (head * p->queries + at_of(l->w.rows, i)) * p->keys + j;
                add(&rows, (double)of_rows[kind][(bh * l->rows + i) * p->keys + j], g->right[kind][at], g->plain[kind][at],
                    g->floor[kind][at], at);
            }
    }
    judge(&rows, "rows'", kind_name[kind], text, cpu);
    judge(&keys, "keys'", kind_name[kind], text, cpu);
}

static void compare_rest(const heed_problem *p, const grid *g, const looked *l, const char *text, const char *cpu) {
    tally entropy = {0}, most = {0};
    for (int64_t bh = 0; bh < p->batch * l->heads; bh++) {
        const int64_t head = bh / l->heads * p->heads + at_of(l->w.heads, bh % l->heads), n = p->queries * p->keys;
        for (int64_t i = 0; i < l->rows; i++) {
            const int64_t at = head * p->queries + at_of(l->w.rows, i);
            add(&entropy, (double)l->w.entropy[bh * l->rows + i], g->entropy[at], g->entropy_plain[at], g->entropy_floor[at], at);
        }
        double top = -(double)INFINITY, top_plain = top, floor = 0;
        for (int64_t at = head * n; at < (head + 1) * n; at++) {
            top = fmax(top, g->right[MASKED][at]);
            top_plain = fmax(top_plain, g->plain[MASKED][at]);
            floor = fmax(floor, g->floor[MASKED][at]);
        }
        add(&most, (double)l->w.largest[bh], top, top_plain, floor, head);
        const int64_t i = l->w.largest_at[2 * bh], j = l->w.largest_at[2 * bh + 1];
        if (top == -(double)INFINITY) {
            CHECK(i == -1 && j == -1, "%s on %s: nothing is visible, yet the largest is at %lld, %lld", text, cpu, (long long)i,
                  (long long)j);
            continue;
        }
        const bool inside = i >= 0 && i < p->queries && j >= 0 && j < p->keys;
        CHECK(inside, "%s on %s: the largest is at %lld, %lld", text, cpu, (long long)i, (long long)j);
        if (inside) add(&most, g->right[MASKED][head * n + i * p->keys + j], top, top, 2 * floor, head);
    }
    judge(&entropy, "rows'", "entropy", text, cpu);
    judge(&most, "heads'", "largest", text, cpu);
}

// ---- Cases --------------------------------------------------------------------------------------------------------

// lse as some implementation leaves it, on some instruction set.
static heed_status run_forward(const drawn *d, random_stream *s, heed_error *error) {
    static const char *const implementations[] = {NULL, "cpu.flash", "cpu.eager", "ref"};
    heed_problem p = d->line.problem;
    p.pass = HEED_FORWARD;
    heed_args a = d->args;
    a.dout = NULL;
    a.dq = a.dk = a.dv = a.dbias = NULL;
    a.dsinks = a.dslopes = NULL;
    const heed_choice choice = {.implementation = implementations[random_below(s, 4)], .threads = 2};
    heed_plan *plan;
    heed_status status = heed_plan_create(&plan, &p, &choice, error);
    if (status != HEED_OK) return status;
    a.workspace_bytes = heed_workspace_bytes(plan);
    a.workspace = memory_take(a.workspace_bytes);
    status = heed_run(plan, &a, error);
    memory_free(a.workspace);
    heed_plan_destroy(plan);
    return status;
}

static void check_on(const drawn *d, const grid *g, looked *l, const char *text, const char *cpu) {
    heed_error error;
    const heed_status status = look(&d->line.problem, &d->args, &(heed_choice){.cpu = cpu, .threads = 1}, l, &error);
    CHECK(status == HEED_OK, "%s on %s: %s", text, cpu, status == HEED_OK ? "" : error.text);
    if (status != HEED_OK) return;
    for (int kind = 0; kind < KINDS; kind++) compare_kind(&d->problem, g, l, kind, text, cpu);
    compare_rest(&d->problem, g, l, text, cpu);
    char *one = malloc(l->bytes);
    memcpy(one, l->block, l->bytes);
    look(&d->line.problem, &d->args, &(heed_choice){.cpu = cpu, .threads = 3}, l, &error);
    CHECK(memcmp(one, l->block, l->bytes) == 0, "%s on %s: bits change with threads", text, cpu);
    const unsigned char *slack = (unsigned char *)l->block + l->bytes - 60;    // past the outputs
    int touched = 0;
    for (int i = 0; i < 60; i++) touched += slack[i] != 0xFF;
    CHECK(touched == 0, "%s on %s: wrote past its outputs", text, cpu);
    free(one);
}

// A mask of the caller's, by visible alone.
static bool striped(const heed_mask *mask, heed_pos at) { return (at.row + 2 * at.key) % (at.head + 3) != 0; }
static const heed_mask_kind stripes = {.name = "stripes", .visible = striped};

static void add_stripes(heed_problem *p) {
    int n = 0;
    while (n < HEED_EDITS - 1 && p->mask[n].kind != NULL) n++;
    p->mask[n] = (heed_mask){.kind = &stripes};
}

static void check(const char *text, random_stream *s, bool poison) {
    problem_line line;
    heed_error error;
    drawn d;
    heed_status status = problem_line_parse(&line, text, &error);
    if (status == HEED_OK && random_below(s, 3) == 0) add_stripes(&line.problem);
    if (status == HEED_OK) status = drawn_make(&d, &line, &error);
    CHECK(status == HEED_OK, "%s: %s", text, status == HEED_OK ? "" : error.text);
    if (status != HEED_OK) return;
    if (poison) drawn_poison(&d);
    status = run_forward(&d, s, &error);
    if (status == HEED_REFUSED) {
        SKIP("inspect %s: %s", text, error.text);
        drawn_free(&d);
        return;
    }
    CHECK(status == HEED_OK, "%s: %s", text, status == HEED_OK ? "" : error.text);
    grid g = grid_take(&d.problem);
    define(&d.problem, &d.args, &g);
    looked l = look_begin(&d.problem, s);
    const cpu_kernels *table;
    for (int i = 0; cpu_kernels_row(i, &table) != NULL; i++)
        if (table != NULL) check_on(&d, &g, &l, text, table->name);
    look_end(&l);
    free(g.block);
    drawn_free(&d);
}

// A visible NaN is the largest there is, and reaches the rows that see it only.
static void check_visible_nan(void) {
    problem_line line;
    heed_error error;
    drawn d;
    random_stream s = random_of(3, 0);
    CHECK(problem_line_parse(&line, "b1 h1 q300 d16 causal", &error) == HEED_OK && drawn_make(&d, &line, &error) == HEED_OK, "%s",
          error.text);
    ((float *)(uintptr_t)d.args.k)[280 * 16 + 3] = NAN;
    run_forward(&d, &s, &error);
    float entropy[300], largest, weights[300];
    int64_t at[2];
    const int64_t seen_by = 290;
    looked l = {.w = {.entropy = entropy, .largest = &largest, .largest_at = at}};
    heed_status status = look(&d.line.problem, &d.args, NULL, &l, &error);
    CHECK(status == HEED_OK && isnan(largest) && at[0] == 280 && at[1] == 280, "largest %g at %lld, %lld", (double)largest,
          (long long)at[0], (long long)at[1]);
    int wrong = 0;
    for (int i = 0; i < 300; i++) wrong += (isnan(entropy[i]) != 0) != (i >= 280);
    CHECK(wrong == 0, "%d rows' entropy is wrong beside a NaN at key 280", wrong);
    l.w = (heed_wanted){.rows = &seen_by, .n_rows = 1, .row_weights = weights};
    status = look(&d.line.problem, &d.args, NULL, &l, &error);
    for (int j = 0; j < 300; j++) wrong += j > 290 ? weights[j] != 0 : !isnan(weights[j]);
    CHECK(status == HEED_OK && wrong == 0, "%d weights are wrong beside a NaN", wrong);
    drawn_free(&d);
}

static void expect(const heed_plan *plan, heed_args a, heed_wanted w, const char *part) {
    heed_error error = {.text = ""};
    const heed_status status = heed_inspect(plan, &a, &w, &error);
    CHECK(status == HEED_INVALID && strstr(error.text, part) != NULL, "expected '%s', got %d: %s", part, (int)status, error.text);
}

static void check_errors(void) {
    enum { H = 2, S = 10, D = 8, N = H * S * D };
    static float q[N], k[N], lse[H * S], w[H * S * S];
    heed_problem p = {.batch = 1, .heads = H, .queries = S, .channels = D};
    heed_plan *plan;
    CHECK(heed_plan_create(&plan, &p, NULL, NULL) == HEED_OK, "a plan");
    heed_args a = {.q = q, .k = k, .lse = lse, .workspace_bytes = heed_inspect_bytes(plan)};
    a.workspace = memory_take(a.workspace_bytes);
    const int64_t low[] = {-1}, high[] = {H}, back[] = {3, 2};
    CHECK(heed_inspect(plan, &a, &(heed_wanted){.row_weights = w}, NULL) == HEED_OK, "all weights");
    CHECK(heed_inspect(plan, &a, &(heed_wanted){.row_weights = NULL}, NULL) == HEED_OK, "nothing wanted");
    expect(NULL, a, (heed_wanted){0}, "plan is NULL");
    expect(plan, a, (heed_wanted){.heads = high, .n_heads = 1}, "heads[0] is 2; it must be 0 to 1");
    expect(plan, a, (heed_wanted){.rows = low, .n_rows = 1}, "rows[0] is -1; it must be 0 to 9");
    expect(plan, a, (heed_wanted){.keys = back, .n_keys = 2}, "keys[1] is 2 after 3; they must ascend");
    expect(plan, a, (heed_wanted){.n_rows = 1}, "n_rows is 1, but rows is NULL");
    expect(plan, a, (heed_wanted){.rows = back, .n_rows = 11}, "n_rows is 11; it must be 0 to 10");
    expect(plan, a, (heed_wanted){.row_weights = w, .row_raw = w + 5}, "overlaps");
    expect(plan, a, (heed_wanted){.key_raw = q}, "key_raw overlaps q");
    expect(plan, a, (heed_wanted){.largest_at = (int64_t *)(uintptr_t)((char *)w + 4)}, "largest_at is not aligned");
    heed_args less = a;
    less.workspace_bytes--;
    expect(plan, less, (heed_wanted){0}, "workspace_bytes is");
    less = a;
    less.lse = NULL;
    CHECK(heed_inspect(plan, &less, &(heed_wanted){.row_masked = w, .largest = lse}, NULL) == HEED_OK, "scores need no lse");
    expect(plan, less, (heed_wanted){.row_weights = w}, "lse is NULL");
    expect(plan, less, (heed_wanted){.entropy = w}, "lse is NULL");
    less.q = NULL;
    expect(plan, less, (heed_wanted){.row_raw = w}, "q is NULL");
    memory_free(a.workspace);
    heed_plan_destroy(plan);
}

static const char *const chosen[] = {
    "b1 h1 q1 d1",
    "b2 h2 q5 k0 d4 sink",
    "b1 h2 q0 k4 d4",
    "b0 h1 q4 d4",
    "b2 h2 q40 d16 causal pad:left",
    "b2 h2 q40 d16 causal pad:left empty:nan",
    "b2 h2 q40 d16 causal pad:left empty:mean",
    "b2 h2 q40 d16 causal pad:left empty:mean_causal",
    "b2 h2 q40 d16 causal pad:left sink empty:nan",
    "b3 h2 q64 k100 d32 count:rand causal empty:mean",
    "b2 h4/2 q65 k300 d40 softcap:3 alibi bias:h,q,k grad",
    "b2 h4/2 q65 k300 d40 softcap:3 alibi bias:h,q,k bias-first",
    "b1 h2 q500 k300 d16 causal bf16 layout:bshd",
    "b1 h1 q300 k600 d64 window:20,3 sink",
    "b1 h2 q64 d64 scale:40",
    "b1 h2 q200 d16 docs mask:q,k causal",
    "b2 h3 q90 k130 d8 causal dropout:0.4 seed:9",
    "b2 h2 q30 d8 pad:left causal empty:mean dropout:0.2",
};

int main(int argc, char **argv) {
    const long problems = argc > 1 ? atol(argv[1]) : 60;
    const uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    const int64_t size = argc > 3 ? atol(argv[3]) : 150;
    random_stream lists = random_of(seed, 1), texts = random_of(seed, 0);
    for (size_t i = 0; i < sizeof chosen / sizeof *chosen; i++)
        for (int poison = 0; poison < 2; poison++) check(chosen[i], &lists, poison);
    for (long i = 0; i < problems; i++) {
        char text[512];
        drawn_random_text(&texts, size, text, sizeof text);
        check(text, &lists, i % 2);
    }
    check_visible_nan();
    check_errors();
    if (test_failed > 0)
        fprintf(stderr, "again: test_inspect %ld %llu %lld\n", problems, (unsigned long long)seed, (long long)size);
    return test_end();
}
