// SPDX-License-Identifier: Apache-2.0
// The reference's gradients against central differences of the reference, in double: every input array is f32, so inputs are
// moved by steps that f32 can hold, and the difference is divided by the step really taken.
#include "compare/check.h"
#include "core/problem.h"
#include "test.h"

#include <math.h>
#include <string.h>

typedef struct { const heed_problem *p; const heed_args *a; void *scratch; double *out; } function;

// sum over dout * out: its gradients are what backward computes.
static double objective(const function *f) {
    heed_problem forward = *f->p;
    forward.pass = HEED_FORWARD;
    ref_compute(&forward, f->a, &(ref_results){.out = f->out}, f->scratch);
    const float *dout = f->a->dout;
    double sum = 0;
    for (int64_t i = 0; i < f->p->batch * f->p->heads * f->p->queries * f->p->value_channels; i++)
        if (dout[i] != 0) sum += (double)dout[i] * f->out[i];
    return sum;
}

static double moved(const function *f, float *at) {
    const float here = *at, up = here + 0x1p-9f, down = here - 0x1p-9f;
    *at = up;
    const double above = objective(f);
    *at = down;
    const double below = objective(f);
    *at = here;
    return (above - below) / ((double)up - (double)down);
}

static void check_array(const function *f, const char *text, const char *name, const void *array, const double *gradient,
                        int64_t n) {
    if (gradient == NULL) return;
    double most = 1e-3;
    for (int64_t i = 0; i < n; i++) most = fmax(most, fabs(gradient[i]));
    for (int64_t i = 0; i < n; i += 1 + n / 40) {
        float *at = (float *)(uintptr_t)array + i;
        if (!isfinite(*at)) {
            CHECK(gradient[i] == 0, "%s: %s[%lld] is hidden, yet its gradient is %g", text, name, (long long)i, gradient[i]);
            continue;
        }
        const double difference = moved(f, at);
        CHECK(fabs(difference - gradient[i]) <= 2e-4 * most, "%s: %s[%lld] is %.9g, differences say %.9g", text, name, (long long)i,
              gradient[i], difference);
    }
}

static void check_gradients(const char *text) {
    problem_line line;
    heed_error error;
    check_case c;
    heed_status status = problem_line_parse(&line, text, &error);
    if (status == HEED_OK) status = check_begin(&c, &line, false, &error);
    CHECK(status == HEED_OK, "%s: %s", text, error.text);
    if (status != HEED_OK) return;
    const heed_problem *p = &c.data.problem;
    const heed_args *a = &c.data.args;
    const int64_t queries = p->batch * p->heads * p->queries, keys = p->batch * p->kv_heads * p->keys;
    double *out = calloc((size_t)(queries * p->value_channels + 1), sizeof *out);
    const function f = {p, a, c.memory, out};
    const ref_results *r = &c.reference;
    check_array(&f, text, "q", a->q, r->dq, queries * p->channels);
    check_array(&f, text, "k", a->k, r->dk, keys * p->channels);
    check_array(&f, text, "v", a->v, r->dv, keys * p->value_channels);
    if (p->with & HEED_BIAS) check_array(&f, text, "bias", a->bias, r->dbias, problem_grid_size(p, p->bias_axes));
    if (p->with & HEED_SINKS) check_array(&f, text, "sinks", a->sinks, r->dsinks, p->heads);
    if (p->with & HEED_SLOPES) check_array(&f, text, "slopes", a->slopes, r->dslopes, p->heads);
    free(out);
    check_end(&c);
}

int main(void) {
    static const char *const texts[] = {
        "b1 h1 q5 d4 grad",
        "b2 h4/2 q9 k12 d8/5 causal grad",
        "b1 h2 q8 d4 causal sink grad",
        "b1 h2 q8 d4 window:2 softcap:2 grad",
        "b1 h2 q8 d4 causal alibi grad",
        "b2 h2 q6 d4 bias grad",
        "b2 h2 q6 d4 bias:h,k grad",
        "b2 h2 q6 d4 softcap:1.5 alibi bias:q,k bias-first sink grad",
        "b2 h2 q7 d4 mask pad:left grad",
        "b3 h2 q7 d4 causal pad:left empty:mean grad seed:3",
        "b3 h2 q7 d4 causal pad:left empty:mean_causal grad seed:3",
        "b1 h2 q12 d4 docs causal grad",
        "b2 h2 q6 k9 d4 count:rand sink grad",
        "b1 h1 q6 d4 scale:1.7 prefix:3 grad",
        "b2 h3 q5 d6 pad:right sink grad",
        "b2 h4/2 q9 k12 d8/5 causal dropout:0.4 grad",
        "b2 h2 q6 d4 softcap:1.5 alibi bias:q,k bias-first sink dropout:0.3 grad seed:5",
        "b3 h2 q7 d4 causal pad:left empty:mean dropout:0.5 grad seed:3",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) check_gradients(texts[i]);
    return test_end();
}
