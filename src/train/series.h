// SPDX-License-Identifier: Apache-2.0
// metrics.jsonl as curves: one for each key that ever held a number, whatever its name.
#pragma once

#include "io/json.h"

typedef struct { int64_t step, order; double value; bool truncated; } series_point;    // order: of its line, from 0
typedef struct { char *key; series_point *point; size_t n, room; } series;             // by step, one point a step
typedef struct { int64_t step; char *sentence; } series_fault;                         // a line that tells of NaN or infinity

// What was wrong with a file that could be read all the same; each names it, and the line where one is.
enum { NOTES_MOST = 16 };
typedef struct { int count, left_out; char *text[NOTES_MOST]; } record_notes;
void record_note(record_notes *, const char *format, ...) __attribute__((format(printf, 2, 3)));
void record_notes_free(record_notes *);

enum { SERIES_MOST = 512 };
typedef struct {
    series *of;
    series_fault *fault;
    int n, n_faults;
    int64_t lines, damaged;            // lines that were read, and those that could not be
} metrics;

// A damaged line is left out, with a note. Without the file: no curve. Fails for want of memory, or when the file cannot be read.
heed_status metrics_read(metrics *, const char *path, record_notes *, heed_error *);
void metrics_free(metrics *);

const series *metrics_find(const metrics *, const char *key);    // NULL: there is none

// Does a key tell how fast or with how much memory something ran? Then two equal runs need not agree in it.
bool metrics_is_speed(const char *key);

// Is it a result of an evaluation, which may be truncated?
bool metrics_is_evaluation(const char *key);
