// SPDX-License-Identifier: Apache-2.0
#include "train/evaluate.h"

#include "base/clock.h"
#include "base/memory.h"
#include "io/json.h"
#include "train/stop.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

double evaluation_loss(const evaluation *e) { return e->loss_sum / (double)e->scored; }
double evaluation_perplexity(const evaluation *e) { return exp(evaluation_loss(e)); }
double evaluation_bits_per_byte(const evaluation *e) { return e->loss_sum / log(2) / (double)e->bytes; }

const char *const evaluation_metrics[] = {"eval_loss", "perplexity", "bits_per_byte", NULL};

bool evaluation_metric(const evaluation *e, const char *name, double *value) {
    static double (*const of[])(const evaluation *) = {evaluation_loss, evaluation_perplexity, evaluation_bits_per_byte};
    const char *bare = strncmp(name, "eval_", 5) == 0 ? name + 5 : name;
    for (int i = 0; evaluation_metrics[i] != NULL; i++) {
        const char *known = evaluation_metrics[i];
        if (strcmp(bare, strncmp(known, "eval_", 5) == 0 ? known + 5 : known) != 0) continue;
        if (e != NULL) *value = of[i](e);
        return true;
    }
    return false;
}

void evaluation_record(const evaluation *e, json_t *object) {
    json_file_set_real(object, "eval_loss", evaluation_loss(e));
    json_file_set_real(object, "perplexity", evaluation_perplexity(e));
    json_file_set_real(object, "bits_per_byte", evaluation_bits_per_byte(e));
    json_object_set_new(object, "truncated", json_boolean(e->truncated));
    json_object_set_new(object, "scored_tokens", json_integer(e->scored));
    json_object_set_new(object, "batches", json_integer(e->batches));
    if (e->truncated) json_object_set_new(object, "all_batches", json_integer(e->all_batches));
    if (!isnan(e->floor)) json_file_set_real(object, "floor", e->floor);
    json_file_set_real(object, "eval_seconds", e->seconds);
}

// Bytes of the tokens the targets of a batch name.
static int64_t target_bytes(const batch *b, const int32_t *token_bytes) {
    int64_t bytes = 0;
    for (int64_t i = 0; i < b->view.rows * b->view.length; i++)
        if (b->view.target[i] >= 0) bytes += token_bytes[b->view.target[i]];
    return bytes;
}

static heed_status batch_evaluate(evaluation *e, model *m, const batch *b, const evaluate_settings *s, heed_error *error) {
    double loss = 0;
    int64_t scored = 0;
    const heed_status status = model_loss(m, &b->view, &loss, &scored, error);
    if (status != HEED_OK) return status;
    e->loss_sum += loss;
    e->scored += scored;
    e->tokens += b->tokens;
    e->bytes += target_bytes(b, s->token_bytes);
    if (isfinite(loss) && !s->search) return HEED_OK;
    const heed_status found = model_nan_origin(m, &b->view, true, &e->origin, error);
    e->finite = isfinite(loss) && !e->origin.found;
    return found;
}

heed_status evaluate_rows(evaluation *e, model *m, const row_set *set, const evaluate_settings *s, heed_error *error) {
    const double begin = clock_seconds();
    *e = (evaluation){.finite = true, .floor = NAN};
    e->all_batches = int64_ceil_div(set->rows, s->batch_size);
    const int64_t batches = s->max_batches < 0 ? e->all_batches : int64_min(s->max_batches, e->all_batches);
    e->truncated = batches < e->all_batches;
    if (!e->truncated) e->floor = rows_floor(set);
    row_pick *pick = malloc(size_mul((size_t)int64_min(s->batch_size, set->rows), sizeof *pick));
    if (pick == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for a batch of %lld rows", (long long)s->batch_size);
    batch b = {0};
    heed_status status = HEED_OK;
    for (int64_t at = 0; status == HEED_OK && e->finite && at < batches; at++) {
        e->stopped = stop_requested() != 0;
        if (e->stopped) break;
        const int64_t first = at * s->batch_size, n = int64_min(s->batch_size, set->rows - first);
        for (int64_t i = 0; i < n; i++) pick[i] = (row_pick){set, first + i};
        status = batch_fill(&b, pick, n, s->padding, error);
        if (status == HEED_OK) status = batch_evaluate(e, m, &b, s, error);
        e->batches = at + 1;
        if (s->tick != NULL) s->tick(s->context, at + 1, batches);
    }
    batch_free(&b);
    free(pick);
    e->seconds = clock_seconds() - begin;
    return status;
}
