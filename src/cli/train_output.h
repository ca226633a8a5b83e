// SPDX-License-Identifier: Apache-2.0
// Where the lines of train and eval go: stdout, with a live line when that is a terminal.
#pragma once

#include <stdio.h>

#include "train/progress.h"

run_output train_output_open(bool json, bool quiet);

// A line for each way attention ran, behind a label; with `warnings` only where a substitute ran.
void print_attention(FILE *, const char *label, const model *, bool warnings);
