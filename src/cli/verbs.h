// SPDX-License-Identifier: Apache-2.0
// The table of verbs: one file per verb, one row in verbs.c.
#pragma once

#include "cli/args.h"

extern const verb verb_train, verb_eval, verb_generate;
extern const verb verb_explain, verb_check, verb_bench, verb_compare, verb_doctor, verb_list, verb_runs;
extern const verb verb_completion, verb_man;

extern const verb *const verbs[];    // in the order of the help; ends with NULL

// The verb that words begin with ("train", "runs diff"; "runs" where no verb below it follows), and in *taken how many of them
// name it. NULL: there is none, and the sentence says so.
const verb *verb_find(int n_words, char *const *words, int *taken, heed_error *);
