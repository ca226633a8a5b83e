// SPDX-License-Identifier: Apache-2.0
#include "train/schedule.h"

#include "base/memory.h"

#include <math.h>

heed_status schedule_create(schedule *made, const train_options *o, int64_t steps, heed_error *error) {
    *made = (schedule){.kind = (schedule_kind)o->lr_scheduler_type, .peak = o->learning_rate, .steps = steps,
                       .warmup = o->warmup_steps};
    if (made->kind == SCHEDULE_CONSTANT) made->warmup = 0;
    else if (o->warmup_ratio > 0) made->warmup = (int64_t)ceil(o->warmup_ratio * (double)steps);
    if (made->warmup >= steps && made->warmup > 0)
        return error_set(error, HEED_INVALID,
                         "%s gives a warm-up of %lld steps that never ends: the run has %lld; at most %lld are allowed",
                         o->warmup_ratio > 0 ? "--warmup_ratio" : "--warmup_steps", (long long)made->warmup, (long long)steps,
                         (long long)(steps - 1));
    return HEED_OK;
}

double schedule_rate(const schedule *s, int64_t step) {
    if (step < s->warmup) return s->peak * ((double)step / (double)s->warmup);
    const int64_t rest = int64_max(1, s->steps - s->warmup);
    const double done = (double)(step - s->warmup) / (double)rest;
    switch (s->kind) {
    case SCHEDULE_LINEAR: return s->peak * fmax(0, 1 - done);
    case SCHEDULE_COSINE: return s->peak * fmax(0, 0.5 * (1 + cos(acos(-1) * done)));
    default: return s->peak;    // constant, with or without the warm-up above; options_settle refuses the others
    }
}
