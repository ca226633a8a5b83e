// SPDX-License-Identifier: Apache-2.0
// The learning rate: for all kinds but one a function of the step alone, so that a resumed run needs no state for it.
// reduce_lr_on_plateau has a state, which a checkpoint holds.
#pragma once

#include "train/options.h"

// Of torch.optim.lr_scheduler.ReduceLROnPlateau: the rate now, the best value so far (an infinity before the first), and counts.
typedef struct { double rate, best; int64_t bad, cooldown; } plateau;

typedef struct {
    schedule_kind kind;
    double peak;
    int64_t steps, warmup;    // of the whole run
    // --lr_scheduler_kwargs, by transformers' and torch's names; each kind reads its own
    double num_cycles, lr_end, power, timescale, min_lr, min_lr_rate, factor, patience, threshold, cooldown, eps;
    bool mode_max, threshold_abs;
    plateau plateau;
} schedule;

// warmup_ratio, when above 0, wins over warmup_steps; a warm-up as long as the run is an error.
heed_status schedule_create(schedule *, const train_options *, int64_t steps, heed_error *);

// The rate of step `step`, the first being 0. The formulas are those of transformers' get_*_schedule functions:
// the first step of a warm-up has rate 0.
double schedule_rate(const schedule *, int64_t step);

// An evaluation's number, which only reduce_lr_on_plateau looks at.
void schedule_evaluated(schedule *, double value);
