// SPDX-License-Identifier: Apache-2.0
// The table of verbs: one file per verb, one row in verbs.c.
#pragma once

#include "cli/args.h"

extern const verb verb_train, verb_eval;
extern const verb verb_explain, verb_check, verb_bench, verb_doctor, verb_list;

extern const verb *const verbs[];    // in the order of the help; ends with NULL

const verb *verb_find(const char *name);               // NULL when there is none
const char *verb_nearest(const char *name);            // to suggest; NULL when nothing is near
