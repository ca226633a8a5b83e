// SPDX-License-Identifier: Apache-2.0
#include "train/schedule.h"

#include "base/memory.h"
#include "base/text.h"
#include "io/json.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

// ---- shapes: the factor of the peak after the warm-up; `done` is the share of the rest that lies behind ----

typedef double shape(const schedule *, double done, int64_t step);

static double flat(const schedule *s, double done, int64_t step) { return 1; }

static double linear(const schedule *s, double done, int64_t step) {
    return fmax(0, (double)(s->steps - step) / (double)int64_max(1, s->steps - s->warmup));
}

static double half_cosine(double turns) { return 0.5 * (1 + cos(acos(-1) * turns)); }

static double cosine(const schedule *s, double done, int64_t step) { return fmax(0, half_cosine(s->num_cycles * 2 * done)); }

static double cosine_with_restarts(const schedule *s, double done, int64_t step) {
    return done >= 1 ? 0 : fmax(0, half_cosine(fmod(s->num_cycles * done, 1)));
}

static double polynomial(const schedule *s, double done, int64_t step) {
    if (step > s->steps) return s->lr_end / s->peak;
    return ((s->peak - s->lr_end) * pow(1 - done, s->power) + s->lr_end) / s->peak;
}

static double inverse_sqrt(const schedule *s, double done, int64_t step) {
    return 1 / sqrt(((double)step + (s->timescale - (double)s->warmup)) / s->timescale);
}

static double cosine_with_min_lr(const schedule *s, double done, int64_t step) {
    return fmax(0, half_cosine(s->num_cycles * 2 * done) * (1 - s->min_lr_rate) + s->min_lr_rate);
}

static shape *const shapes[] = {
    [SCHEDULE_LINEAR] = linear, [SCHEDULE_COSINE] = cosine, [SCHEDULE_COSINE_WITH_RESTARTS] = cosine_with_restarts,
    [SCHEDULE_POLYNOMIAL] = polynomial, [SCHEDULE_CONSTANT] = flat, [SCHEDULE_CONSTANT_WITH_WARMUP] = flat,
    [SCHEDULE_INVERSE_SQRT] = inverse_sqrt, [SCHEDULE_COSINE_WITH_MIN_LR] = cosine_with_min_lr,
};

double schedule_rate(const schedule *s, int64_t step) {
    if (s->kind == SCHEDULE_REDUCE_LR_ON_PLATEAU) return s->plateau.rate;
    if (step < s->warmup) return s->peak * ((double)step / (double)s->warmup);
    const double done = (double)(step - s->warmup) / (double)int64_max(1, s->steps - s->warmup);
    return s->peak * shapes[s->kind](s, done, step);
}

void schedule_evaluated(schedule *s, double value) {
    if (s->kind != SCHEDULE_REDUCE_LR_ON_PLATEAU) return;
    plateau *p = &s->plateau;
    const double sign = s->mode_max ? 1 : -1;
    const double bar = s->threshold_abs ? p->best + sign * s->threshold : p->best * (1 + sign * s->threshold);
    const bool better = s->mode_max ? value > bar : value < bar;
    if (better) p->best = value;
    p->bad = better ? 0 : p->bad + 1;
    if (p->cooldown > 0) {
        p->cooldown--;
        p->bad = 0;
    }
    if ((double)p->bad <= s->patience) return;
    const double next = fmax(p->rate * s->factor, s->min_lr);
    if (p->rate - next > s->eps) p->rate = next;
    p->cooldown = (int64_t)s->cooldown;
    p->bad = 0;
}

// ---- --lr_scheduler_kwargs ----

#define UNSET (-1.0)    // decided by others: timescale by the warm-up, min_lr_rate by min_lr

// What each kind takes besides the rate, transformers' and torch's defaults, and what is allowed. cosine_with_min_lr's min_lr_rate
// is needed there; here it is a tenth.
static const struct { schedule_kind kind; const char *key; size_t offset; double standard, least, most; } extras[] = {
    {SCHEDULE_COSINE, "num_cycles", offsetof(schedule, num_cycles), 0.5, 0, 1e6},
    {SCHEDULE_COSINE_WITH_RESTARTS, "num_cycles", offsetof(schedule, num_cycles), 1, 1, 1e6},
    {SCHEDULE_POLYNOMIAL, "lr_end", offsetof(schedule, lr_end), 1e-7, 0, 1e12},
    {SCHEDULE_POLYNOMIAL, "power", offsetof(schedule, power), 1, 0, 1e3},
    {SCHEDULE_INVERSE_SQRT, "timescale", offsetof(schedule, timescale), UNSET, 1, 1e15},
    {SCHEDULE_COSINE_WITH_MIN_LR, "num_cycles", offsetof(schedule, num_cycles), 0.5, 0, 1e6},
    {SCHEDULE_COSINE_WITH_MIN_LR, "min_lr", offsetof(schedule, min_lr), UNSET, 0, 1e12},
    {SCHEDULE_COSINE_WITH_MIN_LR, "min_lr_rate", offsetof(schedule, min_lr_rate), UNSET, 0, 1},
    {SCHEDULE_REDUCE_LR_ON_PLATEAU, "factor", offsetof(schedule, factor), 0.1, 0, 0.999999999},
    {SCHEDULE_REDUCE_LR_ON_PLATEAU, "patience", offsetof(schedule, patience), 10, 0, 1e15},
    {SCHEDULE_REDUCE_LR_ON_PLATEAU, "threshold", offsetof(schedule, threshold), 1e-4, 0, 1e12},
    {SCHEDULE_REDUCE_LR_ON_PLATEAU, "cooldown", offsetof(schedule, cooldown), 0, 0, 1e15},
    {SCHEDULE_REDUCE_LR_ON_PLATEAU, "min_lr", offsetof(schedule, min_lr), 0, 0, 1e12},
    {SCHEDULE_REDUCE_LR_ON_PLATEAU, "eps", offsetof(schedule, eps), 1e-8, 0, 1e12},
};
enum { EXTRAS = sizeof extras / sizeof *extras };
static const char kwargs_name[] = "--lr_scheduler_kwargs";

