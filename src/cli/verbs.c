// SPDX-License-Identifier: Apache-2.0
#include "cli/verbs.h"

#include <string.h>

#include "base/text.h"

// Known by design, not built: saying so is better than "unknown".
static const verb verb_generate = {
    .name = "generate", .purpose = "text from a model (not built yet)",
    .later = "not built yet: this version trains (`heed train`) and evaluates (`heed eval`)",
};
static const verb verb_compare = {
    .name = "compare", .purpose = "a verdict on two computations (not built yet)",
    .later = "not built yet: `heed check \"TEXT\"` compares an implementation with ref",
};
static const verb verb_runs = {
    .name = "runs", .purpose = "what differs between runs (not built yet)",
    .later = "not built yet: a run folder's run.json, attention.json and metrics.jsonl hold what it would compare",
};

const verb *const verbs[] = {
    &verb_train, &verb_eval, &verb_explain, &verb_check, &verb_bench, &verb_doctor, &verb_list,
    &verb_generate, &verb_compare, &verb_runs, NULL,
};

const verb *verb_find(const char *name) {
    for (int i = 0; verbs[i] != NULL; i++)
        if (strcmp(verbs[i]->name, name) == 0) return verbs[i];
    return NULL;
}

const char *verb_nearest(const char *name) {
    const char *names[32];
    size_t n = 0;
    for (; verbs[n] != NULL && n < 32; n++) names[n] = verbs[n]->name;
    return text_nearest(name, names, n);
}
