// SPDX-License-Identifier: Apache-2.0
// heed doctor model A B: two checkpoints, or a checkpoint and what another program's model gave: weights first, then component by
// component from the embedding on. What is found is told by doctor_model_report.c.
#include "cli/doctor_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "cli/doctor.h"
#include "cli/status.h"
#include "io/cache_dir.h"
#include "io/file.h"
#include "io/tokenizer.h"

enum { TOKENS_MOST = 512 };    // scores and weights are kept in double, for all heads
static const char prompt[] = "Attention looks back at every word that came before it.";

// ---- What is read -----------------------------------------------------------------------------------------------------

static bool holds(const char *folder, const char *name) {
    char *path = file_join(folder, name);
    const bool there = path != NULL && file_exists(path);
    free(path);
    return there;
}

static bool is_capture(const char *name) {
    return file_exists(name) && (!file_is_folder(name) || !holds(name, "config.json"));
}

// b may be a model that cannot be made: its weights are compared all the same. Whatever its config asks for must be computable.
static heed_status open_models(model_findings *f, heed_error *error) {
    heed_status status = model_load(&f->model[0], f->folder[0], error);
    if (status != HEED_OK || f->folder[1] == NULL) return status;
    status = weight_map_make(&f->weights, f->folder[0], f->folder[1], error);
    if (status != HEED_OK) return status;
    heed_error why;
    status = model_load(&f->model[1], f->folder[1], &why);
    const int64_t *n = f->weights.count;
    if (status == HEED_OK || n[WEIGHT_SHAPE] + n[WEIGHT_MISSING] + n[WEIGHT_EXTRA] + n[WEIGHT_TRANSPOSED] == 0) {
        if (status != HEED_OK) *error = why;
        return status;
    }
    snprintf(f->not_walked, sizeof f->not_walked, "%s", why.text);
    return HEED_OK;
}

static void note_field(model_findings *f, const char *name, double a, double b) {
    if (a != b) snprintf(f->field[f->fields++], sizeof f->field[0], "%s: %.9g against %.9g", name, a, b);
}

static void compare_configs(model_findings *f) {
    if (f->model[1] == NULL) return;
    const model_config *a = model_config_of(f->model[0]), *b = model_config_of(f->model[1]);
    note_field(f, "n_layer", (double)a->layers, (double)b->layers);
    note_field(f, "n_head", (double)a->heads, (double)b->heads);
    note_field(f, "n_embd", (double)a->width, (double)b->width);
    note_field(f, "n_inner", (double)a->inner, (double)b->inner);
    note_field(f, "vocab_size", (double)a->vocabulary, (double)b->vocabulary);
    note_field(f, "n_positions", (double)a->positions, (double)b->positions);
    note_field(f, "layer_norm_epsilon", a->epsilon, b->epsilon);
    const bool alike = a->layers == b->layers && a->width == b->width && a->inner == b->inner && a->vocabulary == b->vocabulary;
    if (!alike) snprintf(f->not_walked, sizeof f->not_walked, "the models differ in size");
}

// ---- Tokens -----------------------------------------------------------------------------------------------------------

static heed_status take_ids(model_findings *f, int64_t rows, int64_t length, heed_error *error) {
    const model_config *c = model_config_of(f->model[0]);
    if (rows < 1 || length < 1 || rows > TOKENS_MOST || length > TOKENS_MOST || rows * length > TOKENS_MOST)
        return error_set(error, HEED_INVALID, "%lld x %lld tokens; 1 to %d are looked at", (long long)rows, (long long)length,
                         TOKENS_MOST);
    if (length > c->positions)
        return error_set(error, HEED_INVALID, "%lld tokens, but the model has %lld positions", (long long)length,
                         (long long)c->positions);
    f->id = calloc((size_t)(rows * length), sizeof *f->id);
    f->batch = (exact_batch){rows, length, f->id};
    return f->id != NULL ? HEED_OK : error_set(error, HEED_NO_MEMORY, "out of memory");
}

