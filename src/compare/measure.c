// SPDX-License-Identifier: Apache-2.0
#include "compare/measure.h"

#include "compare/floor_row.h"

#include <math.h>

error_tolerance error_tolerance_of(heed_dtype type) {
    switch (type) {
    case HEED_BF16: return (error_tolerance){1.6e-2, 1e-5};
    case HEED_F16: return (error_tolerance){1e-3, 1e-5};
    default: return (error_tolerance){1.3e-6, 1e-5};
    }
}

static int bin_of(double ulps) {
    int bin = 0;
    for (double edge = 0.5; bin < ULP_BINS - 2 && ulps > edge; edge = edge < 1 ? 1 : 2 * edge) bin++;
    return bin;
}

typedef struct { double ab, aa, bb, squares, sum; int64_t finite; } sums;

static void take(error_size *e, sums *s, double a, double b, int64_t at, heed_dtype type, error_tolerance by) {
    const bool equal = a == b || (isnan(a) && isnan(b)), finite = isfinite(a) && isfinite(b);
    const double d = finite ? fabs(a - b) : 0;
    const bool bad = finite ? d > by.atol + by.rtol * fabs(b) : !equal;
    if (bad && e->first_bad_index < 0) e->first_bad_index = at;
    e->mismatched += bad;
    if (!finite) {
        e->not_finite += !equal;
        e->ulps[equal ? 0 : ULP_BINS - 1]++;
        return;
    }
    e->max = fmax(e->max, d);
    e->ulps[bin_of(d / floor_ulp(type, b))]++;
    s->sum += d, s->squares += d * d;
    s->ab += a * b, s->aa += a * a, s->bb += b * b;
    s->finite++;
}

error_size error_size_of(const double *a, const double *b, int64_t n, heed_dtype type, error_tolerance by) {
    error_size e = {.first_bad_index = -1, .n = n};
    sums s = {0};
    for (int64_t i = 0; i < n; i++) take(&e, &s, a[i], b[i], i, type, by);
    if (s.finite > 0) e.mean = s.sum / (double)s.finite, e.rms = sqrt(s.squares / (double)s.finite);
    if (n > 0) e.mismatched /= (double)n;
    e.cosine = s.aa > 0 && s.bb > 0 ? s.ab / sqrt(s.aa * s.bb) : NAN;
    return e;
}
