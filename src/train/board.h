// SPDX-License-Identifier: Apache-2.0
// What TensorBoard shows of a run: every number of a line of metrics.jsonl, under train/ or eval/, and texts.
#pragma once

#include "io/json.h"
#include "io/tfevents.h"

// RUN/tensorboard. after_step: a resumed run's, beyond which older files are void; -1: a new run.
heed_status board_create(tfevents **, const char *run_folder, int64_t after_step, heed_error *);

// Adds a line's numbers: "loss" is train/loss, "eval_loss" eval/loss, "eval_loss/NAME" eval/loss/NAME. Flushes at evaluations and
// where a window of --logging_steps ends, so that it costs nothing in between.
heed_status board_line(tfevents *, const json_t *line, heed_error *);

heed_status board_text(tfevents *, int64_t step, const char *tag, const char *markdown, heed_error *);

// Each option with its value, as a table.
heed_status board_options(tfevents *, int64_t step, const json_t *effective, heed_error *);
