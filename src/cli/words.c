// SPDX-License-Identifier: Apache-2.0
#include "core/impl.h"

#include "cli/words.h"

#include <string.h>

#include "cli/completion.h"
#include "cli/doctor.h"
#include "cli/machine.h"
#include "cli/verbs.h"
#include "model/attention_choice.h"
#include "model/model.h"

// Forward and backward are two rows of one name.
static const char *implementation(int wanted) {
    for (int i = 0; heed_impls[i] != NULL; i++) {
        bool seen = false;
        for (int j = 0; j < i && !seen; j++) seen = strcmp(heed_impls[j]->name, heed_impls[i]->name) == 0;
        if (!seen && wanted-- == 0) return heed_impls[i]->name;
    }
    return NULL;
}

static const char *attention(int i) {
    int count;
    const attention_name *row = attention_names(&count);
    return i < count ? row[i].name : implementation(i - count);
}

static const char *instruction_set(int i) {
    machine_isa isa;
    return machine_isa_row(i, &isa) ? isa.name : NULL;
}

static const char *of_list(const char *const *list, int i) {
    while (i > 0 && *list != NULL) list++, i--;
    return *list;
}

static const char *model_size(int i) { return of_list(model_sizes(), i); }
static const char *preset_name(int i) {
    const heed_preset *preset = heed_preset_at(i);
    return preset != NULL ? preset->name : NULL;
}
static const char *device(int i) { return of_list((const char *const[]){"auto", "cpu", NULL}, i); }
static const char *demo(int i) { return of_list((const char *const[]){"demo", NULL}, i); }
static const char *split(int i) { return of_list((const char *const[]){"validation", "test", NULL}, i); }
static const char *latest(int i) { return of_list((const char *const[]){"latest", NULL}, i); }
static const char *verb_name(int i) { return verbs[i] != NULL ? verbs[i]->name : NULL; }

// An option of one name means the same whatever the verb. A text without a row is taken for a file's name.
const words words_table[] = {
    {"--model", WORDS_FOLDERS, model_size},
    {"--tokenizer", WORDS_FOLDERS, NULL},
    {"--dataset", WORDS_FILES, demo},
    {"--eval_dataset", WORDS_FILES, demo},
    {"--datasets", WORDS_FILES, NULL},
    {"--dataset_config", WORDS_ONLY, NULL},
    {"--dataset_configs", WORDS_ONLY, NULL},
    {"--eval_split", WORDS_ONLY, split},
    {"--prompt_file", WORDS_FILES, NULL},
    {"--device", WORDS_ONLY, device},
    {"--attn_implementation", WORDS_ONLY, attention},
    {"--attn_preset", WORDS_ONLY, preset_name},
    {"--impl", WORDS_ONLY, implementation},
    {"--cpu", WORDS_ONLY, instruction_set},
    {"--output_dir", WORDS_FOLDERS, NULL},
    {"--resume_from_checkpoint", WORDS_FOLDERS, latest},
    {"--prompt", WORDS_ONLY, NULL},
    {"--stop", WORDS_ONLY, NULL},
    {"--mixture_rates", WORDS_ONLY, NULL},
    {"--lr_scheduler_kwargs", WORDS_ONLY, NULL},
    {"--problem", WORDS_ONLY, NULL},
    {"--ask", WORDS_ONLY, NULL},
    {"compare", WORDS_FILES, implementation},
    {"explain", WORDS_ONLY, NULL},
    {"check", WORDS_ONLY, NULL},
    {"bench", WORDS_ONLY, NULL},
    {"doctor", WORDS_ONLY, doctor_name},
    {"runs diff", WORDS_FOLDERS, NULL},
    {"runs report", WORDS_FOLDERS, NULL},
    {"completion", WORDS_ONLY, completion_shell},
    {"man", WORDS_ONLY, verb_name},
    {NULL, WORDS_ONLY, NULL},
};

static const words *find(const char *name, const words *otherwise) {
    for (const words *w = words_table; w->name != NULL; w++)
        if (strcmp(w->name, name) == 0) return w;
    return otherwise;
}

const words *words_of_option(const option *o) {
    static const words file = {NULL, WORDS_FILES, NULL}, nothing = {NULL, WORDS_ONLY, NULL};
    return o->kind == OPTION_TEXT ? find(o->name, &file) : &nothing;
}

const words *words_of_verb(const verb *v) {
    static const words file = {NULL, WORDS_FILES, NULL}, nothing = {NULL, WORDS_ONLY, NULL};
    return find(v->name, v->most_positional == 0 ? &nothing : &file);
}

const char *words_at(const option *o, int i) {
    if (o->kind == OPTION_CHOICE) return of_list(o->choices, i);
    const words *w = words_of_option(o);
    return w->word != NULL ? w->word(i) : NULL;
}
