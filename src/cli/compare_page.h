// SPDX-License-Identifier: Apache-2.0
// The page of a comparison: pages/compare.js with the verdict and its pictures as data.
#pragma once

#include "cli/compare_report.h"
#include "cli/comparison.h"

// Writes it to `path` and, unless `quiet`, says so on stdout. An exit status; a failure is printed.
int compare_page_write(const args *, const char *path, const comparison *, const compare_report *, int n_threads, bool quiet);
