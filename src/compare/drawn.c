// SPDX-License-Identifier: Apache-2.0
#include "compare/drawn.h"

#include "base/dtype.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "core/edit.h"
#include "core/impl.h"
#include "core/problem.h"

#include <math.h>
#include <string.h>

enum { GUARD_BYTES = 256, GUARD = 0xA5, SENTINEL = 0xFF };    // 0xFFFF... is a NaN in every type

// An array between two guards; NULL when there is no memory.
static void *take(drawn *d, size_t bytes, int fill) {
    const size_t whole = size_add(size_align(bytes), 2 * GUARD_BYTES);
    char *block = d->blocks < DRAWN_BLOCKS ? memory_take(whole) : NULL;
    if (block == NULL) return NULL;
    memset(block, GUARD, whole);
    memset(block + GUARD_BYTES, fill, bytes);
    d->block[d->blocks] = block;
    d->bytes[d->blocks++] = bytes;
    return block + GUARD_BYTES;
}

static bool whole(const unsigned char *at, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (at[i] != GUARD) return false;
    return true;
}

bool drawn_guards_whole(const drawn *d) {
    for (int i = 0; i < d->blocks; i++) {
        const unsigned char *block = d->block[i], *end = block + GUARD_BYTES + d->bytes[i];
        if (!whole(block, GUARD_BYTES) || !whole(end, GUARD_BYTES)) return false;
    }
    return true;
}

void drawn_free(drawn *d) {
    for (int i = 0; i < d->blocks; i++) memory_free(d->block[i]);
    d->blocks = 0;
}

static int64_t span_of(const drawn *d, int which) {
    const problem_array a = problem_array_of(&d->problem, which);
    if (d->problem.batch == 0 || a.tokens == 0) return 0;
    return (d->problem.batch - 1) * a.stride.batch + (a.heads - 1) * a.stride.head + (a.tokens - 1) * a.stride.token + a.channels;
}

static void *take_normal(drawn *d, heed_dtype type, int64_t n, random_stream *r) {
    void *array = take(d, (size_t)n * dtype_bytes(type), 0);
    for (int64_t i = 0; array != NULL && i < n; i++) dtype_store(type, array, i, (float)random_normal(r));
    return array;
}

static void *take_tensor(drawn *d, int which, random_stream *r) {
    const heed_dtype type = problem_array_of(&d->problem, which).dtype;
    if (r != NULL) return take_normal(d, type, span_of(d, which), r);
    return take(d, (size_t)span_of(d, which) * dtype_bytes(type), SENTINEL);
}

static void draw_bias(drawn *d, random_stream *r) {
    heed_problem *p = &d->problem;
    const int64_t n = problem_grid_size(p, p->bias_axes);
    void *bias = take_normal(d, p->bias_dtype, n, r);
    for (int64_t i = 0; bias != NULL && i < n; i++)
        if (random_below(r, 16) == 0) dtype_store(p->bias_dtype, bias, i, -INFINITY);
    d->args.bias = bias;
}

static void draw_mask(drawn *d, random_stream *r) {
    const int64_t n = problem_grid_size(&d->problem, d->problem.mask_axes);
    uint8_t *mask = take(d, (size_t)n, 0);
    for (int64_t i = 0; mask != NULL && i < n; i++) mask[i] = random_below(r, 4) != 0 ? (uint8_t)(1 + random_below(r, 255)) : 0;
    d->args.mask = mask;
}

static void draw_key_range(drawn *d, random_stream *r) {
    const heed_problem *p = &d->problem;
    int32_t *range = take(d, (size_t)p->batch * 8, 0);
    for (int64_t b = 0; range != NULL && b < p->batch; b++) {
        const int32_t pads = (int32_t)random_below(r, (uint64_t)p->keys + 1);
        range[2 * b] = d->line.pad == PAD_RIGHT ? 0 : pads;
        range[2 * b + 1] = (int32_t)p->keys - (d->line.pad == PAD_RIGHT ? pads : 0);
    }
    d->args.key_range = range;
}

