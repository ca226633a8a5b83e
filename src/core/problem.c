// SPDX-License-Identifier: Apache-2.0
// Is it a meaningful problem? The memory of a run is args.c.
#include "core/problem.h"

#include "base/dtype.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/philox.h"
#include "core/edit.h"
#include "core/rows.h"

#include <math.h>

static heed_status check_size(const char *field, int64_t value, int64_t least, heed_error *error) {
    INVALID_UNLESS(value >= least && value <= PROBLEM_SIZE_MAX, "%s is %lld; it must be %lld to %d", field, (long long)value,
                   (long long)least, PROBLEM_SIZE_MAX);
    return HEED_OK;
}

static heed_status complete_sizes(heed_problem *p, heed_error *error) {
    heed_status status;
    if ((status = check_size("batch", p->batch, 0, error)) != HEED_OK) return status;
    if ((status = check_size("heads", p->heads, 1, error)) != HEED_OK) return status;
    if (p->kv_heads == 0) p->kv_heads = p->heads;
    if ((status = check_size("kv_heads", p->kv_heads, 1, error)) != HEED_OK) return status;
    INVALID_UNLESS(p->heads % p->kv_heads == 0, "heads is %lld, no multiple of kv_heads, which is %lld", (long long)p->heads,
                   (long long)p->kv_heads);
    if ((status = check_size("queries", p->queries, 0, error)) != HEED_OK) return status;
    if (p->keys == 0) p->keys = p->queries;
    else if (p->keys == HEED_NO_KEYS) p->keys = 0;
    if ((status = check_size("keys", p->keys, 0, error)) != HEED_OK) return status;
    if ((status = check_size("channels", p->channels, 1, error)) != HEED_OK) return status;
    if (p->value_channels == 0) p->value_channels = p->channels;
    return check_size("value_channels", p->value_channels, 1, error);
}

static heed_status complete_types(heed_problem *p, heed_error *error) {
    INVALID_UNLESS(p->dtype >= HEED_DTYPE_DEFAULT && p->dtype <= HEED_F16,
                   "dtype is %d; it must be HEED_F32, HEED_BF16 or HEED_F16", (int)p->dtype);
    INVALID_UNLESS(p->kv_dtype >= HEED_DTYPE_DEFAULT && p->kv_dtype <= HEED_INT8,
                   "kv_dtype is %d; it must be HEED_F32, HEED_BF16, HEED_F16 or HEED_INT8", (int)p->kv_dtype);
    INVALID_UNLESS(p->bias_dtype >= HEED_DTYPE_DEFAULT && p->bias_dtype <= HEED_F16,
                   "bias_dtype is %d; it must be HEED_F32, HEED_BF16 or HEED_F16", (int)p->bias_dtype);
    if (p->dtype == HEED_DTYPE_DEFAULT) p->dtype = HEED_F32;
    if (p->kv_dtype == HEED_DTYPE_DEFAULT) p->kv_dtype = p->dtype;
    if (p->bias_dtype == HEED_DTYPE_DEFAULT) p->bias_dtype = HEED_F32;
    INVALID_UNLESS(p->pass == HEED_FORWARD || p->pass == HEED_BACKWARD, "pass is %d; it must be HEED_FORWARD or HEED_BACKWARD",
                   (int)p->pass);
    INVALID_UNLESS(p->pass == HEED_FORWARD || p->kv_dtype != HEED_INT8, "kv_dtype is int8, which has no backward pass");
    return HEED_OK;
}

