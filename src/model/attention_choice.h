// SPDX-License-Identifier: Apache-2.0
// The names `--attn_implementation` takes, what each really is, what is taken where it cannot run, and the record of what
// ran (docs: "Attention choices and what each really is"). A forced implementation is honoured or refused; a substitute is
// taken only under `warn`, from the table, and is on record.
#pragma once

#include "heed/heed.h"
#include "nn/attention.h"

enum { ATTENTION_SUBSTITUTES = 2, ATTENTION_REFUSALS = 4 };

typedef struct {
    const char *name;                                  // "flash_attention_2"
    const char *implementation;                        // "cpu.flash"; NULL: the cheapest that honours the problem
    const char *preset;                                // "flash_attention_2"
    const char *substitute[ATTENTION_SUBSTITUTES];     // names tried in order under `warn`; NULL: none
    const char *missing;                               // why this name cannot run in this build, a sentence; NULL: it can
    const char *training;                              // why training is refused, a sentence; NULL: it is not
    const char *what;                                  // one line for a list
    bool lists_blocks;                                 // the model's masks are one function, of whose tiles heed makes a list
} attention_name;

const attention_name *attention_names(int *count);    // the seven

// What the user asked for. Strings live as long as the model that was given the choice.
typedef struct {
    const char *name;          // one of the seven or an implementation's own name ("cpu.flash"); NULL: "auto"
    const char *preset;        // --attn_preset; NULL: the name's own
    bool fallback_refuse;      // --attn_fallback refuse
    bool disable_mps_fix;      // let mps_pre28's NaN through
    const char *cpu;           // kernels by name; NULL: the best
    int threads;               // 0: all
} attention_choice;

// Known name, known preset, options that have an effect, training allowed. HEED_INVALID or HEED_REFUSED with the sentence.
heed_status attention_choice_check(const attention_choice *, bool training, heed_error *);

// One distinct problem: what was asked, what ran, and why.
typedef struct {
    char problem[320];                                 // as heed_problem_print
    bool evaluation;
    const char *requested, *actual, *preset;           // "flash_attention_3", "cpu.flash", "flash_attention_3"
    char reason[512];                                  // one or two sentences
    bool substituted;                                  // a substitute ran, or a rule was replaced: worth saying once
    struct { const char *name; char sentence[256]; } refused[ATTENTION_REFUSALS];
    int n_refused;
    int64_t calls;
    double seconds;
} attention_record;

// Plans, made once per distinct problem (shape, masks, pass, training or evaluation) and kept.
typedef struct attention_plans attention_plans;
heed_status attention_plans_create(attention_plans **, const attention_choice *, heed_error *);
void attention_plans_free(attention_plans *);

// The plan for a problem (without preset: its offset is the model's own); *record stays valid until the next call.
// has_empty_row: some row of this call sees no key, which is what mps_pre28's protection looks at.
heed_status attention_plans_find(attention_plans *, const heed_problem *, bool evaluation, bool has_empty_row,
                                 const heed_plan **, attention_record **, heed_error *);

// Where mask functions look, for names that list blocks; NULL for the others. Lives as long as the plans.
attention_seen *attention_plans_seen(attention_plans *);

const attention_record *attention_plans_records(const attention_plans *, int64_t *count);
