// SPDX-License-Identifier: Apache-2.0
// heed_inspect: the grid of scores swept once more, tile by tile, for chosen rows against all keys or chosen keys against all
// rows. An item is a few tiles of rows of one head, so that the keys it packs serve all of them; what is not consecutive is
// gathered first. The entropy is attention itself, with scores in the place of values:
//
//     u = exp(x) / z:   - sum u ln u  =  ln z - sum u x
#include "heed/inspect.h"

#include "core/impl.h"
#include "core/problem.h"
#include "cpu/kernels.h"

#include <math.h>
#include <string.h>

enum { TILE_ROWS = 48, TILE_KEYS = 256, ITEM_ROWS = 4 * TILE_ROWS };    // tiles as flash has them: bits of the same products
enum { RAW, EDITED, MASKED, WEIGHTS, KINDS };

// The largest score of some rows of a head.
typedef struct { float value; int64_t row, key; } largest;

// Rows x keys of every chosen head: NULL lists are all of them.
typedef struct {
    const heed_plan *plan;
    const heed_args *args;
    const heed_wanted *wanted;
    int64_t n_heads, n_rows, n_keys;
    const int64_t *rows, *keys;
    float *value[KINDS];    // (batch, heads, rows, keys) or, by_key, (batch, heads, keys, rows); NULL: not wanted
    bool by_key;
    float *entropy;
    largest *found;         // an item each; NULL: not wanted
} sweep;

// ---- Memory -------------------------------------------------------------------------------------------------------

// One worker's memory.
typedef struct {
    float *q, *k, *packed;          // rows of an item; a tile of gathered keys; a tile of packed keys
    float *s, *t;                   // scores of a tile, and their copy for one kind
    float *lse, *max, *sum, *mean;  // by row of the item; mean: the sum of weights times scores
    float *best, *dots;
    int64_t *best_key;
} scratch;

static size_t scratch_at(const heed_plan *plan, char *base, scratch *w) {
    const size_t D = (size_t)plan->problem.channels, f = sizeof(float);
    const size_t row = ITEM_ROWS * f, tile = TILE_ROWS * TILE_KEYS * f;
    const size_t packed = plan->machine.cpu->f32.b_bytes(plan->problem.channels, TILE_KEYS);
    const size_t n[] = {size_mul(row, D), size_mul(TILE_KEYS * f, D), packed, tile, tile, row, row, row, row, row, row,
                        ITEM_ROWS * sizeof(int64_t)};
    char *at[sizeof n / sizeof *n];
    size_t bytes = 0;
    for (size_t i = 0; i < sizeof n / sizeof *n; i++) {
        at[i] = base == NULL ? NULL : base + bytes;
        bytes = size_add(bytes, size_align(n[i]));
    }
    if (base == NULL) return bytes;
    *w = (scratch){(float *)at[0], (float *)at[1], (float *)at[2], (float *)at[3], (float *)at[4], (float *)at[5], (float *)at[6],
                   (float *)at[7], (float *)at[8], (float *)at[9], (float *)at[10], (int64_t *)at[11]};
    return bytes;
}

static int64_t items_of_head(int64_t n_rows) { return int64_ceil_div(n_rows, ITEM_ROWS); }

static size_t found_bytes(const heed_problem *p) {
    return size_align(size_mul((size_t)(p->batch * p->heads), size_mul((size_t)items_of_head(p->queries), sizeof(largest))));
}

size_t heed_inspect_bytes(const heed_plan *plan) {
    return size_add(found_bytes(&plan->problem), size_mul((size_t)plan->team.workers, scratch_at(plan, NULL, NULL)));
}

// ---- One tile -----------------------------------------------------------------------------------------------------

// The rows of an item while they meet one tile of keys after the other.
typedef struct {
    const sweep *c;
    edit_sequence s;
    scratch w;
    int64_t at_head, head, g;    // position among the chosen heads
    int64_t row, n_row;          // positions among the chosen rows
    bool packed;                 // the tile of keys at hand
} item;

static int64_t row_of(const sweep *c, int64_t i) { return c->rows == NULL ? i : c->rows[i]; }
static int64_t key_of(const sweep *c, int64_t i) { return c->keys == NULL ? i : c->keys[i]; }