static heed_status check_ids(const model_findings *f, heed_error *error) {
    const int64_t n = f->batch.rows * f->batch.length, vocabulary = model_config_of(f->model[0])->vocabulary;
    for (int64_t i = 0; i < n; i++)
        if (f->id[i] < 0 || f->id[i] >= vocabulary)
            return error_set(error, HEED_INVALID, "id %d is none of the model's %lld", (int)f->id[i], (long long)vocabulary);
    return HEED_OK;
}

static heed_status read_ids(model_findings *f, const char *text, heed_error *error) {
    int64_t n = 1;
    for (const char *at = text; *at != 0; at++) n += *at == ',';
    heed_status status = take_ids(f, 1, n, error);
    for (int64_t i = 0; i < n && status == HEED_OK; i++) {
        char word[24];
        int64_t id = 0;
        snprintf(word, sizeof word, "%.*s", (int)strcspn(text, ","), text);
        if (!text_to_int64(word, &id) || id < 0 || id > INT32_MAX)
            status = error_set(error, HEED_INVALID, "--ids: \"%s\" is no id; a list such as 464,2068,7586 is", word);
        f->id[i] = (int32_t)id;
        text += strcspn(text, ",") + 1;
    }
    return status;
}

static heed_status encode(model_findings *f, const char *text, heed_error *error) {
    tokenizer *words = NULL;
    id_list list = {0};
    heed_status status = tokenizer_load(&words, f->folder[0], error);
    if (status == HEED_OK) status = tokenizer_encode(words, text, strlen(text), &list, error);
    if (status == HEED_OK) status = take_ids(f, 1, list.count, error);
    if (status == HEED_OK) memcpy(f->id, list.id, (size_t)list.count * sizeof *list.id);
    if (status == HEED_OK) f->prompt = strdup(text);
    free(list.id);
    tokenizer_free(words);
    return status;
}

// The capture's own ids, those that were given, a text's, or at last some of the vocabulary.
static heed_status find_ids(model_findings *f, const doctor_options *o, heed_error *error) {
    const tensor_view *ids = NULL;
    const char *folder = f->folder[0];
    const bool speaks = holds(folder, "vocab.json") || holds(folder, "tokenizer.json");
    heed_status status = f->folder[1] == NULL ? model_capture_ids(&f->capture, &ids, error) : HEED_OK;
    if (status != HEED_OK) return status;
    if (ids != NULL) {
        status = take_ids(f, ids->dims == 2 ? ids->shape[0] : 1, ids->shape[ids->dims - 1], error);
        for (int64_t i = 0; i < ids->elements && status == HEED_OK; i++)
            f->id[i] = (int32_t)fmax(-1, fmin(tensor_value(ids, i), INT32_MAX));
    } else if (o->ids != NULL) {
        status = read_ids(f, o->ids, error);
    } else if (o->prompt != NULL || speaks) {
        status = encode(f, o->prompt != NULL ? o->prompt : prompt, error);
    } else {
        status = take_ids(f, 1, int64_min(16, model_config_of(f->model[0])->positions), error);
        for (int64_t i = 0; i < f->batch.length && status == HEED_OK; i++)
            f->id[i] = (int32_t)((i * 7919 + 1) % model_config_of(f->model[0])->vocabulary);
    }
    return status == HEED_OK ? check_ids(f, error) : status;
}

// ---- The walk ---------------------------------------------------------------------------------------------------------

typedef struct { const model_findings *f; exact_state own; double *row; exact_units units; } checkpoint;

// B's component from what A's is given. With other heads than A's, scores and weights are B's own and not compared.
static bool give_computed(void *context, exact_component c, int64_t layer, const exact_state *in, double *to, double *unit) {
    checkpoint *b = context;
    const model *m = b->f->model[1];
    const exact_batch *batch = &b->f->batch;
    const bool grid = c == EXACT_SCORES || c == EXACT_WEIGHTS;
    exact_state from = *in;
    if (model_config_of(m)->heads != model_config_of(b->f->model[0])->heads) {
        if (c == EXACT_WEIGHTS) from.of[EXACT_SCORES] = b->own.of[EXACT_SCORES];
        if (c == EXACT_ATTENTION) from.of[EXACT_WEIGHTS] = b->own.of[EXACT_WEIGHTS];
        if (grid) {
            exact_compute(m, batch, c, layer, &from, &b->units, b->own.of[c], NULL, b->row);
            return false;
        }
    }
    exact_compute(m, batch, c, layer, &from, &b->units, to, NULL, b->row);
    return true;
}

