// SPDX-License-Identifier: Apache-2.0
#include "train/progress.h"

#include "base/clock.h"
#include "base/memory.h"
#include "train/log.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIVE_SECONDS 0.2    // between two drawings: five a second is smooth and costs nothing

enum { LINE_BYTES = 1024 };

void output_live_clear(const run_output *out) {
    if (out->live != NULL) out->live(out->context, "");
}

void output_line(const run_output *out, line_kind kind, const char *format, ...) {
    char text[LINE_BYTES];
    if (kind == LINE_PROGRESS && out->quiet) return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (out->record != NULL) {
        if (kind == LINE_NOTE) {
            json_t *object = json_pack("{s:o}", "note", json_text(text));
            output_record(out, object);
            json_decref(object);
        }
        return;
    }
    output_live_clear(out);
    out->line(out->context, text);
}

void output_record(const run_output *out, const json_t *object) {
    if (out->record == NULL || object == NULL) return;
    char *text = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(17));
    if (text != NULL) out->record(out->context, text);
    free(text);
}

void progress_begin(progress *p, int64_t first_step, int64_t steps) {
    *p = (progress){.started = clock_seconds(), .first_step = first_step, .steps = steps};
}

void progress_step(progress *p, double seconds, int64_t tokens) {
    p->step_seconds += seconds;
    p->window_seconds += seconds;
    p->tokens += tokens;
    p->window_tokens += tokens;
}

double progress_rate(const progress *p) { return p->window_seconds > 0 ? (double)p->window_tokens / p->window_seconds : 0; }

void progress_window(progress *p) {
    p->window_seconds = 0;
    p->window_tokens = 0;
}

static void clock_text(double seconds, char *text, size_t bytes) {
    const long long s = (long long)(seconds + 0.5);
    if (s < 3600) snprintf(text, bytes, "%lld:%02lld", s / 60, s % 60);
    else snprintf(text, bytes, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
}

static bool fits(const char *text, int columns) { return columns <= 0 || (int64_t)strlen(text) < columns; }

// Where a line's first words are wider than the terminal: "250/1000", "25%", or nothing.
static void add_narrow(text_buffer *to, int64_t done, int64_t of, int columns) {
    char text[64];
    snprintf(text, sizeof text, "%lld/%lld", (long long)done, (long long)of);
    if (!fits(text, columns)) snprintf(text, sizeof text, "%lld%%", (long long)(of > 0 ? 100.0 * (double)done / (double)of : 0));
    if (fits(text, columns)) text_add(to, "%s", text);
}

void progress_text(const progress *p, const step_facts *f, int columns, text_buffer *to) {
    enum { FIELDS = 7 };
    char field[FIELDS][64], elapsed[32], left[32];
    const int64_t done = f->step - p->first_step;
    clock_text(clock_seconds() - p->started, elapsed, sizeof elapsed);
    clock_text(done > 0 ? p->step_seconds / (double)done * (double)(p->steps - f->step) : 0, left, sizeof left);
    snprintf(field[0], sizeof field[0], "step %lld/%lld", (long long)f->step, (long long)p->steps);
    snprintf(field[1], sizeof field[1], "loss %.4f", f->loss);
    snprintf(field[2], sizeof field[2], "lr %.2e", f->learning_rate);
    snprintf(field[3], sizeof field[3], "%.0f tokens/s", progress_rate(p));
    snprintf(field[4], sizeof field[4], "%s elapsed", elapsed);
    snprintf(field[5], sizeof field[5], "%s left", left);
    snprintf(field[6], sizeof field[6], "%lld MB", (long long)(memory_peak_bytes() >> 20));
    if (!fits(field[0], columns)) add_narrow(to, f->step, p->steps, columns);
    else for (int i = 0; i < FIELDS; i++) {
        const size_t wanted = to->length + strlen(field[i]) + (i > 0 ? 2 : 0);
        if (columns > 0 && (int64_t)wanted >= columns) break;
        text_add(to, "%s%s", i > 0 ? "  " : "", field[i]);
    }
}

static bool live_due(progress *p, const run_output *out) {
    const double now = clock_seconds();
    if (out->live == NULL || out->quiet || now - p->shown < LIVE_SECONDS) return false;
    p->shown = now;
    return true;
}

void progress_live(progress *p, const run_output *out, const step_facts *f) {
    if (!live_due(p, out)) return;
    char text[LINE_BYTES] = "";
    progress_text(p, f, out->columns(out->context), &(text_buffer){text, sizeof text, 0});
    out->live(out->context, text);
}

void progress_live_evaluation(progress *p, const run_output *out, int64_t done, int64_t of) {
    if (!live_due(p, out)) return;
    char text[LINE_BYTES], narrow[64] = "";
    snprintf(text, sizeof text, "evaluating, batch %lld/%lld", (long long)done, (long long)of);
    const int columns = out->columns(out->context);
    if (!fits(text, columns)) add_narrow(&(text_buffer){narrow, sizeof narrow, 0}, done, of, columns);
    out->live(out->context, fits(text, columns) ? text : narrow);
}

void evaluation_text(const evaluation *e, text_buffer *to) {
    text_add(to, "loss %.4f", evaluation_loss(e));
    if (!isnan(e->floor)) text_add(to, " (floor %.4f)", e->floor);
    text_add(to, ", perplexity %.4g, bits per byte %.4f", evaluation_perplexity(e), evaluation_bits_per_byte(e));
    if (e->truncated) text_add(to, ", truncated: %lld of %lld batches", (long long)e->batches, (long long)e->all_batches);
}
