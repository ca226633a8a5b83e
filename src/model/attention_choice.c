// SPDX-License-Identifier: Apache-2.0
#include "model/attention_choice.h"

#include "base/error.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

#define TWO_TILES "two tiles in flight need matrix units beside the vector units (AMX), which no kernels of this build use"
#define PAGES "pages behind a block table are not built yet"
#define NO_PAGED_TRAINING "paged_attention reads a cache of pages, which training has not: it is for evaluation and generation"

static const attention_name names[] = {
    {"auto", NULL, "heed", {NULL}, NULL, NULL, "the cheapest that accepts the problem", false},
    {"eager", "cpu.eager", "heed", {NULL}, NULL, NULL, "the scores of a block of rows, masked softmax, product", false},
    {"sdpa", NULL, "torch", {NULL}, NULL, NULL, "the cheapest that honours the problem, by torch's conventions", false},
    {"flash_attention_2", "cpu.flash", "flash_attention_2", {"eager"}, NULL, NULL, "tiles with a running softmax", false},
    {"flash_attention_3", "cpu.flash", "flash_attention_3", {"flash_attention_2", "eager"}, TWO_TILES, NULL,
     "tiles with a running softmax, two in flight", false},
    {"flex_attention", "cpu.flash", "heed", {"eager"}, NULL, NULL, "masks as a function, whose tiles are listed at each run", true},
    {"paged_attention", "cpu.flash", "heed", {NULL}, PAGES, NO_PAGED_TRAINING, "keys and values in pages", false},
};
enum { N_NAMES = sizeof names / sizeof *names, CANDIDATES = 1 + ATTENTION_SUBSTITUTES, ENTRIES = 1 << 12 };

const attention_name *attention_names(int *count) {
    *count = N_NAMES;
    return names;
}

// NULL: none of the seven.
static const attention_name *attention_name_find(const char *name) {
    for (int i = 0; i < N_NAMES; i++)
        if (strcmp(names[i].name, name) == 0) return &names[i];
    return NULL;
}

// Every implementation there is: the lines of the report on any problem. Their names are static.
static heed_report all_implementations(void) {
    heed_problem any = {.batch = 1, .heads = 1, .queries = 1, .channels = 1};
    heed_report report = {0};
    heed_explain(&any, NULL, &report, NULL);
    return report;
}

// NULL: none of that name.
static const char *implementation_find(const char *name) {
    const heed_report report = all_implementations();
    for (int i = 0; i < report.lines; i++)
        if (strcmp(report.line[i].name, name) == 0) return report.line[i].name;
    return NULL;
}

static heed_status unknown_name(const char *name, heed_error *error) {
    const char *known[N_NAMES + HEED_REPORT_LINES];
    size_t n = 0;
    for (int i = 0; i < N_NAMES; i++) known[n++] = names[i].name;
    const heed_report report = all_implementations();
    for (int i = 0; i < report.lines; i++) known[n++] = report.line[i].name;
    const char *nearest = text_nearest(name, known, n);
    if (nearest != NULL)
        return error_set(error, HEED_INVALID, "attn_implementation '%.60s' is unknown; did you mean %s?", name, nearest);
    return error_set(error, HEED_INVALID, "attn_implementation '%.60s' is unknown; allowed are auto, eager, sdpa, "
                     "flash_attention_2, flash_attention_3, flex_attention, paged_attention, or a name `heed list` prints", name);
}

static const char *wanted_name(const attention_choice *c) { return c->name == NULL ? "auto" : c->name; }

static const char *wanted_preset(const attention_choice *c) {
    if (c->preset != NULL) return c->preset;
    const attention_name *n = attention_name_find(wanted_name(c));
    return n == NULL ? "heed" : n->preset;
}

heed_status attention_choice_check(const attention_choice *c, bool training, heed_error *error) {
    const char *name = wanted_name(c);
    const attention_name *n = attention_name_find(name);
    if (n == NULL && implementation_find(name) == NULL) return unknown_name(name, error);
    heed_problem scratch = {0};
    const heed_status status = heed_problem_preset(&scratch, wanted_preset(c), error);
    if (status != HEED_OK) return error_within(error, status, "attn_preset");
    if (c->disable_mps_fix && strcmp(wanted_preset(c), "mps_pre28") != 0)
        return error_set(error, HEED_INVALID, "disable_mps_fix has no effect with attn_preset %s; it belongs to mps_pre28",
                         wanted_preset(c));
    if (training && n != NULL && n->training != NULL) return error_set(error, HEED_REFUSED, "%s", n->training);
    if (c->fallback_refuse && n != NULL && n->missing != NULL)
        return error_set(error, HEED_REFUSED, "attn_implementation %s: %s; attn_fallback warn takes a substitute", name,
                         n->missing);
    return HEED_OK;
}