static heed_status walk_checkpoint(model_findings *f, heed_error *error) {
    checkpoint b = {.f = f, .units = {0x1p-24, 0x1p-24, f->weights.unit}};
    heed_status status = exact_state_make(&b.own, f->model[1], &f->batch, error);
    const model_config *c = model_config_of(f->model[1]);
    b.row = memory_take(size_mul((size_t)(c->vocabulary + c->inner + c->width + TOKENS_MOST), sizeof(double)));
    if (status == HEED_OK && b.row == NULL) status = error_set(error, HEED_NO_MEMORY, "out of memory");
    const walk_side side = {.context = &b, .give = give_computed, .units = b.units};
    if (status == HEED_OK) status = walk_models(&f->walk, f->model[0], &f->batch, &side, error);
    memory_free(b.row);
    exact_state_free(&b.own);
    return status;
}

static heed_status walk_capture(model_findings *f, heed_error *error) {
    heed_status status = model_capture_check(&f->capture, f->model[0], &f->batch, error);
    const double unit = f->capture.unit;    // 16-bit results come of 16-bit weights
    const walk_side side = {.context = &f->capture, .give = model_capture_give, .recorded = true,
                            .units = {0x1p-24, unit, unit > 0x1p-20 ? unit : 0}};
    return status == HEED_OK ? walk_models(&f->walk, f->model[0], &f->batch, &side, error) : status;
}

// ---- Which attention it was -------------------------------------------------------------------------------------------

static void take_heads(const model_findings *f, const double *from, double *to) {
    const int64_t S = f->batch.length, H = model_config_of(f->model[0])->heads, C = model_config_of(f->model[0])->width, D = C / H;
    for (int64_t i = 0; i < f->batch.rows * S * C; i++) {
        const int64_t b = i / (H * S * D), h = i / (S * D) % H, t = i / D % S, c = i % D;
        to[i] = from[(b * S + t) * C + h * D + c];
    }
}

static heed_status judge_attention(model_findings *f, const call *c, double *seen, int n_threads, heed_error *error) {
    call_results right;
    const heed_choice choice = {.implementation = "ref"};
    heed_status status = call_run(&right, c, &choice, NULL, error);
    if (status != HEED_OK) return status;
    const observed a = {.out = right.of.out}, b = {.out = seen};
    f->attention = calloc(1, sizeof *f->attention);
    if (f->attention == NULL) status = error_set(error, HEED_NO_MEMORY, "out of memory");
    else status = verdict_reach(f->attention, c, &a, &b, NULL, n_threads, error);
    call_results_free(&right);
    return status;
}

// The attention that departs, as a call by itself: heed compare's verdict on what it read and gave.
static heed_status explain_attention(model_findings *f, int n_threads, heed_error *error) {
    const walk_findings *w = &f->walk;
    const model_config *m = model_config_of(f->model[0]);
    if (w->attention == NULL) return HEED_OK;
    const char *type = f->capture.unit == 0x1p-8 ? " bf16" : f->capture.unit == 0x1p-11 ? " f16" : "";
    snprintf(f->problem, sizeof f->problem, "b%lld h%lld q%lld d%lld%s causal", (long long)f->batch.rows, (long long)m->heads,
             (long long)f->batch.length, (long long)(m->width / m->heads), type);
    problem_line line;
    call c = {.memory = NULL};
    heed_status status = problem_line_parse(&line, f->problem, error);
    if (status == HEED_OK) status = call_begin(&c, &line, error);
    double *seen = memory_take(size_mul((size_t)(f->batch.rows * f->batch.length * m->width), sizeof(double)));
    if (status == HEED_OK && seen == NULL) status = error_set(error, HEED_NO_MEMORY, "out of memory");
    if (status == HEED_OK) {
        take_heads(f, w->q, c.q);
        take_heads(f, w->k, c.k);
        take_heads(f, w->v, c.v);
        take_heads(f, w->attention, seen);
        status = judge_attention(f, &c, seen, n_threads, error);
    }
    memory_free(seen);
    call_free(&c);
    return status;
}