static heed_status complete_numbers(heed_problem *p, heed_error *error) {
    INVALID_UNLESS(p->align >= HEED_BOTTOM_RIGHT && p->align <= HEED_OFFSET,
                   "align is %d; it must be HEED_BOTTOM_RIGHT, HEED_TOP_LEFT or HEED_OFFSET", (int)p->align);
    INVALID_UNLESS(p->offset == 0 || p->align == HEED_OFFSET, "offset is %lld, but align is not HEED_OFFSET", (long long)p->offset);
    INVALID_UNLESS(p->offset >= -PROBLEM_REACH_MAX && p->offset <= PROBLEM_REACH_MAX, "offset is %lld; it must be within 2^40",
                   (long long)p->offset);
    INVALID_UNLESS(p->empty_row >= HEED_EMPTY_ZERO && p->empty_row <= HEED_EMPTY_MEAN_CAUSAL,
                   "empty_row is %d; it must be zero, nan, mean or mean_causal (0 to 3)", (int)p->empty_row);
    INVALID_UNLESS(isfinite(p->scale) && fabs(p->scale) < 0x1p100, "scale is %g; it must be finite, below 2^100", p->scale);
    if (p->scale == 0) p->scale = 1 / sqrt((double)p->channels);
    INVALID_UNLESS(philox_can_drop(p->dropout), "dropout is %.17g; it must be at least 0 and at most 1 - 2^-32", p->dropout);
    INVALID_UNLESS(p->page_size >= 0 && p->page_count >= 0 && (p->page_size > 0) == (p->page_count > 0),
                   "page_size is %lld and page_count %lld; both must be positive, or both 0", (long long)p->page_size,
                   (long long)p->page_count);
    const unsigned known = HEED_SINKS | HEED_SLOPES | HEED_BIAS | HEED_MASK | HEED_KEY_RANGE | HEED_KEY_COUNT | HEED_OFFSETS |
                           HEED_DOCUMENTS | HEED_BIAS_FIRST;
    INVALID_UNLESS((p->with & ~known) == 0, "with is 0x%x; bits beyond 0x%x have no meaning", p->with, known);
    INVALID_UNLESS(!(p->with & HEED_OFFSETS) || (p->align == HEED_OFFSET && p->offset == 0),
                   "with has HEED_OFFSETS: align must be HEED_OFFSET and offset 0");
    INVALID_UNLESS(!(p->with & HEED_BIAS_FIRST) || p->with & (HEED_SLOPES | HEED_BIAS),
                   "with has HEED_BIAS_FIRST, but neither HEED_BIAS nor HEED_SLOPES");
    return HEED_OK;
}

static heed_status check_mask(const heed_problem *p, const heed_mask *mask, heed_error *error) {
    INVALID_UNLESS(mask->kind->name != NULL && mask->kind->visible != NULL, "a mask's kind has no name or no `visible` function");
    INVALID_UNLESS(mask->kind->axes <= HEED_AXES_ALL, "mask %.60s: axes is %u; it must be a sum of HEED_AXIS_*", mask->kind->name,
                   mask->kind->axes);
    const mask_row *row = mask_row_of(mask->kind);
    for (int i = 0; row != NULL && i < row->most; i++)
        INVALID_UNLESS(mask->i[i] >= row->lowest && mask->i[i] <= PROBLEM_REACH_MAX,
                       "mask %s: number %d is %lld; it must be %lld to 2^40", row->name, i + 1, (long long)mask->i[i],
                       (long long)row->lowest);
    return HEED_OK;
}

static heed_status check_score(const heed_problem *p, const heed_score *score, heed_error *error) {
    INVALID_UNLESS(score->kind->name != NULL && score->kind->value != NULL,
                   "a score function's kind has no name or no `value` function");
    INVALID_UNLESS(p->pass == HEED_FORWARD || score->kind->slope != NULL,
                   "score function %s has no `slope`, so the problem has no backward pass", score->kind->name);
    const score_row *row = score_row_of(score->kind);
    for (int i = 0; row != NULL && i < row->most; i++)
        INVALID_UNLESS(isfinite(score->f[i]) && score->f[i] >= 0x1p-60 && score->f[i] <= 0x1p60,
                       "score function %s: number %d is %g; it must be positive, 2^-60 to 2^60", row->name, i + 1, score->f[i]);
    return HEED_OK;
}

static heed_status check_edits(const heed_problem *p, heed_error *error) {
    heed_status status;
    const heed_mask_kind *const causal = heed_causal().kind, *const prefix = heed_prefix(0).kind;
    bool has_causal = false, has_prefix = false;
    for (int i = 0; i < HEED_EDITS && p->mask[i].kind != NULL; i++) {
        if ((status = check_mask(p, &p->mask[i], error)) != HEED_OK) return status;
        has_causal |= p->mask[i].kind == causal;
        has_prefix |= p->mask[i].kind == prefix;
    }
    INVALID_UNLESS(!has_causal || !has_prefix, "masks causal and prefix together: prefix contains causal; give prefix alone");
    for (int i = 0; i < HEED_EDITS && p->score[i].kind != NULL; i++)
        if ((status = check_score(p, &p->score[i], error)) != HEED_OK) return status;
    for (int i = 1; i < HEED_EDITS; i++) {
        INVALID_UNLESS(p->mask[i].kind == NULL || p->mask[i - 1].kind != NULL, "mask[%d] follows an empty mask[%d]", i, i - 1);
        INVALID_UNLESS(p->score[i].kind == NULL || p->score[i - 1].kind != NULL, "score[%d] follows an empty score[%d]", i, i - 1);
    }
    return HEED_OK;
}

