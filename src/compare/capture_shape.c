// SPDX-License-Identifier: Apache-2.0
#include "compare/capture_shape.h"

#include "base/dtype.h"
#include "base/error.h"

#include <string.h>

int64_t capture_elements(const capture_shape *s) {
    int64_t n = 1;
    for (int i = 0; i < s->dims; i++) n *= s->extent[i];    // of a call that exists: cannot overflow
    return n;
}

static void print_shape(text_buffer *b, const tensor_view *t) {
    text_add(b, "(");
    for (int i = 0; i < t->dims; i++) text_add(b, i == 0 ? "%lld" : ", %lld", (long long)t->shape[i]);
    text_add(b, ")");
}

// Would exchanging heads and tokens make it fit?
static bool looks_exchanged(const tensor_view *t, const capture_shape *s) {
    return t->dims == 4 && s->dims == 4 && t->shape[0] == s->extent[0] && t->shape[1] == s->extent[2] &&
           t->shape[2] == s->extent[1] && t->shape[3] == s->extent[3];
}

static heed_status wrong_axis(const capture *from, const tensor_view *t, const capture_shape *s, int axis, int64_t is,
                              heed_error *error) {
    char shape[96];
    text_buffer b = {shape, sizeof shape, 0};
    print_shape(&b, t);
    return error_set(error, HEED_INVALID, "%s: %s has shape %s: its %s are %lld, but the claim needs %lld%s", from->from, t->name,
                     shape, s->axis[axis], (long long)is, (long long)s->extent[axis],
                     looks_exchanged(t, s) ? "; heads and tokens seem exchanged: (batch, head, token, channel) is read" : "");
}

heed_status capture_fit(capture_grid *g, const capture *from, const tensor_view *t, const capture_shape *s, bool broadcast,
                        heed_error *error) {
    *g = (capture_grid){.view = t, .dims = s->dims};
    for (int i = 0; i < t->dims - s->dims; i++)
        if (t->shape[i] != 1) {
            char shape[96];
            text_buffer b = {shape, sizeof shape, 0};
            print_shape(&b, t);
            return error_set(error, HEED_INVALID, "%s: %s has shape %s; the claim needs %d axes, from %s to %s", from->from,
                             t->name,
                             shape, s->dims, s->axis[0], s->axis[s->dims - 1]);
        }
    int64_t step = 1;
    for (int i = s->dims; i-- > 0;) {
        const int at = i + t->dims - s->dims;
        const int64_t is = at >= 0 ? t->shape[at] : 1;
        if (is != s->extent[i] && !(broadcast && is == 1)) return wrong_axis(from, t, s, i, is, error);
        g->extent[i] = s->extent[i];
        g->stride[i] = is == 1 ? 0 : step;
        step *= is;
    }
    return HEED_OK;
}

int64_t capture_at(const capture_grid *g, int64_t n) {
    int64_t at = 0;
    for (int i = g->dims; i-- > 0;) {
        at += n % g->extent[i] * g->stride[i];
        n /= g->extent[i];
    }
    return at;
}

double capture_real(const capture_grid *g, int64_t n) {
    const double x = tensor_value(g->view, capture_at(g, n));
    return g->view->type == TENSOR_U16 ? (double)bf16_to_f32((uint16_t)x) : x;
}

static bool is_exact(heed_dtype type, double x) {
    const float narrow = (float)x;
    if (x != x || isinf(x)) return true;
    if (type == HEED_BF16) return (double)bf16_to_f32(bf16_of_f32(narrow)) == x;
    if (type == HEED_F16) return (double)f16_to_f32(f16_of_f32(narrow)) == x;
    return (double)narrow == x;
}

heed_status capture_take(double *to, const capture *from, const tensor_view *t, const capture_shape *s, bool broadcast,
                         heed_dtype type, bool exact, heed_error *error) {
    capture_grid g;
    const heed_status status = capture_fit(&g, from, t, s, broadcast, error);
    if (status != HEED_OK) return status;
    if (!tensor_type_is_real(t->type) && !(t->type == TENSOR_U16 && type == HEED_BF16))
        return error_set(error, HEED_INVALID, "%s: %s has type %s; the claim is %s: floats are needed%s", from->from, t->name,
                         tensor_type_name(t->type), dtype_name(type),
                         t->type == TENSOR_U16 ? " (U16 stands for bf16, where the claim says bf16)" : "");
    const int64_t n = capture_elements(s);
    for (int64_t i = 0; i < n; i++) {
        to[i] = capture_real(&g, i);
        if (exact && !is_exact(type, to[i]))
            return error_set(error, HEED_INVALID, "%s: element %lld of %s is %.9g, which is no %s number, but the claim says %s: "
                             "record "
                             "the array as the call read it", from->from, (long long)capture_at(&g, i), t->name, to[i],
                             dtype_name(type), dtype_name(type));
    }
    return HEED_OK;
}
