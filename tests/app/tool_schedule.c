// SPDX-License-Identifier: Apache-2.0
// What tests/python/test_train_schedules.py drives: the rate of each step of a run. Not a test itself.
//   KIND STEPS WARMUP RATE KWARGS [VALUE ...]    with values: an evaluation after each step
#include "train/schedule.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int n, char **word) {
    if (n < 6) return 64;
    train_options o = {.warmup_steps = atoll(word[3]), .learning_rate = atof(word[4]), .lr_scheduler_kwargs = word[5]};
    while (schedule_names[o.lr_scheduler_type] != NULL && strcmp(schedule_names[o.lr_scheduler_type], word[1]) != 0)
        o.lr_scheduler_type++;
    schedule s;
    heed_error error;
    if (schedule_create(&s, &o, atoll(word[2]), &error) != HEED_OK) return fprintf(stderr, "%s\n", error.text), 1;
    for (int64_t step = 0; step < s.steps; step++) {
        printf("%.17g\n", schedule_rate(&s, step));
        if (6 + step < n) schedule_evaluated(&s, atof(word[6 + step]));
    }
    return 0;
}