// ---- Plans ----------------------------------------------------------------------------------------------------------

typedef struct {
    heed_problem problem;    // as it was asked for
    bool evaluation, protected;
    heed_plan *plan;
} entry;

struct attention_plans {
    attention_choice choice;
    attention_seen seen;
    entry *entries;
    attention_record *records;    // of the entries, in their order
    int64_t count, room;
};

heed_status attention_plans_create(attention_plans **plans, const attention_choice *choice, heed_error *error) {
    *plans = calloc(1, sizeof **plans);
    if (*plans == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for the attention plans");
    (*plans)->choice = *choice;
    return HEED_OK;
}

void attention_plans_free(attention_plans *p) {
    if (p == NULL) return;
    for (int64_t i = 0; i < p->count; i++) heed_plan_destroy(p->entries[i].plan);
    free(p->entries);
    free(p->records);
    free(p);
}

attention_seen *attention_plans_seen(attention_plans *p) {
    const attention_name *n = attention_name_find(wanted_name(&p->choice));
    return n != NULL && n->lists_blocks ? &p->seen : NULL;
}

const attention_record *attention_plans_records(const attention_plans *p, int64_t *count) {
    *count = p->count;
    return p->records;
}

static bool same_stride(heed_stride a, heed_stride b) {
    return a.batch == b.batch && a.head == b.head && a.token == b.token;
}

static bool same_problem(const heed_problem *a, const heed_problem *b) {
    for (int i = 0; i < HEED_EDITS; i++) {
        if (a->mask[i].kind != b->mask[i].kind || a->score[i].kind != b->score[i].kind) return false;
        if (a->mask[i].kind == NULL) continue;
        for (int j = 0; j < 3; j++)
            if (a->mask[i].i[j] != b->mask[i].i[j]) return false;
    }
    return a->batch == b->batch && a->heads == b->heads && a->kv_heads == b->kv_heads && a->queries == b->queries &&
           a->keys == b->keys && a->channels == b->channels && a->pass == b->pass && a->with == b->with && a->align == b->align &&
           a->offset == b->offset && a->scale == b->scale && a->dtype == b->dtype && a->kv_dtype == b->kv_dtype &&
           a->dropout == b->dropout && same_stride(a->q, b->q) && same_stride(a->k, b->k) &&
           same_stride(a->out, b->out);
}

// The problem in the convention of the preset; where a rule was replaced, a sentence about it is appended to the reason.
static heed_status apply_preset(const attention_plans *p, bool evaluation, bool protected, heed_problem *problem,
                                attention_record *record, text_buffer *reason, heed_error *error) {
    const heed_align align = problem->align;
    const heed_status status = heed_problem_preset(problem, record->preset, error);
    if (status != HEED_OK) return status;
    problem->align = align;    // the model's own: where its rows stand is not a convention
    const heed_status same = heed_preset_check(heed_preset_find(record->preset), problem, error);
    if (same != HEED_OK) return same;
    if (strcmp(record->preset, "mps_pre28") != 0) return HEED_OK;
    if (!evaluation) {
        problem->empty_row = HEED_EMPTY_ZERO;
        text_add(reason, "; training never used the old operator, so rows that see no key give zero");
    } else if (protected) {
        problem->empty_row = HEED_EMPTY_ZERO;
        record->substituted = true;
        text_add(reason, "; this batch has rows that see no key, which the old operator turned into NaN: they give zero here "
                         "(--disable_mps_fix lets the NaN through)");
    } else if (p->choice.disable_mps_fix) {
        text_add(reason, "; rows that see no key give NaN, as in the old operator, because of --disable_mps_fix");
    }
    return HEED_OK;
}

static void add_refusal(attention_record *record, const char *name, const char *sentence) {
    if (record->n_refused == ATTENTION_REFUSALS) return;
    record->refused[record->n_refused].name = name;
    text_buffer text = {record->refused[record->n_refused].sentence, sizeof record->refused[0].sentence, 0};
    text_add(&text, "%s", sentence);
    record->n_refused++;
}

// One candidate: its plan, or its refusal on record (status HEED_REFUSED), or another error.
static heed_status try_name(const attention_plans *p, const char *name, const heed_problem *problem, heed_plan **plan,
                            attention_record *record, heed_error *error) {
    const attention_name *n = attention_name_find(name);
    heed_error why = {0};
    heed_status status = HEED_REFUSED;
    if (n != NULL && n->missing != NULL) {
        error_set(&why, HEED_REFUSED, "%s", n->missing);
    } else {
        const heed_choice choice = {.implementation = n == NULL ? name : n->implementation, .cpu = p->choice.cpu,
                                    .threads = p->choice.threads};
        status = heed_plan_create(plan, problem, &choice, &why);
    }
    if (status == HEED_REFUSED) add_refusal(record, n == NULL ? implementation_find(name) : n->name, why.text);
    if (status != HEED_OK) error_set(error, status, "attn_implementation %s: %s", name, why.text);
    return status;
}

static heed_status resolve(const attention_plans *p, entry *e, attention_record *record, heed_error *error) {
    const char *name = wanted_name(&p->choice);
    const attention_name *n = attention_name_find(name);
    record->requested = n == NULL ? implementation_find(name) : n->name;
    record->preset = wanted_preset(&p->choice);
    record->evaluation = e->evaluation;
    char tail[256] = "";
    text_buffer tail_text = {tail, sizeof tail, 0}, reason = {record->reason, sizeof record->reason, 0};
    heed_problem problem = e->problem;
    heed_status status = apply_preset(p, e->evaluation, e->protected, &problem, record, &tail_text, error);
    if (status != HEED_OK) return status;
    heed_problem_print(&problem, record->problem, sizeof record->problem);

    const char *candidates[CANDIDATES] = {name};
    if (n != NULL && !p->choice.fallback_refuse)
        for (int i = 0; i < ATTENTION_SUBSTITUTES; i++) candidates[1 + i] = n->substitute[i];
    for (int i = 0; i < CANDIDATES && candidates[i] != NULL; i++) {
        heed_error last = {0};
        status = try_name(p, candidates[i], &problem, &e->plan, record, &last);
        if (status == HEED_OK) {
            record->actual = heed_plan_implementation(e->plan);
            record->substituted |= i > 0;
            if (i > 0) text_add(&reason, "%s cannot run: %s; its substitute is %s, which is %s", name, record->refused[0].sentence,
                                candidates[i], record->actual);
            else if (n != NULL && n->implementation == NULL) text_add(&reason, "%s takes the cheapest of all", name);
            else text_add(&reason, "%s asked for", name);
            if (problem.mask[0].data == &p->seen)
                text_add(&reason, "; its masks are one function, whose tiles are listed at each run");
            text_add(&reason, "%s", tail);
            return HEED_OK;
        }
        if (error != NULL && (i == 0 || status != HEED_REFUSED)) *error = last;
        if (status != HEED_REFUSED) return status;
    }
    return status;
}

static heed_status make_room(attention_plans *p, heed_error *error) {
    if (p->count < p->room) return HEED_OK;
    if (p->count >= ENTRIES) return error_set(error, HEED_NO_MEMORY, "more than %d distinct attention problems", ENTRIES);
    const int64_t room = p->room == 0 ? 8 : 2 * p->room;
    entry *entries = realloc(p->entries, (size_t)room * sizeof *entries);
    if (entries != NULL) p->entries = entries;
    attention_record *records = realloc(p->records, (size_t)room * sizeof *records);
    if (records != NULL) p->records = records;
    if (entries == NULL || records == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for an attention plan");
    p->room = room;
    return HEED_OK;
}

heed_status attention_plans_find(attention_plans *p, const heed_problem *problem, bool evaluation, bool has_empty_row,
                                 const heed_plan **plan, attention_record **record, heed_error *error) {
    const bool protected = evaluation && has_empty_row && !p->choice.disable_mps_fix &&
                           strcmp(wanted_preset(&p->choice), "mps_pre28") == 0;
    int64_t i = 0;
    for (; i < p->count; i++) {
        const entry *e = &p->entries[i];
        if (e->evaluation == evaluation && e->protected == protected && same_problem(&e->problem, problem)) break;
    }
    if (i == p->count) {
        heed_status status = make_room(p, error);
        if (status != HEED_OK) return status;
        p->entries[i] = (entry){.problem = *problem, .evaluation = evaluation, .protected = protected};
        p->records[i] = (attention_record){.calls = 0};
        status = resolve(p, &p->entries[i], &p->records[i], error);
        if (status != HEED_OK) return status;
        p->count++;
    }
    *plan = p->entries[i].plan;
    *record = &p->records[i];
    return HEED_OK;
}
