// SPDX-License-Identifier: Apache-2.0
// The page of a comparison: pages/compare.js with the verdict and its pictures as data.
#pragma once

#include "cli/compare_report.h"
#include "cli/comparison.h"

// The page says how to see it again: ask, probe as they were given, NULL without; for a probe also problem and seed (-1: none),
// since its inputs are not those that the comparison's own text draws. quiet: stdout is not for people.
typedef struct { const char *path, *ask, *probe, *problem; int64_t seed; int n_threads; bool quiet; } compare_page_wish;

// Writes the page and says so on stdout. An exit status; a failure is printed.
int compare_page_write(const args *, const compare_page_wish *, const comparison *, const compare_report *);
