// SPDX-License-Identifier: Apache-2.0
// f[0] * tanh(x / f[0]): scores stay inside (-cap, cap). Gemma 2 report (2024), section 2.
#include "heed/heed.h"

#include <math.h>
#include <string.h>

extern const heed_score_kind score_softcap;

static double value(const heed_score *score, heed_pos at, double x) { return score->f[0] * tanh(x / score->f[0]); }

static double slope(const heed_score *score, heed_pos at, double x) {
    const double t = tanh(x / score->f[0]);
    return 1 - t * t;
}

// e^x for 0 <= x <= 40, without a branch so that compilers vectorise it: 2^n * polynomial, relative error below 2^-23.
static inline float exp_of(float x) {
    const float shifted = x * 1.44269504f + 12582912.0f;    // 1.5 * 2^23: the sum's low bits are the rounded quotient
    const float n = shifted - 12582912.0f;
    const float r = (x - n * 0.693145752f) - n * 1.42860677e-6f;    // ln 2 in two parts, the first exact in 15 bits
    const float p = 1 + r * (1 + r * (0.5f + r * (0.166666667f + r * (0.0416666667f + r * (8.33333333e-3f + r * 1.38888889e-3f)))));
    const int32_t exponent = ((int32_t)n + 127) << 23;
    float scale;
    memcpy(&scale, &exponent, 4);
    return p * scale;
}

// cap * tanh(x / cap). Below 0.625 cap as x plus a small correction (minimax in (x / cap)^2, 4.4e-9), so that x keeps its
// accuracy; above, cap - 2 cap / (e^(2 x / cap) + 1). NaN stays NaN.
static inline float capped(float x, float cap, float inverse) {
    const float u = x * inverse, a = fabsf(u), s = u * u;
    const float series = -0.333332819f + s * (0.133314422f + s * (-0.0537397153f + s * (0.020639088f - s * 0.00570498781f)));
    const float near = x + x * (s * series);
    const float b = a < 10 ? a : 10;    // tanh(10) rounds to 1
    const float far = copysignf(cap - 2 * cap / (exp_of(2 * b) + 1), x);
    const float y = a <= 0.625f ? near : far;
    return x == x ? y : x;
}

static void tile(const heed_score *score, const heed_rect *rect, float *x, int64_t ld) {
    const float cap = (float)score->f[0], inverse = (float)(1 / score->f[0]);
    for (int64_t row = 0; row < rect->rows; row++)
        for (int64_t key = 0; key < rect->keys; key++) x[row * ld + key] = capped(x[row * ld + key], cap, inverse);
}

const heed_score_kind score_softcap = {"softcap", value, slope, tile};

heed_score heed_softcap(double cap) { return (heed_score){.kind = &score_softcap, .f = {cap}}; }
