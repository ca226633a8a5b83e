// SPDX-License-Identifier: Apache-2.0
// heed doctor phases: an implementation, or a convention, from its parts to a whole model; each failure with a verdict and the
// command that shows it again.
#include "cli/doctor_phases.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "cli/compare_report.h"
#include "cli/doctor.h"
#include "cli/output.h"
#include "cli/status.h"
#include "core/impl.h"

typedef struct {
    phase_subject subject;
    phase_row row[PHASE_ROWS_MOST];
    int n, count[3];          // rows, and how many of each outcome
    const char *only;
    json_t *told;             // --json: the list of rows; NULL: text
    int phase;                // whose heading was printed
} phases;

static const char *const titles[PHASES + 1] = {"", "components alone", "combinations", "edges and precision", "a whole model"};
static const char *const outcomes[] = {"pass", "FAIL", "refused"};

static bool names_phase(const phases *p) { return p->only[0] >= '1' && p->only[0] <= '0' + PHASES && p->only[1] == 0; }

// Layers and gradients are no convention's.
static bool chosen(const phases *p, const phase_row *r) {
    if (p->subject.side.preset != NULL && (r->kind == PHASE_GRADIENT || r->kind == PHASE_LINEAR)) return false;
    if (p->only == NULL) return true;
    if (names_phase(p)) return r->phase == p->only[0] - '0';
    return strcmp(r->what, p->only) == 0 || strcmp(r->text, p->only) == 0;
}

// ---- What a failure is told by ----------------------------------------------------------------------------------------

// The command that shows it again: `heed compare` or `heed check` where its data is as drawn, else this one row.
static void command_of(const phases *p, const phase_row *r, char *text, size_t bytes) {
    const phase_subject *s = &p->subject;
    char cpu[48] = "";
    if (s->cpu != NULL) snprintf(cpu, sizeof cpu, "HEED_CPU=%.30s ", s->cpu);
    const bool plain = r->fill == 0 && strstr(r->text, "rope") == NULL;
    if (r->kind == PHASE_ATTENTION && plain)
        snprintf(text, bytes, "%sheed compare ref %s --problem \"%s seed:%llu\"", cpu, s->side.name, r->text,
                 (unsigned long long)s->seed);
    else if (r->kind == PHASE_GRADIENT)
        snprintf(text, bytes, "%sheed check \"%s seed:%llu\" --impl %s", cpu, r->text, (unsigned long long)s->seed, s->side.name);
    else
        snprintf(text, bytes, "%sheed doctor phases --impl %s --only \"%s\" --seed %llu", cpu, s->side.name, r->what,
                 (unsigned long long)s->seed);
}

// "empty.mean" or "window.none and sink.none"; the cause of a NaN; "" where nothing explains.
static void ids_of(const verdict *v, char *text, size_t bytes) {
    const findings *f = &v->of[v->side == 0 ? 0 : 1];
    size_t n = 0;
    text[0] = 0;
    if (v->kind == VERDICT_NAN && v->nan_cause != NULL && strcmp(v->nan_cause, "nan.unexplained") != 0)
        n += (size_t)snprintf(text, bytes, "%s", v->nan_cause);
    for (int i = 0; f->n_explained > 0 && i < EXPLANATION_IDS && f->explained[0].of[i] != NULL && n < bytes; i++)
        n += (size_t)snprintf(text + n, bytes - n, "%s%s", n > 0 ? " and " : "", f->explained[0].of[i]->id);
}

// ---- For programs -----------------------------------------------------------------------------------------------------

static void append_json(phases *p, const phase_row *row, const phase_result *r) {
    const compare_report told = {row->text, "ref", p->subject.side.name, "", &r->v};
    char command[400];
    command_of(p, row, command, sizeof command);
    json_t *v = r->judged && r->outcome == PHASE_FAIL ? compare_report_json(&told) : json_null();
    json_t *object = json_pack("{s:i, s:s, s:s, s:s, s:s?, s:o, s:s?}", "phase", row->phase, "what", row->what, "problem",
                               row->text, "result", outcomes[r->outcome], "reason", r->sentence[0] != 0 ? r->sentence : NULL,
                               "verdict", v, "command", r->outcome == PHASE_FAIL ? command : NULL);
    json_array_append_new(p->told, object);
}

// ---- For people -------------------------------------------------------------------------------------------------------

