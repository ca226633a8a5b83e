// SPDX-License-Identifier: Apache-2.0
// What a run says while it runs: lines, one live line on a terminal, or JSON objects. Where it goes is the caller's.
#pragma once

#include "io/json.h"
#include "train/evaluate.h"

typedef struct {
    void *context;
    void (*line)(void *context, const char *text);      // without newline
    void (*live)(void *context, const char *text);      // replaces the live line, "" clears it; NULL: no terminal
    void (*record)(void *context, const char *json);    // --json: one object a line instead of lines; NULL: lines
    int (*columns)(void *context);                      // of the terminal now; looked at when live is given
    bool quiet;                                         // only warnings and the closing lines
} run_output;

typedef enum { LINE_PROGRESS, LINE_NOTE, LINE_CLOSING } line_kind;    // quiet drops the first
void output_line(const run_output *, line_kind, const char *format, ...) __attribute__((format(printf, 3, 4)));
void output_record(const run_output *, const json_t *);    // nothing unless --json

// Time and tokens of the steps, for rates and the time left. Evaluation and checkpoints do not count as steps.
typedef struct {
    double started, step_seconds;      // of the run, and spent in steps
    double window_seconds, shown;      // spent in steps since the last line; when the live line was last drawn
    int64_t first_step, steps;         // where this process began, and where the run ends
    int64_t window_tokens, tokens;
} progress;

void progress_begin(progress *, int64_t first_step, int64_t steps);
void progress_step(progress *, double seconds, int64_t tokens);
double progress_rate(const progress *);    // tokens a second since progress_window
void progress_window(progress *);          // a line was written: begin a new window

typedef struct { int64_t step; double epoch, loss, learning_rate, grad_norm; } step_facts;

// "step 20/50  loss 9.1234  lr 5.0e-04  1530 tokens/s  0:21 elapsed  0:32 left  812 MB", as much of it as fits in `columns` - 1
// (whole fields from the left; 0: all). Where not even the first does: "20/50", "40%", or nothing.
void progress_text(const progress *, const step_facts *, int columns, text_buffer *);
// Draws the live line, a few times a second at most.
void progress_live(progress *, const run_output *, const step_facts *);
void progress_live_evaluation(progress *, const run_output *, int64_t done, int64_t of);
void output_live_clear(const run_output *);

// "1.2345 (floor 1.1), perplexity 3.44, bits per byte 1.78, truncated: 5 of 80 batches"
void evaluation_text(const evaluation *, text_buffer *);