// Of positions [i, i + n): how many from i on are consecutive?
static int64_t run_of(const int64_t *list, int64_t i, int64_t n) {
    int64_t run = 1;
    while (run < n && (list == NULL || list[i + run] == list[i] + run)) run++;
    return list == NULL ? n : run;
}

static void load_rows(item *t) {
    const heed_problem *p = t->s.problem;
    const int64_t D = p->channels;
    const float *lse = t->c->args->lse;
    for (int64_t r = 0, run; r < t->n_row; r += run) {
        const int64_t row = row_of(t->c, t->row + r);
        run = run_of(t->c->rows, t->row + r, t->n_row - r);
        const void *q = row_at(p->dtype, t->c->args->q, p->q, t->s.batch, t->head, row);
        t->c->plan->machine.cpu->f32.rows_of(t->w.q + r * D, run, D, D, p->dtype, q, p->q.token, (float)p->scale);
    }
    for (int64_t r = 0; r < t->n_row; r++) {
        if (lse != NULL) t->w.lse[r] = lse[(t->s.batch * p->heads + t->head) * p->queries + row_of(t->c, t->row + r)];
        t->w.max[r] = t->w.best[r] = -INFINITY;
        t->w.sum[r] = t->w.mean[r] = 0.0f;
        t->w.best_key[r] = -1;
    }
}

// Keys at positions [k0, k0 + n); those that the sequence does not have are zeros.
static void pack_keys(item *t, int64_t k0, int64_t n) {
    const heed_problem *p = t->s.problem;
    const cpu_product *mm = &t->c->plan->machine.cpu->f32;
    const int64_t D = p->channels;
    for (int64_t k = 0, run; k < n; k += run) {
        const int64_t key = key_of(t->c, k0 + k);
        run = run_of(t->c->keys, k0 + k, n - k);
        const int64_t there = int64_max(0, int64_min(run, t->s.n_key - key));
        const void *from = row_at(p->kv_dtype, t->c->args->k, p->k, t->s.batch, t->g, key);
        if (there > 0) mm->rows_of(t->w.k + k * D, there, D, D, p->kv_dtype, from, p->k.token, 1.0f);
        memset(t->w.k + (k + there) * D, 0, (size_t)((run - there) * D) * sizeof(float));
    }
    mm->pack_bt(t->w.packed, D, n, HEED_F32, t->w.k, D);
    t->packed = true;
}

// Edits m rows x n keys from positions r0 (of the item) and k0 on, rectangle by rectangle.
static void edit(const item *t, int64_t r0, int64_t m, int64_t k0, int64_t n, float *x, bool masked) {
    if (!masked && !edit_has_scores(t->s.problem)) return;
    for (int64_t r = 0, rows; r < m; r += rows) {
        rows = run_of(t->c->rows, t->row + r0 + r, m - r);
        for (int64_t k = 0, keys; k < n; k += keys) {
            keys = run_of(t->c->keys, k0 + k, n - k);
            const edit_rect rect = {t->head, row_of(t->c, t->row + r0 + r), rows, key_of(t->c, k0 + k), keys};
            edit_tile(&t->s, rect, x + r * TILE_KEYS + k, TILE_KEYS, masked);
        }
    }
}

// Keys that the sequence does not have: the last ones of a tile, in ascending order.
static void clear_missing(const item *t, int64_t m, int64_t k0, int64_t n, float *x) {
    int64_t there = n;
    while (there > 0 && key_of(t->c, k0 + there - 1) >= t->s.n_key) there--;
    for (int64_t r = 0; r < m; r++)
        for (int64_t k = there; k < n; k++) x[r * TILE_KEYS + k] = -INFINITY;
}

static void store(const item *t, int kind, int64_t r0, int64_t m, int64_t k0, int64_t n, const float *x) {
    const sweep *c = t->c;
    const int64_t place = (t->s.batch * c->n_heads + t->at_head) * c->n_rows * c->n_keys, row = t->row + r0;
    float *to = c->value[kind];
    for (int64_t r = 0; r < m && !c->by_key; r++)
        memcpy(to + place + (row + r) * c->n_keys + k0, x + r * TILE_KEYS, (size_t)n * sizeof(float));
    for (int64_t k = 0; k < n && c->by_key; k++)
        for (int64_t r = 0; r < m; r++) to[place + (k0 + k) * c->n_rows + row + r] = x[r * TILE_KEYS + k];
}