// With documents, every row must stand inside the keys that its sequence has.
static void draw_key_count(drawn *d, random_stream *r) {
    const heed_problem *p = &d->problem;
    const int64_t least = p->with & HEED_DOCUMENTS ? int64_min(p->queries + int64_max(p->offset, 0), p->keys) : 0;
    int32_t *count = take(d, (size_t)p->batch * 4, 0);
    for (int64_t b = 0; count != NULL && b < p->batch; b++)
        count[b] = (int32_t)(least + (int64_t)random_below(r, (uint64_t)(p->keys - least) + 1));
    d->args.key_count = count;
}

static void draw_documents(drawn *d, random_stream *r) {
    const heed_problem *p = &d->problem;
    int32_t *documents = take(d, (size_t)(p->batch * p->keys) * 4, 0);
    for (int64_t b = 0; documents != NULL && b < p->batch; b++) {
        int32_t id = 7;
        for (int64_t key = 0; key < p->keys; key++) {
            if (random_below(r, 1 + (uint64_t)p->keys / 3) == 0) id++;
            documents[b * p->keys + key] = id;
        }
    }
    d->args.documents = documents;
}

static void draw_slopes(drawn *d) {
    float *slopes = take(d, (size_t)d->problem.heads * 4, 0);
    for (int64_t h = 0; slopes != NULL && h < d->problem.heads; h++)
        slopes[h] = exp2f(-8 * (float)(h + 1) / (float)d->problem.heads);
    d->args.slopes = slopes;
}

static void take_outputs(drawn *d) {
    const heed_problem *p = &d->problem;
    heed_args *a = &d->args;
    a->out = take_tensor(d, PROBLEM_OUT, NULL);
    a->lse = take(d, (size_t)(p->batch * p->heads * p->queries) * 4, SENTINEL);
    if (p->pass == HEED_FORWARD) return;
    a->dq = take_tensor(d, PROBLEM_DQ, NULL);
    a->dk = take_tensor(d, PROBLEM_DK, NULL);
    a->dv = take_tensor(d, PROBLEM_DV, NULL);
    if (p->with & HEED_BIAS) a->dbias = take(d, (size_t)problem_grid_size(p, p->bias_axes) * dtype_bytes(p->bias_dtype), SENTINEL);
    if (p->with & HEED_SINKS) a->dsinks = take(d, (size_t)p->heads * 4, SENTINEL);
    if (p->with & HEED_SLOPES) a->dslopes = take(d, (size_t)p->heads * 4, SENTINEL);
}

heed_status drawn_make(drawn *d, const problem_line *line, heed_error *error) {
    *d = (drawn){.line = *line};
    const heed_status status = problem_complete(&line->problem, &d->problem, error);
    if (status != HEED_OK) return status;
    const unsigned with = d->problem.with;
    random_stream r = random_of(line->seed, 0);
    d->args.q = take_tensor(d, PROBLEM_Q, &r);
    d->args.k = take_tensor(d, PROBLEM_K, &r);
    d->args.v = take_tensor(d, PROBLEM_V, &r);
    d->args.seed = line->seed;
    if (with & HEED_SINKS) d->args.sinks = take_normal(d, HEED_F32, d->problem.heads, &r);
    if (with & HEED_SLOPES) draw_slopes(d);
    if (with & HEED_BIAS) draw_bias(d, &r);
    if (with & HEED_MASK) draw_mask(d, &r);
    if (with & HEED_KEY_RANGE) draw_key_range(d, &r);
    if (with & HEED_KEY_COUNT) draw_key_count(d, &r);
    if (with & HEED_DOCUMENTS) draw_documents(d, &r);
    if (d->problem.pass == HEED_BACKWARD) d->args.dout = take_tensor(d, PROBLEM_DOUT, &r);
    take_outputs(d);
    const bool all = d->args.q != NULL && d->args.k != NULL && d->args.v != NULL && d->args.out != NULL && d->args.lse != NULL;
    if (!all) return error_set(error, HEED_NO_MEMORY, "no memory for the arrays of this problem");
    return HEED_OK;
}

