// SPDX-License-Identifier: Apache-2.0
// Learning rates against the formulas of transformers' schedules, and options that mean nothing together.
#include "train/schedule.h"

#include <math.h>
#include <string.h>

#include "../test.h"

static train_options usual(void) {
    return (train_options){
        .model = "gpt2-nano", .dataset = "demo", .device = "auto", .attn_implementation = "auto", .max_length = 128,
            .batch_size = 8,
        .gradient_accumulation_steps = 1, .num_train_epochs = 1, .learning_rate = 1, .eval_strategy = WHEN_EPOCH,
            .save_strategy = WHEN_STEPS,
        .eval_max_batches = -1, .save_steps = 500, .save_total_limit = 3, .logging_steps = 10,
    };
}

static double rate(int kind, int64_t steps, int64_t warmup, double ratio, int64_t step) {
    train_options o = usual();
    o.lr_scheduler_type = kind;
    o.warmup_steps = warmup;
    o.warmup_ratio = ratio;
    schedule s;
    heed_error error;
    CHECK(schedule_create(&s, &o, steps, &error) == HEED_OK, "%s", error.text);
    return schedule_rate(&s, step);
}

static void near(double got, double wanted, const char *what) { CHECK(fabs(got - wanted) < 1e-15, "%s: %.17g, not %.17g", what, got,
                                                                      wanted); }

static void rates(void) {
    near(rate(SCHEDULE_LINEAR, 10, 0, 0, 0), 1, "linear begins at the peak");
    near(rate(SCHEDULE_LINEAR, 10, 0, 0, 9), 0.1, "linear's last step");
    near(rate(SCHEDULE_LINEAR, 10, 4, 0, 0), 0, "warm-up begins at 0");
    near(rate(SCHEDULE_LINEAR, 10, 4, 0, 3), 0.75, "warm-up");
    near(rate(SCHEDULE_LINEAR, 10, 4, 0, 4), 1, "the peak after the warm-up");
    near(rate(SCHEDULE_LINEAR, 10, 4, 0, 7), 0.5, "linear after a warm-up");
    near(rate(SCHEDULE_LINEAR, 10, 0, 0.21, 1), 1.0 / 3, "a ratio is rounded up");
    near(rate(SCHEDULE_LINEAR, 10, 9, 0.1, 1), 1, "the ratio wins");
    near(rate(SCHEDULE_COSINE, 10, 2, 0, 2), 1, "cosine's peak");
    near(rate(SCHEDULE_COSINE, 10, 2, 0, 6), 0.5, "cosine's middle");
    near(rate(SCHEDULE_COSINE, 10, 2, 0, 8), 0.5 * (1 + cos(acos(-1) * 0.75)), "cosine");
    near(rate(SCHEDULE_CONSTANT, 10, 0, 0, 7), 1, "constant");
    near(rate(SCHEDULE_CONSTANT_WITH_WARMUP, 10, 4, 0, 1), 0.25, "constant's warm-up");
    near(rate(SCHEDULE_CONSTANT_WITH_WARMUP, 10, 4, 0, 9), 1, "constant after the warm-up");
    train_options o = usual();
    schedule s;
    heed_error error;
    o.warmup_steps = 10;
    CHECK(schedule_create(&s, &o, 10, &error) == HEED_INVALID && strstr(error.text, "never ends") != NULL,
          "a warm-up as long as the run");
    o.warmup_steps = 0;
    o.warmup_ratio = 1;
    CHECK(schedule_create(&s, &o, 10, &error) == HEED_INVALID && strstr(error.text, "--warmup_ratio") != NULL, "a ratio of 1");
}

// Options given besides the usual ones, as a list of names.
static bool has(const void *context, const char *name) {
    for (const char *const *given = context; *given != NULL; given++)
        if (strcmp(*given, name) == 0) return true;
    return false;
}

static heed_status settle(train_options *o, const char *const *given, option_notes *notes, heed_error *error) {
    return options_settle(o, &(options_given){given, has}, notes, error);
}

static void idle(const char *name) {
    train_options o = usual();
    option_notes notes;
    heed_error error;
    o.packing_max_length = 64;
    const heed_status status = settle(&o, (const char *const[]){name, "--eval_strategy", NULL}, &notes, &error);
    CHECK(status == HEED_INVALID && strstr(error.text, name) != NULL && strstr(error.text, "no effect") != NULL,
          "%s is a decoration", name);
}

static void combinations(void) {
    idle("--packing_max_length");
    idle("--packing_leak");
    idle("--eval_steps");
    idle("--overwrite");
    option_notes notes;
    heed_error error;
    train_options o = usual();
    o.eval_steps = 7;
    CHECK(settle(&o, (const char *const[]){"--eval_steps", NULL}, &notes, &error) == HEED_OK, "%s", error.text);
    CHECK(o.eval_strategy == WHEN_STEPS && notes.count == 1, "--eval_steps alone means steps, and says so");
    o = usual();
    o.eval_strategy = WHEN_STEPS;
    CHECK(settle(&o, (const char *const[]){"--eval_strategy", NULL}, &notes, &error) == HEED_OK && o.eval_steps == 10,
          "eval_steps is logging_steps");
    o = usual();
    o.use_flash_attention = true;
    CHECK(settle(&o, (const char *const[]){NULL}, &notes, &error) == HEED_OK, "%s", error.text);
    CHECK(strcmp(o.attn_implementation, "flash_attention_2") == 0 && notes.count == 1, "the deprecated alias");
    o.attn_implementation = "eager";
    CHECK(settle(&o, (const char *const[]){NULL}, &notes, &error) == HEED_INVALID, "the alias beside a name");
    o = usual();
    o.lr_scheduler_type = SCHEDULE_CONSTANT;
    CHECK(settle(&o, (const char *const[]){"--warmup_steps", NULL}, &notes, &error) == HEED_INVALID, "warm-up of a constant rate");
    o.lr_scheduler_type = SCHEDULE_REDUCE_LR_ON_PLATEAU;
    CHECK(settle(&o, (const char *const[]){"--warmup_steps", NULL}, &notes, &error) == HEED_INVALID, "warm-up of a plateau");
    o = usual();
    o.mode = TRAIN_RL;
    CHECK(settle(&o, (const char *const[]){NULL}, &notes, &error) == HEED_REFUSED, "a mode that is not built");
    o = usual();
    o.resume_from_checkpoint = "latest";
    CHECK(settle(&o, (const char *const[]){NULL}, &notes, &error) == HEED_INVALID, "latest of nothing");
    o = usual();
    o.device = "cuda";
    CHECK(settle(&o, (const char *const[]){NULL}, &notes, &error) == HEED_REFUSED, "a device that is not built");
    o.device = "gpu";
    CHECK(settle(&o, (const char *const[]){NULL}, &notes, &error) == HEED_INVALID, "a device nobody knows");
    o = usual();
    o.use_packing = true;
    o.packing_max_length = 256;
    CHECK(settle(&o, (const char *const[]){"--packing_max_length", NULL}, &notes, &error) == HEED_OK && o.max_length == 256,
          "pieces as long as rows");
    o.max_length = 512;
    CHECK(settle(&o, (const char *const[]){"--packing_max_length", "--max_length", NULL}, &notes, &error) == HEED_INVALID,
          "pieces longer than rows");
}

int main(void) {
    rates();
    combinations();
    return test_end();
}