// The keys over which a row that sees nothing averages: none for the other rules.
static int64_t mean_keys(const edit_sequence *s, int64_t row) {
    switch (s->problem->empty_row) {
    case HEED_EMPTY_MEAN: return s->n_key;
    case HEED_EMPTY_MEAN_CAUSAL: return int64_max(0, int64_min(s->n_key, row + s->offset + 1));
    default: return 0;
    }
}

static bool is_nan_row(const item *t, int64_t r) { return t->s.problem->empty_row == HEED_EMPTY_NAN && isnan(t->w.lse[r]); }

// What the rule of a row that sees no key implies, at n keys from position k0 on.
static void weigh_empty_row(const item *t, int64_t r, int64_t k0, int64_t n, float *w) {
    const int64_t keys = mean_keys(&t->s, row_of(t->c, t->row + r));
    for (int64_t k = 0; k < n; k++) {
        const int64_t key = key_of(t->c, k0 + k);
        w[k] = key >= t->s.n_key ? 0.0f : is_nan_row(t, r) ? NAN : key < keys ? 1.0f / (float)keys : 0.0f;
    }
}

static void drop(const item *t, int64_t r, int64_t k0, int64_t n, float *w) {
    const dropout d = dropout_of(t->s.problem->dropout, t->c->args->seed, t->s.batch, t->head);
    const int64_t row = row_of(t->c, t->row + r);
    for (int64_t k = 0, keys; k < n; k += keys) {
        const int64_t key = key_of(t->c, k0 + k);
        keys = key % 4 == 0 ? run_of(t->c->keys, k0 + k, n - k) : 1;
        if (key % 4 == 0) t->c->plan->machine.cpu->dropout(1, keys, w + k, keys, &d, row, key);
        else w[k] *= (float)dropout_factor(&d, row, key);
    }
}

// t = exp(s - lse), exactly 0 where hidden, and what follows from it.
static void weigh(const item *t, int64_t r0, int64_t m, int64_t k0, int64_t n) {
    const bool sinks = t->s.problem->with & HEED_SINKS;
    for (int64_t i = 0; i < m; i++) {
        const int64_t r = r0 + i;
        const float *s = t->w.s + i * TILE_KEYS, lse = t->w.lse[r];
        float *w = t->w.t + i * TILE_KEYS;
        if (is_nan_row(t, r) || (lse == -INFINITY && !sinks)) {
            weigh_empty_row(t, r, k0, n, w);
            continue;
        }
        for (int64_t k = 0; k < n; k++) w[k] = s[k] == -INFINITY ? -INFINITY : s[k] - lse;
        t->c->plan->machine.cpu->exp(n, w, w);
        if (t->s.problem->dropout > 0) drop(t, r, k0, n, w);
    }
    store(t, WEIGHTS, r0, m, k0, n, t->w.t);
}

// Row r of the item: a larger score among n keys from position k0 on?
static void find_largest(const item *t, int64_t r, int64_t k0, int64_t n, const float *s) {
    enum { APART = 8 };    // chains of comparisons, so that one need not wait for the other
    float most[APART];
    int64_t bad = 0, k = 0;
    for (int i = 0; i < APART; i++) most[i] = t->w.best[r];
    for (; k + APART <= n; k += APART)
        for (int i = 0; i < APART; i++) {
            bad += s[k + i] != s[k + i];
            most[i] = s[k + i] > most[i] ? s[k + i] : most[i];
        }
    for (; k < n; k++) {
        bad += s[k] != s[k];
        most[0] = s[k] > most[0] ? s[k] : most[0];
    }
    float all = most[0];
    for (int i = 1; i < APART; i++) all = most[i] > all ? most[i] : all;
    if (isnan(t->w.best[r]) || (bad == 0 && !(all > t->w.best[r]))) return;
    for (k = 0; bad > 0 ? s[k] == s[k] : s[k] != all;) k++;
    t->w.best[r] = s[k];
    t->w.best_key[r] = key_of(t->c, k0 + k);
}

