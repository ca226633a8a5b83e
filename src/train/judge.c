// SPDX-License-Identifier: Apache-2.0
#include "train/judge.h"

#include "train/progress.h"

#include <math.h>
#include <stdlib.h>

heed_status judge_create(judge *j, int64_t room, heed_error *error) {
    *j = (judge){.member = calloc((size_t)room, sizeof *j->member)};
    return j->member != NULL ? HEED_OK : error_set(error, HEED_NO_MEMORY, "no memory for what is evaluated");
}

heed_status judge_add(judge *j, const char *label, const dataset *data, row_layout layout, heed_error *error) {
    judge_member *m = &j->member[j->count];
    const heed_status status = rows_create(&m->rows, data, layout, error);
    if (status != HEED_OK) return status;
    m->label = label;
    j->count++;
    return HEED_OK;
}

void judge_free(judge *j) {
    for (int64_t i = 0; i < j->count; i++) rows_free(&j->member[i].rows);
    free(j->member);
    *j = (judge){0};
}

int64_t judge_rows(const judge *j) {
    int64_t rows = 0;
    for (int64_t i = 0; i < j->count; i++) rows += j->member[i].rows.rows;
    return rows;
}

static void add(evaluation *all, const evaluation *e) {
    const double floor = all->floor * (double)all->scored + e->floor * (double)e->scored;
    all->loss_sum += e->loss_sum;
    all->scored += e->scored;
    all->floor = floor / (double)all->scored;
    all->tokens += e->tokens;
    all->bytes += e->bytes;
    all->batches += e->batches;
    all->all_batches += e->all_batches;
    all->truncated = all->truncated || e->truncated;
    all->stopped = e->stopped;
    all->finite = e->finite;
    all->origin = e->origin;
    all->seconds += e->seconds;
}

static void measure_spread(judge *j) {
    double least = INFINITY, most = -INFINITY, sum = 0, squares = 0;
    for (int64_t i = 0; i < j->count; i++) {
        const double loss = evaluation_loss(&j->member[i].last);
        least = fmin(least, loss);
        most = fmax(most, loss);
        sum += loss;
    }
    for (int64_t i = 0; i < j->count; i++) {
        const double off = evaluation_loss(&j->member[i].last) - sum / (double)j->count;
        squares += off * off;
    }
    j->spread = most - least;
    j->deviation = sqrt(squares / (double)j->count);
}

heed_status judge_evaluate(judge *j, model *m, const evaluate_settings *settings, heed_error *error) {
    for (int64_t i = 0; i < j->count; i++) {
        evaluation *e = &j->member[i].last;
        const heed_status status = evaluate_rows(e, m, &j->member[i].rows, settings, error);
        if (status != HEED_OK) return status;
        if (i == 0) j->all = *e;
        else add(&j->all, e);
        if (j->all.stopped || !j->all.finite) return HEED_OK;
    }
    measure_spread(j);
    return HEED_OK;
}

static void member_real(json_t *object, const char *key, const char *label, double value) {
    text_string name = {0};
    text_format(&name, "%s/%s", key, label);
    if (!name.failed) json_file_set_real(object, name.text, value);
    free(name.text);
}

void judge_record(const judge *j, json_t *object) {
    evaluation_record(&j->all, object);
    if (j->count < 2) return;
    json_file_set_real(object, "eval_loss_spread", j->spread);
    json_file_set_real(object, "eval_loss_deviation", j->deviation);
    for (int64_t i = 0; i < j->count; i++) {
        const judge_member *m = &j->member[i];
        for (int k = 0; evaluation_metrics[k] != NULL; k++) {
            double value = NAN;
            evaluation_metric(&m->last, evaluation_metrics[k], &value);
            member_real(object, evaluation_metrics[k], m->label, value);
        }
    }
}

void judge_text(const judge *j, text_buffer *to) {
    evaluation_text(&j->all, to);
    if (j->count > 1)
        text_add(to, "; %lld members, their losses %.4f apart, standard deviation %.4f", (long long)j->count, j->spread,
                 j->deviation);
}