static bool is_known(const schedule *s, const char *key) {
    if (s->kind == SCHEDULE_REDUCE_LR_ON_PLATEAU && (strcmp(key, "mode") == 0 || strcmp(key, "threshold_mode") == 0)) return true;
    for (int i = 0; i < EXTRAS; i++)
        if (extras[i].kind == s->kind && strcmp(extras[i].key, key) == 0) return true;
    return false;
}

static heed_status refuse_unknown(const schedule *s, const char *key, heed_error *error) {
    char list[160] = "";
    text_buffer names = {list, sizeof list, 0};
    for (int i = 0; i < EXTRAS; i++)
        if (extras[i].kind == s->kind) text_add(&names, "%s%s", names.length > 0 ? ", " : "", extras[i].key);
    if (s->kind == SCHEDULE_REDUCE_LR_ON_PLATEAU) text_add(&names, ", mode, threshold_mode");
    return error_set(error, HEED_INVALID, "%s: %s takes no \"%.40s\"; it takes: %s", kwargs_name, schedule_names[s->kind], key,
                     names.length > 0 ? list : "nothing");
}

static heed_status take_extras(schedule *s, const json_t *given, heed_error *error) {
    static const char *const modes[] = {"min", "max", NULL}, *const thresholds[] = {"rel", "abs", NULL};
    const char *mode = modes[0], *threshold = thresholds[0];
    heed_status status = HEED_OK;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)given, key, value)
        if (!is_known(s, key)) return refuse_unknown(s, key, error);
    for (int i = 0; status == HEED_OK && i < EXTRAS; i++) {
        if (extras[i].kind != s->kind) continue;
        double *to = (double *)((char *)s + extras[i].offset);
        *to = extras[i].standard;
        status = json_take_real(given, kwargs_name, extras[i].key, JSON_OPTIONAL, extras[i].least, extras[i].most, to, error);
    }
    if (status == HEED_OK) status = json_take_text(given, kwargs_name, "mode", JSON_OPTIONAL, modes, &mode, error);
    if (status == HEED_OK)
        status = json_take_text(given, kwargs_name, "threshold_mode", JSON_OPTIONAL, thresholds, &threshold, error);
    s->mode_max = strcmp(mode, modes[1]) == 0;
    s->threshold_abs = strcmp(threshold, thresholds[1]) == 0;
    return status;
}

// What one extra means for another, and for the rate.
static heed_status settle_extras(schedule *s, heed_error *error) {
    if (s->kind == SCHEDULE_POLYNOMIAL && !(s->peak > s->lr_end))
        return error_set(error, HEED_INVALID, "--learning_rate is %g; the polynomial schedule needs more than its lr_end, %g (%s)",
                         s->peak, s->lr_end, kwargs_name);
    if (s->kind == SCHEDULE_INVERSE_SQRT && s->timescale == UNSET) s->timescale = s->warmup > 0 ? (double)s->warmup : 10000;
    if (s->kind != SCHEDULE_COSINE_WITH_MIN_LR) return HEED_OK;
    if (s->min_lr != UNSET && s->min_lr_rate != UNSET)
        return error_set(error, HEED_INVALID, "%s: only one of min_lr and min_lr_rate can be given", kwargs_name);
    if (s->min_lr > s->peak)
        return error_set(error, HEED_INVALID, "%s: min_lr is %g; at most --learning_rate, %g, is allowed", kwargs_name, s->min_lr,
                         s->peak);
    if (s->min_lr_rate == UNSET) s->min_lr_rate = s->min_lr == UNSET ? SCHEDULE_MIN_LR_RATE : s->peak > 0 ? s->min_lr / s->peak : 0;
    return HEED_OK;
}

heed_status schedule_create(schedule *made, const train_options *o, int64_t steps, heed_error *error) {
    *made = (schedule){.kind = (schedule_kind)o->lr_scheduler_type, .peak = o->learning_rate, .steps = steps,
                       .warmup = o->warmup_steps};
    if (made->kind == SCHEDULE_CONSTANT || made->kind == SCHEDULE_REDUCE_LR_ON_PLATEAU) made->warmup = 0;
    else if (o->warmup_ratio > 0) made->warmup = (int64_t)ceil(o->warmup_ratio * (double)steps);
    if (made->warmup >= steps && made->warmup > 0)
        return error_set(error, HEED_INVALID,
                         "%s gives a warm-up of %lld steps that never ends: the run has %lld; at most %lld are allowed",
                         o->warmup_ratio > 0 ? "--warmup_ratio" : "--warmup_steps", (long long)made->warmup, (long long)steps,
                         (long long)(steps - 1));
    json_t *given = NULL;
    const char *text = o->lr_scheduler_kwargs != NULL ? o->lr_scheduler_kwargs : "{}";
    heed_status status = json_file_parse(&given, text, strlen(text), kwargs_name, error);
    if (status == HEED_OK) status = take_extras(made, given, error);
    if (status == HEED_OK) status = settle_extras(made, error);
    json_decref(given);
    made->plateau = (plateau){.rate = made->peak, .best = made->mode_max ? -INFINITY : INFINITY};
    return status;
}
