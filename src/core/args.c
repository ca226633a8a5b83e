// SPDX-License-Identifier: Apache-2.0
// The memory of a run, checked before the first write.
#include "base/dtype.h"
#include "base/error.h"
#include "base/memory.h"
#include "core/edit.h"
#include "core/problem.h"

// An array of the call as bytes: where it begins, how its places are laid out. Plain arrays have no dimensions.
typedef struct { const char *name; const char *at; int64_t bytes; int64_t inner; int64_t size[3], stride[3]; bool written; } region;

enum { REGIONS_MAX = 32 };
typedef struct { region list[REGIONS_MAX]; int n; } regions;

static void add_plain(regions *all, const char *name, const void *at, int64_t bytes, bool written) {
    if (at == NULL || bytes <= 0) return;
    all->list[all->n++] = (region){.name = name, .at = at, .bytes = bytes, .inner = bytes, .size = {1, 1, 1}, .written = written};
}

static void add_strided(regions *all, const heed_problem *p, int which, const void *at, bool written) {
    const problem_array a = problem_array_of(p, which);
    const int64_t element = (int64_t)dtype_bytes(a.dtype);
    if (at == NULL || p->batch == 0 || a.tokens == 0) return;
    region r = {.name = a.name, .at = at, .inner = a.channels * element, .written = written,
                .size = {p->batch, a.heads, a.tokens},
                .stride = {a.stride.batch * element, a.stride.head * element, a.stride.token * element}};
    r.bytes = r.inner;
    for (int i = 0; i < 3; i++) r.bytes += (r.size[i] - 1) * r.stride[i];
    all->list[all->n++] = r;
}

// With a period: what lies inside one period, from its start; -1 when the places do not repeat with it.
static int64_t reach_in_period(const region *r, int64_t period) {
    int64_t reach = r->inner;
    for (int i = 0; i < 3; i++) {
        if (r->size[i] == 1) continue;
        if (r->stride[i] < period) reach += (r->size[i] - 1) * r->stride[i];
        else if (r->stride[i] % period != 0) return -1;
    }
    return reach <= period ? reach : -1;
}

// Two arrays whose spans overlap may still interleave, as q, k and v do in one fused (batch, token, 3 x width) array: then
// both repeat with one of their strides, and within it they lie apart.
static bool interleaved(const region *a, const region *b) {
    for (int i = 0; i < 6; i++) {
        const int64_t period = i < 3 ? a->stride[i] : b->stride[i - 3];
        if (period <= 0) continue;
        const int64_t reach_a = reach_in_period(a, period), reach_b = reach_in_period(b, period);
        if (reach_a < 0 || reach_b < 0) continue;
        const int64_t apart = ((b->at - a->at) % period + period) % period;
        if (apart >= reach_a && apart + reach_b <= period) return true;
    }
    return false;
}

static heed_status check_overlap(const regions *all, heed_error *error) {
    for (int i = 0; i < all->n; i++)
        for (int j = 0; j < i; j++) {
            const region *a = &all->list[i], *b = &all->list[j];
            if ((!a->written && !b->written) || a->at + a->bytes <= b->at || b->at + b->bytes <= a->at || interleaved(a, b))
                continue;
            return error_set(error, HEED_INVALID, "%s overlaps %s; what is written may overlap nothing",
                             a->written ? a->name : b->name, a->written ? b->name : a->name);
        }
    return HEED_OK;
}

static heed_status check_given(const heed_problem *p, const heed_args *a, heed_error *error) {
    const struct { const char *name, *flag; unsigned bit; const void *given; } optional[] = {
        {"sinks", "HEED_SINKS", HEED_SINKS, a->sinks},
        {"slopes", "HEED_SLOPES", HEED_SLOPES, a->slopes},
        {"bias", "HEED_BIAS", HEED_BIAS, a->bias},
        {"mask", "HEED_MASK", HEED_MASK, a->mask},
        {"key_range", "HEED_KEY_RANGE", HEED_KEY_RANGE, a->key_range},
        {"key_count", "HEED_KEY_COUNT", HEED_KEY_COUNT, a->key_count},
        {"offsets", "HEED_OFFSETS", HEED_OFFSETS, a->offsets},
        {"documents", "HEED_DOCUMENTS", HEED_DOCUMENTS, a->documents},
    };
    for (size_t i = 0; i < sizeof optional / sizeof *optional; i++) {
        const bool with = (p->with & optional[i].bit) != 0;
        const bool needed = with && !(p->keys == 0 && optional[i].bit & (HEED_BIAS | HEED_MASK | HEED_DOCUMENTS));
        INVALID_UNLESS(!needed || optional[i].given != NULL, "%s is NULL, but the problem has %s", optional[i].name,
                       optional[i].flag);
        INVALID_UNLESS(with || optional[i].given == NULL, "%s is given, but the problem has no %s", optional[i].name,
                       optional[i].flag);
    }
    INVALID_UNLESS(a->dsinks == NULL || p->with & HEED_SINKS, "dsinks is given, but the problem has no HEED_SINKS");
    INVALID_UNLESS(a->dslopes == NULL || p->with & HEED_SLOPES, "dslopes is given, but the problem has no HEED_SLOPES");
    INVALID_UNLESS(a->dbias == NULL || p->with & HEED_BIAS, "dbias is given, but the problem has no HEED_BIAS");
    return HEED_OK;
}

