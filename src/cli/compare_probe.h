// SPDX-License-Identifier: Apache-2.0
// heed compare --probe FILE without sides: inputs that decide, for somebody else's implementation to be run on.
#pragma once

#include "cli/comparison.h"

int compare_probe(const args *, const char *path, const char *problem, const comparison_wish *, bool json);
