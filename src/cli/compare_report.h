// SPDX-License-Identifier: Apache-2.0
// A verdict for people and for programs.
#pragma once

#include "cli/args.h"
#include "compare/verdict.h"
#include "io/json.h"

// remarks: lines about files, NULL without any.
typedef struct { const char *problem, *a, *b, *remarks; const verdict *v; } compare_report;

void compare_report_print(const compare_report *);
json_t *compare_report_json(const compare_report *);    // docs/compare.md has its fields; NULL without memory
int compare_report_status(const verdict *);             // the verb's exit status
