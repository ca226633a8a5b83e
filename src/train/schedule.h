// SPDX-License-Identifier: Apache-2.0
// The learning rate as a function of the step alone, so that a resumed run needs no state for it.
#pragma once

#include "train/options.h"

typedef struct {
    schedule_kind kind;
    double peak;
    int64_t steps, warmup;    // of the whole run
} schedule;

// warmup_ratio, when above 0, wins over warmup_steps; a warm-up as long as the run is an error.
heed_status schedule_create(schedule *, const train_options *, int64_t steps, heed_error *);

// The rate of step `step`, the first being 0. The formulas are those of transformers' get_*_schedule functions:
// the first step of a warm-up has rate 0.
double schedule_rate(const schedule *, int64_t step);
