// SPDX-License-Identifier: Apache-2.0
// AdamW, gradient norm and clipping against double, and the same bits for any number of threads.
#include "../test.h"

#include "base/dtype.h"
#include "base/random.h"
#include "nn/adamw.h"
#include "nn/reference.h"

#include <math.h>
#include <string.h>

enum { LONG = 150001, SHORT = 37, STEPS = 5 };
static uint16_t rounded[LONG];
static float value[2][LONG + SHORT], grad[LONG + SHORT], m[2][LONG + SHORT], v[2][LONG + SHORT];
static double wide_value[LONG + SHORT], wide_m[LONG + SHORT], wide_v[LONG + SHORT];

int main(void) {
    engine e[2];
    heed_error error;
    for (int i = 0; i < 2; i++) CHECK(engine_create(&e[i], i + 1, NULL, &error) == HEED_OK, "%s", error.text);
    random_stream draws = random_of(3, 0);
    for (int i = 0; i < LONG + SHORT; i++) wide_value[i] = value[0][i] = value[1][i] = (float)random_normal(&draws);
    const adamw o = {.learning_rate = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .weight_decay = 0.1};
    for (int64_t step = 1; step <= STEPS; step++) {
        double squares = 0;
        for (int i = 0; i < LONG + SHORT; i++) {
            grad[i] = (float)(random_normal(&draws) * (i % 7 == 0 ? 1e-6 : 1));
            squares += (double)grad[i] * (double)grad[i];
        }
        double norm[2];
        for (int t = 0; t < 2; t++) {
            const parameter p[] = {
                {.name = "matrix", .shape = {LONG}, .dims = 1, .value = value[t], .grad = grad,
                 .rounded = t == 0 ? rounded : NULL, .decay = true},
                {.name = "bias", .shape = {SHORT}, .dims = 1, .value = value[t] + LONG, .grad = grad + LONG, .decay = false},
            };
            float *const ms[] = {m[t], m[t] + LONG}, *const vs[] = {v[t], v[t] + LONG};
            norm[t] = gradient_norm(&e[t], p, 2);
            adamw_step(&e[t], &o, step, gradient_clip_scale(norm[t], 100.0), p, 2, ms, vs);
        }
        CHECK(fabs(norm[0] - sqrt(squares)) <= 1e-6 * norm[0], "norm %.9g, reference %.9g", norm[0], sqrt(squares));
        CHECK(memcmp(&norm[0], &norm[1], sizeof norm[0]) == 0, "the norm depends on the threads");
        const double scale = 100.0 / (sqrt(squares) + 1e-6);
        for (int i = 0; i < LONG + SHORT; i++)
            reference_adamw(o.learning_rate, o.beta1, o.beta2, o.epsilon, i < LONG ? o.weight_decay : 0, step,
                            (double)grad[i] * scale,
                            &wide_value[i], &wide_m[i], &wide_v[i]);
    }
    CHECK(memcmp(value[0], value[1], sizeof value[0]) == 0, "the values depend on the threads");
    for (int i = 0; i < LONG; i++)
        CHECK(rounded[i] == bf16_of_f32(value[0][i]), "element %d in bf16 is not its value rounded", i);
    double worst = 0;
    for (int i = 0; i < LONG + SHORT; i++) worst = fmax(worst,
                                                        fabs((double)value[0][i] - wide_value[i]) / (1 + fabs(wide_value[i])));
    CHECK(worst <= 5e-7, "values are off by %g of 1 + |value|", worst);    // five steps, each rounded to 6e-8
    CHECK(gradient_clip_scale(0.5, 1) == 1 && gradient_clip_scale(4, 0) == 1, "a small norm or no limit must not clip");
    CHECK(fabs(gradient_clip_scale(4, 1) - 1 / (4 + 1e-6)) < 1e-15, "a norm of 4 clipped to 1 is %g", gradient_clip_scale(4, 1));
    for (int i = 0; i < 2; i++) engine_destroy(&e[i]);
    return test_end();
}