// ---- Strides ------------------------------------------------------------------------------------------------------

problem_array problem_array_of(const heed_problem *p, int which) {
    const int64_t Hq = p->heads, Hkv = p->kv_heads, D = p->channels, Dv = p->value_channels;
    switch (which) {
    case PROBLEM_Q: return (problem_array){"q", p->dtype, p->q, Hq, p->queries, D};
    case PROBLEM_K: return (problem_array){"k", p->kv_dtype, p->k, Hkv, p->keys, D};
    case PROBLEM_V: return (problem_array){"v", p->kv_dtype, p->v, Hkv, p->keys, Dv};
    case PROBLEM_OUT: return (problem_array){"out", p->dtype, p->out, Hq, p->queries, Dv};
    case PROBLEM_DOUT: return (problem_array){"dout", p->dtype, p->dout, Hq, p->queries, Dv};
    case PROBLEM_DQ: return (problem_array){"dq", p->dtype, p->dq, Hq, p->queries, D};
    case PROBLEM_DK: return (problem_array){"dk", p->kv_dtype, p->dk, Hkv, p->keys, D};
    default: return (problem_array){"dv", p->kv_dtype, p->dv, Hkv, p->keys, Dv};
    }
}

static heed_stride *stride_of(heed_problem *p, int which) {
    heed_stride *const strides[] = {&p->q, &p->k, &p->v, &p->out, &p->dout, &p->dq, &p->dk, &p->dv};
    return strides[which];
}

// Elements from the first to one past the last; -1 when that overflows.
static int64_t span_of(int64_t batch, problem_array a) {
    const int64_t size[] = {batch, a.heads, a.tokens}, stride[] = {a.stride.batch, a.stride.head, a.stride.token};
    int64_t span = a.channels;
    for (int i = 0; i < 3; i++) {
        if (size[i] == 0) return 0;
        int64_t step;
        if (!int64_mul(size[i] - 1, stride[i], &step) || __builtin_add_overflow(span, step, &span)) return -1;
    }
    return span <= INT64_MAX / 8 ? span : -1;
}

// Do two places of an output share memory? Each stride must step over all that the smaller ones reach.
static bool rows_disjoint(int64_t batch, problem_array a) {
    int64_t size[] = {batch, a.heads, a.tokens}, stride[] = {a.stride.batch, a.stride.head, a.stride.token};
    int64_t reach = a.channels;
    if (a.tokens == 0) return true;
    for (int done = 0; done < 3; done++) {
        int next = -1;
        for (int i = 0; i < 3; i++)
            if (size[i] > 1 && (next < 0 || stride[i] < stride[next])) next = i;
        if (next < 0) return true;
        if (stride[next] < reach) return false;
        reach += (size[next] - 1) * stride[next];
        size[next] = 1;
    }
    return true;
}

static heed_status complete_stride(heed_problem *p, int which, heed_error *error) {
    heed_stride *stride = stride_of(p, which);
    problem_array a = problem_array_of(p, which);
    const bool dense = stride->batch == 0 && stride->head == 0 && stride->token == 0;
    if (dense) {
        int64_t head, batch;
        INVALID_UNLESS(int64_mul(a.tokens, a.channels, &head) && int64_mul(head, a.heads, &batch), "%s has too many elements",
                       a.name);
        *stride = a.stride = (heed_stride){batch, head, a.channels};
    }
    INVALID_UNLESS(stride->batch >= 0 && stride->head >= 0 && stride->token >= 0,
                   "strides of %s are %lld, %lld, %lld; they must not be negative", a.name, (long long)stride->batch,
                   (long long)stride->head, (long long)stride->token);
    INVALID_UNLESS(span_of(p->batch, a) >= 0, "%s reaches too far: its sizes and strides overflow 64 bits", a.name);
    INVALID_UNLESS(dense || which == PROBLEM_DOUT || which < PROBLEM_OUT || rows_disjoint(p->batch, a),
                   "strides of %s are %lld, %lld, %lld: its rows overlap, but it is written", a.name, (long long)stride->batch,
                   (long long)stride->head, (long long)stride->token);
    return HEED_OK;
}

