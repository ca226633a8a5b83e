// SPDX-License-Identifier: Apache-2.0
// Where the lines of train and eval go: stdout, with a live line when that is a terminal.
#pragma once

#include "train/progress.h"

run_output train_output_open(bool json, bool quiet);