static void print_row(phases *p, const phase_row *row, const phase_result *r) {
    char command[400], ids[160];
    if (row->phase != p->phase) printf("\n%d  %s\n", p->phase = row->phase, titles[row->phase]);
    const colour colours[] = {COLOUR_GOOD, COLOUR_BAD, COLOUR_NONE};
    printf("  %s%-8s%s %-42s %s\n", output_colour(colours[r->outcome]), outcomes[r->outcome], output_colour(COLOUR_NONE), row->what,
           row->text);
    if (r->outcome == PHASE_PASS) return;
    if (r->judged) {
        ids_of(&r->v, ids, sizeof ids);
        printf("           %s%s: %s%s\n", output_colour(COLOUR_STRONG), verdict_names[r->v.kind],
               ids[0] != 0 ? ids : "no hypothesis explains it", output_colour(COLOUR_NONE));
    } else {
        printf("           ");
        output_wrap(r->sentence, 11, 11);
    }
    if (r->outcome == PHASE_REFUSED) return;
    command_of(p, row, command, sizeof command);
    printf("           %s\n", command);
    if (p->only == NULL || names_phase(p) || !r->judged) return;
    const compare_report told = {row->text, "ref", p->subject.side.name, "", &r->v};
    putchar('\n');
    compare_report_print(&told);
}

static int run_rows(const args *a, phases *p) {
    phase_result *r = calloc(1, sizeof *r);
    heed_error error;
    heed_status status = r == NULL ? error_set(&error, HEED_NO_MEMORY, "out of memory") : HEED_OK;
    for (int i = 0; status == HEED_OK && i < p->n; i++) {
        if (!chosen(p, &p->row[i])) continue;
        status = phase_run(r, &p->row[i], &p->subject, &error);
        if (status != HEED_OK) break;
        p->count[r->outcome]++;
        if (p->told != NULL) append_json(p, &p->row[i], r);
        else print_row(p, &p->row[i], r);
    }
    free(r);
    return status == HEED_OK ? STATUS_DONE : args_fail_error(a, &error);
}

static int tell(const args *a, phases *p) {
    const phase_subject *s = &p->subject;
    const doctor_options *o = a->options;
    if (!o->json) printf("phases of %s%s%s\n", s->side.name, s->cpu != NULL ? ", kernels " : "", s->cpu != NULL ? s->cpu : "");
    if (o->json) p->told = json_array();
    const int done = run_rows(a, p);
    if (done == STATUS_DONE && p->count[0] + p->count[1] + p->count[2] == 0)
        return args_fail(a, STATUS_USAGE, "--only \"%.60s\" is neither a phase (1 to 4) nor what or problem of a row", p->only);
    if (done != STATUS_DONE) {
        json_decref(p->told);
        return done;
    }
    if (!o->json) {
        printf("\n%d passed, %d failed, %d refused\n", p->count[PHASE_PASS], p->count[PHASE_FAIL], p->count[PHASE_REFUSED]);
        return STATUS_DONE;
    }
    return output_json(a, json_pack("{s:s, s:s, s:s?, s:I, s:i, s:i, s:i, s:o}", "of", s->side.name, "implementation",
                                    s->side.implementation, "cpu", s->cpu, "seed", (json_int_t)s->seed, "passed",
                                    p->count[PHASE_PASS], "failed", p->count[PHASE_FAIL], "refused", p->count[PHASE_REFUSED],
                                    "rows", p->told));
}

// Without a name: what is the cheapest for a usual problem.
int doctor_phases(const args *a) {
    const doctor_options *o = a->options;
    const char *name = o->impl;
    heed_error error;
    heed_report report;
    if (name == NULL) {
        const heed_problem usual = {.batch = 1, .heads = 4, .queries = 128, .channels = 64, .mask = {heed_causal()}};
        const heed_choice choice = {.cpu = o->cpu};
        if (heed_explain(&usual, &choice, &report, &error) != HEED_OK) return args_fail_error(a, &error);
        for (int i = 0; i < report.lines; i++)
            if (report.line[i].chosen) name = report.line[i].name;
        if (name == NULL) return args_fail(a, STATUS_REFUSED, "no implementation accepts a usual problem; name one with --impl");
    }
    phases *p = calloc(1, sizeof *p);
    if (p == NULL) return args_fail(a, STATUS_SYSTEM, "out of memory");
    p->only = o->only;
    p->subject = (phase_subject){.cpu = o->cpu, .threads = (int)o->threads, .seed = (uint64_t)o->seed};
    int done = STATUS_DONE;
    if (compare_side_find(&p->subject.side, name, &error) != HEED_OK) done = args_fail_error(a, &error);
    else if (p->subject.side.implementation == NULL)
        done = args_fail(a, STATUS_USAGE, "--impl %.100s is a file; an implementation or a convention computes", name);
    p->n = phase_rows(p->row);
    if (done == STATUS_DONE) done = tell(a, p);
    free(p);
    return done;
}