void drawn_reset_outputs(drawn *d) {
    const void *outputs[] = {d->args.dq, d->args.dk, d->args.dv, d->args.dbias, d->args.dsinks, d->args.dslopes,
                             d->problem.pass == HEED_FORWARD ? d->args.out : NULL,
                             d->problem.pass == HEED_FORWARD ? (void *)d->args.lse : NULL};
    for (int i = 0; i < d->blocks; i++)
        for (size_t j = 0; j < sizeof outputs / sizeof *outputs; j++)
            if (outputs[j] != NULL && outputs[j] == (char *)d->block[i] + GUARD_BYTES)
                memset((char *)d->block[i] + GUARD_BYTES, SENTINEL, d->bytes[i]);
}

// ---- Poison -------------------------------------------------------------------------------------------------------

static void poison_row(const drawn *d, int which, const void *array, int64_t b, int64_t head, int64_t token) {
    const problem_array a = problem_array_of(&d->problem, which);
    void *row = row_at_mut(a.dtype, (void *)(uintptr_t)array, a.stride, b, head, token);
    static const float poisons[] = {NAN, INFINITY, -INFINITY};
    for (int64_t c = 0; c < a.channels; c++) dtype_store(a.dtype, row, c, poisons[(c + token) % 3]);
}

static bool pair_visible(const drawn *d, const edit_sequence *s, int64_t head, int64_t i, int64_t j) {
    return j < s->n_key && edit_visible(s, head, i, j) && edit_score(s, head, i, j, 0) != -INFINITY;
}

static void poison_keys(const drawn *d, const edit_sequence *s, int64_t b, int64_t kv_head) {
    const heed_problem *p = &d->problem;
    const int64_t group = p->heads / p->kv_heads;
    for (int64_t j = 0; j < p->keys; j++) {
        bool seen = false;
        for (int64_t head = kv_head * group; head < (kv_head + 1) * group && !seen; head++)
            for (int64_t i = 0; i < p->queries && !seen; i++) seen = pair_visible(d, s, head, i, j);
        if (seen) continue;
        poison_row(d, PROBLEM_K, d->args.k, b, kv_head, j);
        poison_row(d, PROBLEM_V, d->args.v, b, kv_head, j);
    }
}

static void poison_queries(const drawn *d, const edit_sequence *s, int64_t b, int64_t head) {
    const heed_problem *p = &d->problem;
    for (int64_t i = 0; i < p->queries; i++) {
        bool sees = false;
        for (int64_t j = 0; j < p->keys && !sees; j++) sees = pair_visible(d, s, head, i, j);
        if (sees) continue;
        poison_row(d, PROBLEM_Q, d->args.q, b, head, i);
        if (p->pass == HEED_BACKWARD) poison_row(d, PROBLEM_DOUT, d->args.dout, b, head, i);
    }
}

static void poison_bias(const drawn *d, const edit_sequence *s, int64_t b, int64_t head) {
    const heed_problem *p = &d->problem;
    const heed_grid_stride stride = p->bias;
    for (int64_t i = 0; i < p->queries; i++)
        for (int64_t j = 0; j < p->keys; j++)
            if (j >= s->n_key || !edit_visible(s, head, i, j))
                dtype_store(p->bias_dtype, (void *)(uintptr_t)d->args.bias,
                            b * stride.batch + head * stride.head + i * stride.query + j * stride.key, NAN);
}

void drawn_poison(drawn *d) {
    const heed_problem *p = &d->problem;
    if (p->empty_row != HEED_EMPTY_ZERO) return;    // the means read every value by definition
    const bool full_bias = p->with & HEED_BIAS && p->bias_axes == HEED_AXES_ALL;
    for (int64_t b = 0; b < p->batch; b++) {
        const edit_sequence s = edit_begin(p, &d->args, b);
        for (int64_t g = 0; g < p->kv_heads; g++) poison_keys(d, &s, b, g);
        for (int64_t h = 0; h < p->heads; h++) {
            poison_queries(d, &s, b, h);
            if (full_bias) poison_bias(d, &s, b, h);
        }
    }
}