static heed_status check_pointer(const char *name, const void *at, size_t alignment, bool needed, heed_error *error) {
    INVALID_UNLESS(!needed || at != NULL, "%s is NULL", name);
    INVALID_UNLESS((uintptr_t)at % alignment == 0, "%s is not aligned to its elements of %zu bytes", name, alignment);
    return HEED_OK;
}

typedef struct { const char *name; const void *at; size_t alignment; bool needed; } pointer;

static heed_status check_pointers(const pointer *list, size_t n, heed_error *error) {
    for (size_t i = 0; i < n; i++) {
        const heed_status status = check_pointer(list[i].name, list[i].at, list[i].alignment, list[i].needed, error);
        if (status != HEED_OK) return status;
    }
    return HEED_OK;
}

static heed_status check_tables(const heed_problem *p, const heed_args *a, heed_error *error) {
    const pointer tables[] = {
        {"sinks", a->sinks, 4, false}, {"slopes", a->slopes, 4, false}, {"bias", a->bias, dtype_bytes(p->bias_dtype), false},
        {"key_range", a->key_range, 4, false}, {"key_count", a->key_count, 4, false}, {"offsets", a->offsets, 4, false},
        {"documents", a->documents, 4, false},
    };
    return check_pointers(tables, sizeof tables / sizeof *tables, error);
}

static heed_status check_tensors(const heed_problem *p, const heed_args *a, heed_error *error) {
    const bool backward = p->pass == HEED_BACKWARD, keys = p->keys > 0, rows = p->queries > 0;
    const size_t q = dtype_bytes(p->dtype), kv = dtype_bytes(p->kv_dtype);
    const pointer tensors[] = {
        {"q", a->q, q, rows}, {"k", a->k, kv, keys}, {"v", a->v, kv, keys}, {"out", a->out, q, rows},
        {"lse", a->lse, 4, backward && rows}, {"dout", a->dout, q, backward && rows}, {"dq", a->dq, q, backward && rows},
        {"dk", a->dk, kv, backward && keys}, {"dv", a->dv, kv, backward && keys},
        {"dbias", a->dbias, dtype_bytes(p->bias_dtype), false}, {"dsinks", a->dsinks, 4, false}, {"dslopes", a->dslopes, 4, false},
    };
    return check_pointers(tensors, sizeof tensors / sizeof *tensors, error);
}

static heed_status check_workspace(const heed_args *a, size_t bytes, heed_error *error) {
    INVALID_UNLESS(a->workspace_bytes >= bytes, "workspace_bytes is %zu; this plan needs %zu", a->workspace_bytes, bytes);
    INVALID_UNLESS(bytes == 0 || a->workspace != NULL, "workspace is NULL; this plan needs %zu bytes", bytes);
    INVALID_UNLESS((uintptr_t)a->workspace % MEMORY_LINE == 0, "workspace is not aligned to %d bytes", MEMORY_LINE);
    return HEED_OK;
}

static heed_status check_sequence(const heed_problem *p, const heed_args *a, int64_t b, heed_error *error) {
    const long long at = (long long)b;
    if (p->with & HEED_KEY_COUNT)
        INVALID_UNLESS(a->key_count[b] >= 0 && a->key_count[b] <= p->keys,
                       "key_count[%lld] is %d; it must be 0 to keys, which is %lld", at, a->key_count[b], (long long)p->keys);
    const edit_sequence s = edit_begin(p, a, b);
    if (p->with & HEED_KEY_RANGE) {
        const int32_t first = a->key_range[2 * b], end = a->key_range[2 * b + 1];
        INVALID_UNLESS(first >= 0 && first <= end && end <= p->keys,
                       "key_range[%lld] is [%d, %d); it must be ordered, inside 0 to keys, which is %lld", at, first, end,
                       (long long)p->keys);
    }
    if (p->with & HEED_DOCUMENTS && p->queries > 0)
        INVALID_UNLESS(s.offset >= 0 && p->queries + s.offset <= s.n_key,
                       "documents: rows of sequence %lld stand at positions %lld to %lld, outside its %lld keys", at,
                       (long long)s.offset, (long long)(s.offset + p->queries - 1), (long long)s.n_key);
    return HEED_OK;
}

