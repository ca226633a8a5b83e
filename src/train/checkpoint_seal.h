// SPDX-License-Identifier: Apache-2.0
// Checksums of a checkpoint's files, which its trainer_state.json holds.
#pragma once

#include "io/json.h"

// Adds to the state the checksums of every file in the folder (that are written already), and then its own.
heed_status seal_add(json_t *state, const char *folder, heed_error *);

// Is the state what was written? Is every file of the folder? A checkpoint of an earlier heed has no checksums, and passes.
heed_status seal_check_state(const json_t *state, const char *file, heed_error *);
heed_status seal_check_files(const json_t *state, const char *folder, heed_error *);
