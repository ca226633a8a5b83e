// SPDX-License-Identifier: Apache-2.0
// A run folder as `heed runs` reads it: run.json, attention.json, final_metrics.json and metrics.jsonl, with zero bytes between;
// an empty part is a file that is not there. It is compared with itself and with a run of nothing.
#include "fuzz.h"

#include "cli/runs.h"

// Curves have points, one a step, in order, and are found by their names.
static void check(const metrics *m) {
    REQUIRE(m->n >= 0 && m->n <= SERIES_MOST && m->lines >= 0 && m->damaged >= 0, "%d curves", m->n);
    for (int i = 0; i < m->n; i++) {
        const series *s = &m->of[i];
        REQUIRE(s->n > 0 && metrics_find(m, s->key) == s, "curve %s", s->key);
        for (size_t j = 1; j < s->n; j++) REQUIRE(s->point[j].step > s->point[j - 1].step, "%s: steps go back", s->key);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static const char *const names[] = {"run.json", "attention.json", "final_metrics.json", "metrics.jsonl"};
    for (int i = 0; i < 4; i++) {
        size_t own, rest;
        const uint8_t *next = fuzz_split(data, n, &own, &rest);
        fuzz_file(names[i], own > 0 ? data : NULL, own);
        data = next;
        n = rest;
    }
    run_record runs[3] = {{.folder = strdup("nothing")}, {0}, {0}};
    heed_error e;
    bool whole = true;
    for (int i = 1; i < 3; i++) {
        const heed_status status = run_record_read(&runs[i], fuzz_folder(), &e);
        fuzz_sentence(status, &e, NULL);
        whole &= status == HEED_OK;
        if (status == HEED_OK) check(&runs[i].metrics);
    }
    if (whole) {
        json_t *twins = runs_compare(runs + 1, 2, 1e-3), *all = runs_compare(runs, 3, 0), *results = runs_results(runs, 3);
        REQUIRE(json_is_false(json_object_get(twins, "differ")), "a run differs from itself");
        char *text[] = {json_dumps(twins, 0), json_dumps(all, 0), json_dumps(results, 0)};
        for (int i = 0; i < 3; i++) REQUIRE(text[i] != NULL, "a comparison is no JSON");
        for (int i = 0; i < 3; i++) free(text[i]);
        json_decref(twins);
        json_decref(all);
        json_decref(results);
    }
    for (int i = 0; i < 3; i++) run_record_free(&runs[i]);
    return 0;
}