static regions regions_of(const heed_problem *p, const heed_args *a, size_t workspace_bytes) {
    const bool backward = p->pass == HEED_BACKWARD;
    const int64_t rows = p->batch * p->heads * p->queries, B = p->batch, H = p->heads;
    regions all = {.n = 0};
    add_strided(&all, p, PROBLEM_Q, a->q, false);
    add_strided(&all, p, PROBLEM_K, a->k, false);
    add_strided(&all, p, PROBLEM_V, a->v, false);
    add_strided(&all, p, PROBLEM_OUT, a->out, !backward);
    add_plain(&all, "lse", a->lse, rows * 4, !backward);
    add_plain(&all, "sinks", a->sinks, H * 4, false);
    add_plain(&all, "slopes", a->slopes, H * 4, false);
    add_plain(&all, "key_range", a->key_range, B * 8, false);
    add_plain(&all, "key_count", a->key_count, B * 4, false);
    add_plain(&all, "offsets", a->offsets, B * 4, false);
    add_plain(&all, "documents", a->documents, B * p->keys * 4, false);
    const struct { const char *name; const void *at; heed_grid_stride s; int64_t element; unsigned bit; } grids[] = {
        {"bias", a->bias, p->bias, (int64_t)dtype_bytes(p->bias_dtype), HEED_BIAS}, {"mask", a->mask, p->bool_mask, 1, HEED_MASK}};
    for (int i = 0; i < 2; i++)
        if (p->with & grids[i].bit && p->keys > 0 && p->queries > 0) {
            const heed_grid_stride s = grids[i].s;
            const int64_t last = (B - 1) * s.batch + (H - 1) * s.head + (p->queries - 1) * s.query + (p->keys - 1) * s.key;
            add_plain(&all, grids[i].name, grids[i].at, (last + 1) * grids[i].element, false);
        }
    add_plain(&all, "workspace", a->workspace, (int64_t)workspace_bytes, true);
    if (!backward) return all;
    add_strided(&all, p, PROBLEM_DOUT, a->dout, false);
    add_strided(&all, p, PROBLEM_DQ, a->dq, true);
    add_strided(&all, p, PROBLEM_DK, a->dk, true);
    add_strided(&all, p, PROBLEM_DV, a->dv, true);
    add_plain(&all, "dsinks", a->dsinks, H * 4, true);
    add_plain(&all, "dslopes", a->dslopes, H * 4, true);
    if (p->with & HEED_BIAS)
        add_plain(&all, "dbias", a->dbias, problem_grid_size(p, p->bias_axes) * (int64_t)dtype_bytes(p->bias_dtype), true);
    return all;
}

// Everything but which tensors there must be.
static heed_status check_rest(const heed_problem *p, const heed_args *a, size_t workspace_bytes, heed_error *error) {
    heed_status status;
    if ((status = check_given(p, a, error)) != HEED_OK) return status;
    if ((status = check_tables(p, a, error)) != HEED_OK) return status;
    if ((status = check_workspace(a, workspace_bytes, error)) != HEED_OK) return status;
    for (int64_t b = 0; b < p->batch; b++)
        if ((status = check_sequence(p, a, b, error)) != HEED_OK) return status;
    return HEED_OK;
}

heed_status problem_check_args(const heed_problem *p, const heed_args *a, size_t workspace_bytes, heed_error *error) {
    INVALID_UNLESS(a != NULL, "args is NULL");
    heed_status status;
    if (p->batch == 0 || (p->queries == 0 && p->pass == HEED_FORWARD)) return HEED_OK;    // nothing is read or written
    if ((status = check_tensors(p, a, error)) != HEED_OK) return status;
    if ((status = check_rest(p, a, workspace_bytes, error)) != HEED_OK) return status;
    const regions all = regions_of(p, a, workspace_bytes);
    return check_overlap(&all, error);
}

heed_status problem_check_reading(const heed_problem *p, const heed_args *args, bool lse, size_t workspace_bytes,
                                  const problem_memory *written, int n_written, heed_error *error) {
    INVALID_UNLESS(args != NULL, "args is NULL");
    if (p->batch == 0 || p->queries == 0) return HEED_OK;
    heed_problem reading = *p;
    reading.pass = HEED_BACKWARD;    // where out and lse are read
    heed_args a = *args;
    a.v = a.dout = NULL;
    a.out = a.dq = a.dk = a.dv = a.dbias = NULL;
    a.dsinks = a.dslopes = NULL;
    const pointer tensors[] = {{"q", a.q, dtype_bytes(p->dtype), true},
                               {"k", a.k, dtype_bytes(p->kv_dtype), p->keys > 0},
                               {"lse", a.lse, 4, lse}};
    heed_status status;
    if ((status = check_pointers(tensors, sizeof tensors / sizeof *tensors, error)) != HEED_OK) return status;
    if ((status = check_rest(&reading, &a, workspace_bytes, error)) != HEED_OK) return status;
    regions all = regions_of(&reading, &a, workspace_bytes);
    for (int i = 0; i < n_written; i++) add_plain(&all, written[i].name, written[i].at, written[i].bytes, true);
    return check_overlap(&all, error);
}