static void grid_sizes(const heed_problem *p, unsigned axes, int64_t size[4]) {
    size[0] = axes & HEED_AXIS_BATCH ? p->batch : 1;
    size[1] = axes & HEED_AXIS_HEAD ? p->heads : 1;
    size[2] = axes & HEED_AXIS_QUERY ? p->queries : 1;
    size[3] = axes & HEED_AXIS_KEY ? p->keys : 1;
}

int64_t problem_grid_size(const heed_problem *p, unsigned axes) {
    int64_t size[4];
    grid_sizes(p, axes, size);
    return size[0] * size[1] * size[2] * size[3];
}

heed_grid_stride problem_grid_dense(const heed_problem *p, unsigned axes) {
    int64_t size[4];
    grid_sizes(p, axes, size);
    return (heed_grid_stride){
        .batch = axes & HEED_AXIS_BATCH ? size[1] * size[2] * size[3] : 0,
        .head = axes & HEED_AXIS_HEAD ? size[2] * size[3] : 0,
        .query = axes & HEED_AXIS_QUERY ? size[3] : 0,
        .key = axes & HEED_AXIS_KEY ? 1 : 0,
    };
}

// A bias or bool mask: dense when no stride is given; broadcast axes have stride 0.
static heed_status complete_grid(const heed_problem *p, const char *name, heed_grid_stride *s, unsigned *axes, heed_error *error) {
    INVALID_UNLESS(*axes <= HEED_AXES_ALL, "%s_axes is %u; it must be a sum of HEED_AXIS_*", name, *axes);
    if (*axes == 0) *axes = HEED_AXES_ALL;
    int64_t size[4], elements = 1, span = 1;
    grid_sizes(p, *axes, size);
    for (int i = 0; i < 4; i++)
        INVALID_UNLESS(int64_mul(elements, size[i], &elements) && elements < INT64_MAX / 8, "%s has too many elements", name);
    if (s->batch == 0 && s->head == 0 && s->query == 0 && s->key == 0) *s = problem_grid_dense(p, *axes);
    const int64_t stride[] = {s->batch, s->head, s->query, s->key};
    for (int i = 0; i < 4; i++) {
        int64_t step;
        INVALID_UNLESS(stride[i] >= 0, "a stride of %s is %lld; it must not be negative", name, (long long)stride[i]);
        INVALID_UNLESS(stride[i] == 0 || *axes & 1u << i, "%s has a stride along an axis that %s_axes leaves out", name, name);
        INVALID_UNLESS(int64_mul(int64_max(size[i] - 1, 0), stride[i], &step) && !__builtin_add_overflow(span, step, &span) &&
                           span < INT64_MAX / 8, "%s reaches too far: its sizes and strides overflow 64 bits", name);
    }
    return HEED_OK;
}

heed_status problem_complete(const heed_problem *problem, heed_problem *complete, heed_error *error) {
    INVALID_UNLESS(problem != NULL, "problem is NULL");
    heed_problem p = *problem;
    heed_status status;
    if ((status = complete_sizes(&p, error)) != HEED_OK) return status;
    if ((status = complete_types(&p, error)) != HEED_OK) return status;
    if ((status = complete_numbers(&p, error)) != HEED_OK) return status;
    if ((status = check_edits(&p, error)) != HEED_OK) return status;
    for (int which = PROBLEM_Q; which < PROBLEM_ARRAYS; which++)
        if ((status = complete_stride(&p, which, error)) != HEED_OK) return status;
    if (p.with & HEED_BIAS && (status = complete_grid(&p, "bias", &p.bias, &p.bias_axes, error)) != HEED_OK) return status;
    if (p.with & HEED_MASK && (status = complete_grid(&p, "mask", &p.bool_mask, &p.mask_axes, error)) != HEED_OK) return status;
    *complete = p;
    return HEED_OK;
}

double problem_visible(const heed_problem *p) {
    enum { SAMPLED = 4096 };
    if (p->queries == 0) return 0;
    const edit_sequence s = edit_begin(p, NULL, 0);
    const int64_t rows = int64_min(p->queries, SAMPLED);
    double keys = 0;
    for (int64_t i = 0; i < rows; i++) {
        int64_t first, end;
        edit_key_bounds(&s, 0, i * p->queries / rows, 1, &first, &end);
        keys += (double)(end - first);
    }
    return keys / (double)rows * (double)p->queries * (double)p->batch * (double)p->heads;
}