// ---- Random texts -------------------------------------------------------------------------------------------------

// One of the choices, which '|' separates, appended.
static void add_one_of(random_stream *r, text_buffer *b, const char *choices) {
    size_t n = 1;
    for (const char *c = choices; *c != 0; c++) n += *c == '|';
    const char *choice = choices;
    for (uint64_t skip = random_below(r, n); skip > 0; skip--) choice = strchr(choice, '|') + 1;
    text_add(b, "%.*s", (int)strcspn(choice, "|"), choice);
}

// Sizes near the edges of tiles, primes, one; now and then anything.
static int64_t random_size(random_stream *r, int64_t most) {
    static const int64_t edges[] = {1, 2, 3, 7, 15, 16, 17, 31, 48, 63, 64, 65, 96, 97, 127, 128, 129, 191, 255, 256, 257, 300};
    const int64_t size = random_below(r, 3) == 0 ? 1 + (int64_t)random_below(r, (uint64_t)most)
                                                 : edges[random_below(r, sizeof edges / sizeof *edges)];
    return int64_min(size, most);
}

static void add_sizes(random_stream *r, int64_t most, bool documents, text_buffer *b) {
    const int64_t kv_heads = 1 + (int64_t)random_below(r, 3), group = 1 + (int64_t)random_below(r, 3);
    text_add(b, "b%d h%lld", (int)random_below(r, 3) + 1, (long long)(kv_heads * group));
    if (group > 1) text_add(b, "/%lld", (long long)kv_heads);
    const int64_t queries = random_size(r, most);
    text_add(b, " q%lld", (long long)queries);
    if (random_below(r, 2)) text_add(b, " k%lld", (long long)(random_size(r, most) + (documents ? queries : 0)));
    else if (!documents && random_below(r, 40) == 0) text_add(b, " k0");
    add_one_of(r, b, " d64| d1| d8| d16| d20| d33| d64| d80| d128");
    if (random_below(r, 4) == 0) add_one_of(r, b, "/1|/16|/40|/64|/96|/130");
}

void drawn_random_text(random_stream *r, int64_t size, char *text, size_t bytes) {
    text_buffer b = {.text = text, .bytes = bytes};
    const bool documents = random_below(r, 6) == 0;
    add_sizes(r, size, documents, &b);
    add_one_of(r, &b, "|||| bf16| bf16| f16| f16| f16 kv:bf16| f16 kv:f32| bf16 kv:f16| kv:f16");
    add_one_of(r, &b, "||| causal| causal| causal| prefix:5| causal window:7| window:3,2| window:20,-1| causal window:64"
                      "| window:0,0| prefix:70 window:40");
    add_one_of(r, &b, "||| softcap:5| softcap:30.5");
    add_one_of(r, &b, "|||| alibi");
    add_one_of(r, &b, "|||| bias| bias:h,q,k| bias:b,k| bias:q");
    if (strstr(text, "bias") != NULL) add_one_of(r, &b, "||| bias-type:f16| bias-type:bf16");
    if ((strstr(text, "bias") != NULL || strstr(text, "alibi") != NULL) && random_below(r, 3) == 0) text_add(&b, " bias-first");
    add_one_of(r, &b, "|||| mask| mask:b,k| mask:q,k| mask:h,q");
    add_one_of(r, &b, "||| pad:left| pad:right");
    if (documents) text_add(&b, " docs");
    else add_one_of(r, &b, "||| offset:top| offset:3| offset:-4");
    add_one_of(r, &b, "|||| count:rand");
    add_one_of(r, &b, "||| sink");
    add_one_of(r, &b, "|||| scale:0.3| scale:-0.1| scale:2");
    add_one_of(r, &b, "|||| empty:nan| empty:mean| empty:mean_causal");
    add_one_of(r, &b, "||||| dropout:0.1| dropout:0.7");
    add_one_of(r, &b, "|| layout:bshd");
    add_one_of(r, &b, "| grad");
    text_add(&b, " seed:%d", (int)random_below(r, 1000000));
}
