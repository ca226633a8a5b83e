// SPDX-License-Identifier: Apache-2.0
// What tests/python/test_planted.py drives: calls with their results from stdin, one line of JSON for each. Not a test itself.
//   case NAME / TEXT of the problem / array NAME N, a line, then N doubles; ... / end
#include "base/error.h"
#include "compare/search.h"
#include "core/problem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void die(const char *what, const char *of) {
    fprintf(stderr, "tool_diagnose: %s: %s\n", what, of);
    exit(1);
}

static double *read_doubles(int64_t n, const char *name) {
    double *x = malloc((size_t)n * 8 + 8);
    if (x == NULL || fread(x, 8, (size_t)n, stdin) != (size_t)n) die("the input ends within array", name);
    return x;
}

typedef struct { const char *name; double *doubles; uint8_t *bytes; int32_t *words; int64_t n; } place;

// Where an array of the call goes: one of three types, dense.
static void store(const place *to, const double *x) {
    for (int64_t i = 0; i < to->n; i++) {
        if (to->doubles != NULL) to->doubles[i] = x[i];
        if (to->bytes != NULL) to->bytes[i] = x[i] != 0;
        if (to->words != NULL) to->words[i] = (int32_t)x[i];
    }
}

static void take(call *c, observed *seen, const char *name, int64_t n, double *x) {
    const int64_t rows = c->batch * c->heads * c->queries, kv = c->batch * c->kv_heads * c->keys;
    const heed_problem *p = &c->problem;
    const place places[] = {
        {"q", c->q, NULL, NULL, rows * c->channels}, {"k", c->k, NULL, NULL, kv * c->channels},
        {"v", c->v, NULL, NULL, kv * c->value_channels}, {"sinks", c->sinks, NULL, NULL, c->heads},
        {"slopes", c->slopes, NULL, NULL, c->heads}, {"bias", c->bias, NULL, NULL, problem_grid_size(p, p->bias_axes)},
        {"mask", NULL, c->mask, NULL, problem_grid_size(p, p->mask_axes)}, {"keep", NULL, c->keep, NULL, rows * c->keys},
        {"key_range", NULL, NULL, c->key_range, 2 * c->batch}, {"key_count", NULL, NULL, c->key_count, c->batch},
        {"documents", NULL, NULL, c->documents, c->batch * c->keys},
    };
    if (strcmp(name, "out") == 0 && n == rows * c->value_channels) {
        seen->out = x;
        return;
    }
    if (strcmp(name, "lse") == 0 && n == rows) {
        seen->lse = x;
        return;
    }
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        if (strcmp(places[i].name, name) != 0) continue;
        if (places[i].n != n || (places[i].doubles == NULL && places[i].bytes == NULL && places[i].words == NULL))
            die("of no such size, or not of this problem", name);
        store(&places[i], x);
        free(x);
        return;
    }
    die("no such array", name);
}

// An id with its aliases, as a list.
static void print_id(const hypothesis *of) {
    char aliases[256], *next = NULL;
    snprintf(aliases, sizeof aliases, "%s", of->aliases);
    printf("[\"%s\"", of->id);
    for (char *a = strtok_r(aliases, " ", &next); a != NULL; a = strtok_r(NULL, " ", &next)) printf(", \"%s\"", a);
    printf("]");
}

static void print_ids(const hypothesis *const *of, int n, const char *key) {
    printf(", \"%s\": [", key);
    for (int i = 0; i < n; i++) {
        if (i > 0) printf(", ");
        print_id(of[i]);
    }
    printf("]");
}

static void print_explanations(const explanation *e, int n, const char *key) {
    printf(", \"%s\": [", key);
    for (int i = 0; i < n; i++) {
        const int ids = e[i].of[1] == NULL ? 1 : 2;
        printf("%s{\"small\": %s", i > 0 ? ", " : "", e[i].small ? "true" : "false");
        print_ids(e[i].of, ids, "ids");
        printf(", \"parameters\": [%.17g, %.17g], \"residual\": %.4g}", e[i].parameter[0], ids > 1 ? e[i].parameter[1] : 0,
               isfinite(e[i].residual) ? e[i].residual : 1e30);
    }
    printf("]");
}

static void print_findings(const char *name, const findings *f) {
    const bool rounding = f->inside && f->n_explained == 0;
    const char *verdict = rounding ? "ROUNDING" : f->claim.apart > 0 ? "NAN" : "SEMANTIC";
    printf("{\"name\": \"%s\", \"verdict\": \"%s\", \"unexplained\": %s, \"residual\": %.4g, \"floor\": %.4g, \"peak\": %.4g, "
           "\"peak_floor\": %.4g, \"lse\": %.4g, \"lse_floor\": %.4g",
           name, verdict, !rounding && f->n_explained == 0 ? "true" : "false", f->claim.rms, f->correct.rms, f->claim.peak,
           f->correct.peak, f->claim.rms_lse, f->correct.rms_lse);
    print_explanations(f->explained, f->n_explained, "explanations");
    print_explanations(f->nearest, f->n_nearest, "nearest");
    print_ids(f->undecidable, f->n_undecidable, "undecidable");
    print_ids(f->note, f->n_notes, "notes");
    printf("}\n");
    fflush(stdout);
}

static void diagnose(const char *name, const char *text) {
    problem_line line;
    heed_error error;
    call c;
    findings f;
    observed seen = {0};
    char word[4096], array[64];
    if (problem_claim_parse(&line, text, &error) != HEED_OK || call_begin(&c, &line, &error) != HEED_OK) die(text, error.text);
    while (fgets(word, sizeof word, stdin) != NULL && strcmp(word, "end\n") != 0) {
        long long n;
        if (sscanf(word, "array %63s %lld", array, &n) != 2 || n < 0 || n > 1 << 28) die("no array", word);
        take(&c, &seen, array, n, read_doubles(n, array));
    }
    if (seen.out == NULL) die(text, "no out");
    if (search_formulas(&f, &c, &seen, true, 1, &error) != HEED_OK) die(text, error.text);
    print_findings(name, &f);
    free((void *)seen.out);
    free((void *)seen.lse);
    call_free(&c);
}

int main(void) {
    char name[4096], text[4096];
    while (fgets(name, sizeof name, stdin) != NULL) {
        if (strncmp(name, "case ", 5) != 0 || fgets(text, sizeof text, stdin) == NULL) die("no case", name);
        name[strcspn(name, "\n")] = text[strcspn(text, "\n")] = 0;
        diagnose(name + 5, text);
    }
    return 0;
}