// sum, max and mean of the rows go on over a tile; s becomes their exponentials.
static void add_entropy(const item *t, int64_t r0, int64_t m, int64_t n) {
    const cpu_kernels *cpu = t->c->plan->machine.cpu;
    for (int64_t i = 0; i < m; i++) {
        const float *s = t->w.s + i * TILE_KEYS;
        float *x = t->w.t + i * TILE_KEYS;
        for (int64_t k = 0; k < n; k++) x[k] = s[k] == -INFINITY ? 0.0f : s[k];
    }
    cpu->f32.softmax(m, n, t->w.s, TILE_KEYS, NULL, NULL, t->w.max + r0, t->w.sum + r0, t->w.mean + r0, 1, 1);
    cpu->row_dots(m, n, HEED_F32, t->w.s, TILE_KEYS, t->w.t, TILE_KEYS, t->w.dots);
    for (int64_t i = 0; i < m; i++) t->w.mean[r0 + i] += t->w.dots[i];
}

static heed_rect_class classify(const item *t, int64_t r0, int64_t m, int64_t k0, int64_t n) {
    const int64_t key = key_of(t->c, k0);
    if (key >= t->s.n_key) return HEED_RECT_SKIP;
    if (run_of(t->c->rows, t->row + r0, m) < m || run_of(t->c->keys, k0, n) < n) return HEED_RECT_EDIT;
    return edit_classify(&t->s, (edit_rect){t->head, row_of(t->c, t->row + r0), m, key, n});
}

static void meet(item *t, int64_t r0, int64_t m, int64_t k0, int64_t n) {
    const sweep *c = t->c;
    const int64_t D = t->s.problem->channels;
    const heed_rect_class class = classify(t, r0, m, k0, n);
    const bool hidden = class == HEED_RECT_SKIP, all_pairs = c->value[RAW] != NULL || c->value[EDITED] != NULL;
    float *s = t->w.s;
    if (!hidden || all_pairs) {
        if (!t->packed) pack_keys(t, k0, n);
        c->plan->machine.cpu->f32.mm(m, n, D, t->w.q + r0 * D, D, t->w.packed, D, s, TILE_KEYS, false);
        clear_missing(t, m, k0, n, s);
    }
    if (c->value[RAW] != NULL) store(t, RAW, r0, m, k0, n, s);
    if (c->value[EDITED] != NULL) {
        memcpy(t->w.t, s, (size_t)(m * TILE_KEYS) * sizeof(float));
        edit(t, r0, m, k0, n, t->w.t, false);
        clear_missing(t, m, k0, n, t->w.t);
        store(t, EDITED, r0, m, k0, n, t->w.t);
    }
    if (hidden) {
        for (int64_t i = 0; i < m * TILE_KEYS; i++) s[i] = -INFINITY;
    } else {
        edit(t, r0, m, k0, n, s, class != HEED_RECT_KEEP);
    }
    if (c->value[MASKED] != NULL) store(t, MASKED, r0, m, k0, n, s);
    if (c->value[WEIGHTS] != NULL) weigh(t, r0, m, k0, n);
    for (int64_t i = 0; c->found != NULL && !hidden && i < m; i++) find_largest(t, r0 + i, k0, n, s + i * TILE_KEYS);
    if (c->entropy != NULL && !hidden) add_entropy(t, r0, m, n);
}

// ---- Items --------------------------------------------------------------------------------------------------------

static float entropy_of(const item *t, int64_t r) {
    const float sum = t->w.sum[r], h = logf(sum) + (t->w.max[r] - t->w.mean[r] / sum);
    if (t->s.n_key > 0 && is_nan_row(t, r)) return NAN;
    if (sum != 0.0f) return h < 0.0f ? 0.0f : h;    // rounding
    const int64_t keys = t->s.problem->with & HEED_SINKS ? 0 : mean_keys(&t->s, row_of(t->c, t->row + r));
    return keys == 0 ? 0.0f : logf((float)keys);
}

static largest largest_of(const item *t) {
    largest all = {-INFINITY, -1, -1};
    for (int64_t r = 0; r < t->n_row; r++) {
        if (!isnan(t->w.best[r]) && !(t->w.best[r] > all.value)) continue;
        all = (largest){t->w.best[r], row_of(t->c, t->row + r), t->w.best_key[r]};
        if (isnan(all.value)) break;
    }
    return all;
}