// ---- All of it --------------------------------------------------------------------------------------------------------

static verdict_kind decide(const model_findings *f) {
    const int64_t *n = f->weights.count;
    const walk_findings *w = &f->walk;
    if (w->first >= 0 && !w->step[w->first].finite) return VERDICT_NAN;
    const bool other = n[WEIGHT_DIFFERS] + n[WEIGHT_TRANSPOSED] + n[WEIGHT_SHAPE] + n[WEIGHT_MISSING] + n[WEIGHT_EXTRA] > 0;
    if (w->first >= 0 || other || f->fields > 0 || f->not_walked[0] != 0) return VERDICT_SEMANTIC;
    return w->equal && n[WEIGHT_ROUNDED] == 0 ? VERDICT_SAME : VERDICT_ROUNDING;
}

static heed_status investigate(model_findings *f, const doctor_options *o, heed_error *error) {
    heed_status status = f->folder[1] == NULL ? model_capture_open(&f->capture, f->name[1], error) : HEED_OK;
    if (status == HEED_OK) status = open_models(f, error);
    if (status != HEED_OK) return status;
    compare_configs(f);
    status = find_ids(f, o, error);
    if (status == HEED_OK && f->not_walked[0] == 0)
        status = f->folder[1] == NULL ? walk_capture(f, error) : walk_checkpoint(f, error);
    if (status == HEED_OK) status = explain_attention(f, (int)o->threads, error);
    f->kind = decide(f);
    return status;
}

static void findings_free(model_findings *f) {
    walk_free(&f->walk);
    weight_map_free(&f->weights);
    model_capture_close(&f->capture);
    for (int i = 0; i < 2; i++) {
        model_free(f->model[i]);
        free(f->folder[i]);
    }
    free(f->attention);
    free(f->prompt);
    free(f->id);
    free(f);
}

static heed_status find_sides(model_findings *f, const args *a, heed_error *error) {
    for (int i = 0; i < 2; i++) {
        f->name[i] = a->positional[1 + i];
        if (i == 1 && is_capture(f->name[i])) break;
        if (i == 0 && is_capture(f->name[i]))
            return error_set(error, HEED_INVALID, "%.100s is no checkpoint; the checkpoint is named first, then the capture",
                             f->name[i]);
        const heed_status status = cache_dir_find(&f->folder[i], f->name[i], error);
        if (status != HEED_OK) return status;
    }
    return HEED_OK;
}

int doctor_model(const args *a) {
    const doctor_options *o = a->options;
    heed_error error;
    if (a->n_positional != 3) return args_fail(a, STATUS_USAGE, "model compares two: a checkpoint, and a checkpoint or a capture");
    if (o->prompt != NULL && o->ids != NULL) return args_fail(a, STATUS_USAGE, "--prompt and --ids cannot both be given");
    model_findings *f = calloc(1, sizeof *f);
    if (f == NULL) return args_fail(a, STATUS_SYSTEM, "out of memory");
    f->walk.first = -1;
    int done;
    heed_status status = find_sides(f, a, &error);
    if (status != HEED_OK) {
        done = args_fail_error(a, &error);
    } else if ((status = investigate(f, o, &error)) != HEED_OK) {
        done = status == HEED_INVALID ? args_fail(a, STATUS_SYSTEM, "%s", error.text) : args_fail_error(a, &error);
    } else {
        done = STATUS_DONE;
        if (o->json) done = doctor_model_json(a, f);
        else doctor_model_print(f);
        if (done == STATUS_DONE && f->kind > VERDICT_ROUNDING) done = STATUS_FAILED;
    }
    findings_free(f);
    return done;
}