static void run_item(void *context, int64_t at, int worker) {
    const sweep *c = context;
    const heed_problem *p = &c->plan->problem;
    const int64_t items = items_of_head(c->n_rows);
    item t = {.c = c, .s = edit_begin(p, c->args, at / items / c->n_heads), .at_head = at / items % c->n_heads};
    t.head = c->wanted->heads == NULL ? t.at_head : c->wanted->heads[t.at_head];
    t.g = t.head / (p->heads / p->kv_heads);
    t.row = at % items * ITEM_ROWS;
    t.n_row = int64_min(ITEM_ROWS, c->n_rows - t.row);
    char *scratches = (char *)c->args->workspace + found_bytes(p);
    scratch_at(c->plan, scratches + (size_t)worker * scratch_at(c->plan, NULL, NULL), &t.w);
    load_rows(&t);
    for (int64_t k0 = 0; k0 < c->n_keys; k0 += TILE_KEYS) {
        t.packed = false;
        for (int64_t r0 = 0; r0 < t.n_row; r0 += TILE_ROWS)
            meet(&t, r0, int64_min(TILE_ROWS, t.n_row - r0), k0, int64_min(TILE_KEYS, c->n_keys - k0));
    }
    const int64_t place = (t.s.batch * c->n_heads + t.at_head) * c->n_rows + t.row;
    for (int64_t r = 0; c->entropy != NULL && r < t.n_row; r++) c->entropy[place + r] = entropy_of(&t, r);
    if (c->found != NULL) c->found[at] = largest_of(&t);
}

static void run_sweep(sweep *c) {
    const heed_problem *p = &c->plan->problem;
    threads_for(&c->plan->team, p->batch * c->n_heads * items_of_head(c->n_rows), run_item, c);
}

static void store_largest(const sweep *c) {
    const int64_t items = items_of_head(c->n_rows);
    for (int64_t h = 0; h < c->plan->problem.batch * c->n_heads; h++) {
        largest all = {-INFINITY, -1, -1};
        for (int64_t i = 0; i < items && !isnan(all.value); i++) {
            const largest *found = &c->found[h * items + i];
            if (isnan(found->value) || found->value > all.value) all = *found;
        }
        if (c->wanted->largest != NULL) c->wanted->largest[h] = all.value;
        if (c->wanted->largest_at == NULL) continue;
        c->wanted->largest_at[2 * h] = all.row;
        c->wanted->largest_at[2 * h + 1] = all.key;
    }
}

// ---- The call -----------------------------------------------------------------------------------------------------

static heed_status check_list(const char *name, const int64_t *list, int64_t n, int64_t size, heed_error *error) {
    INVALID_UNLESS(list != NULL || n == 0, "n_%s is %lld, but %s is NULL", name, (long long)n, name);
    INVALID_UNLESS(n >= 0 && n <= size, "n_%s is %lld; it must be 0 to %lld", name, (long long)n, (long long)size);
    for (int64_t i = 0; i < n; i++) {
        INVALID_UNLESS(list[i] >= 0 && list[i] < size, "%s[%lld] is %lld; it must be 0 to %lld", name, (long long)i,
                       (long long)list[i], (long long)size - 1);
        INVALID_UNLESS(i == 0 || list[i - 1] < list[i], "%s[%lld] is %lld after %lld; they must ascend", name, (long long)i,
                       (long long)list[i], (long long)list[i - 1]);
    }
    return HEED_OK;
}

static int64_t count_of(const int64_t *list, int64_t n, int64_t size) { return list == NULL ? size : n; }

enum { OUTPUTS = 11 };

// Every array that is written, with its bytes.
static heed_status list_outputs(const heed_problem *p, const heed_wanted *w, problem_memory *out, heed_error *error) {
    const int64_t heads = count_of(w->heads, w->n_heads, p->heads), rows = count_of(w->rows, w->n_rows, p->queries);
    const int64_t keys = count_of(w->keys, w->n_keys, p->keys);
    const struct { const char *name; const void *at; int64_t size[2], element; } all[OUTPUTS] = {
        {"row_raw", w->row_raw, {rows, p->keys}, 4}, {"row_edited", w->row_edited, {rows, p->keys}, 4},
        {"row_masked", w->row_masked, {rows, p->keys}, 4}, {"row_weights", w->row_weights, {rows, p->keys}, 4},
        {"key_raw", w->key_raw, {keys, p->queries}, 4}, {"key_edited", w->key_edited, {keys, p->queries}, 4},
        {"key_masked", w->key_masked, {keys, p->queries}, 4}, {"key_weights", w->key_weights, {keys, p->queries}, 4},
        {"entropy", w->entropy, {rows, 1}, 4}, {"largest", w->largest, {1, 1}, 4}, {"largest_at", w->largest_at, {2, 1}, 8}};
    for (int i = 0; i < OUTPUTS; i++) {
        int64_t n;
        INVALID_UNLESS(int64_mul(p->batch, heads, &n) && int64_mul(n, all[i].size[0], &n) && int64_mul(n, all[i].size[1], &n) &&
                           int64_mul(n, all[i].element, &n) && n < INT64_MAX / 8, "%s of this problem overflows the address space",
                       all[i].name);
        INVALID_UNLESS((uintptr_t)all[i].at % (size_t)all[i].element == 0, "%s is not aligned to its elements of %d bytes",
                       all[i].name, (int)all[i].element);
        out[i] = (problem_memory){all[i].name, all[i].at, n};
    }
    return HEED_OK;
}

static heed_status check(const heed_plan *plan, const heed_args *args, const heed_wanted *w, heed_error *error) {
    INVALID_UNLESS(plan != NULL, "plan is NULL");
    INVALID_UNLESS(w != NULL, "wanted is NULL");
    INVALID_UNLESS(!threads_inside(), "heed_inspect was called from inside a mask or score function");
    const heed_problem *p = &plan->problem;
    if (p->page_size != 0 || p->ragged || p->kv_dtype == HEED_INT8)
        return error_set(error, HEED_REFUSED, "heed_inspect reads dense keys in f32, bf16 or f16; paged, ragged and int8 keys are "
                                              "not built yet");
    heed_status status;
    problem_memory outputs[OUTPUTS];
    if ((status = check_list("heads", w->heads, w->n_heads, p->heads, error)) != HEED_OK) return status;
    if ((status = check_list("rows", w->rows, w->n_rows, p->queries, error)) != HEED_OK) return status;
    if ((status = check_list("keys", w->keys, w->n_keys, p->keys, error)) != HEED_OK) return status;
    if ((status = list_outputs(p, w, outputs, error)) != HEED_OK) return status;
    const bool lse = w->row_weights != NULL || w->key_weights != NULL || w->entropy != NULL;
    return problem_check_reading(p, args, lse, heed_inspect_bytes(plan), outputs, OUTPUTS, error);
}

heed_status heed_inspect(const heed_plan *plan, const heed_args *args, const heed_wanted *w, heed_error *error) {
    const heed_status status = check(plan, args, w, error);
    if (status != HEED_OK) return status;
    const heed_problem *p = &plan->problem;
    const sweep all = {.plan = plan, .args = args, .wanted = w, .n_heads = count_of(w->heads, w->n_heads, p->heads),
                       .n_rows = p->queries, .n_keys = p->keys};
    sweep by_row = all, by_key = all, largest_only = all;
    by_row.rows = w->rows, by_row.n_rows = count_of(w->rows, w->n_rows, p->queries);
    by_key.keys = w->keys, by_key.n_keys = count_of(w->keys, w->n_keys, p->keys), by_key.by_key = true;
    float *const of_rows[KINDS] = {w->row_raw, w->row_edited, w->row_masked, w->row_weights};
    float *const of_keys[KINDS] = {w->key_raw, w->key_edited, w->key_masked, w->key_weights};
    by_row.entropy = w->entropy;
    bool rows = w->entropy != NULL, keys = false;
    for (int i = 0; i < KINDS; i++) {
        rows |= (by_row.value[i] = of_rows[i]) != NULL;
        keys |= (by_key.value[i] = of_keys[i]) != NULL;
    }
    const bool most = w->largest != NULL || w->largest_at != NULL, together = most && rows && w->rows == NULL;
    largest_only.found = args->workspace;
    if (together) by_row.found = args->workspace;
    if (rows) run_sweep(&by_row);
    if (keys) run_sweep(&by_key);
    if (most && !together) run_sweep(&largest_only);
    if (most) store_largest(&largest_only);
    return HEED_OK;
}
