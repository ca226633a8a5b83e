// SPDX-License-Identifier: Apache-2.0
// A run folder as `heed runs` reads it; the first byte says which of its files the input is. A damaged file is a note, never a
// number that is not there.
#include "fuzz.h"

#include "train/record.h"

static const struct { const char *name, *whole; } files[] = {
    {"run.json", "{\"options\":{\"given\":{\"seed\":1},\"effective\":{\"seed\":1}},\"resumed\":[]}"},
    {"metrics.jsonl", "{\"step\":1,\"loss\":2.5}\n{\"step\":2,\"loss\":2}\n{\"step\":2,\"eval_loss\":2.5,\"truncated\":false}\n"},
    {"attention.json", "[{\"problem\":\"b1 h1 q4 d8\",\"pass\":\"training\",\"requested\":\"auto\",\"actual\":\"cpu.flash\"}]"},
    {"final_metrics.json", "{\"status\":\"done\",\"step\":2}"},
};
enum { FILES = sizeof files / sizeof *files };

static void check(const metrics *m) {
    REQUIRE(m->n >= 0 && m->n <= SERIES_MOST && m->lines >= 0 && m->damaged >= 0, "%d curves", m->n);
    for (int i = 0; i < m->n; i++) {
        const series *s = &m->of[i];
        REQUIRE(s->n > 0 && metrics_find(m, s->key) == s, "curve %s", s->key);
        for (size_t j = 1; j < s->n; j++) REQUIRE(s->point[j].step > s->point[j - 1].step, "%s: steps go back", s->key);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    if (n == 0) return 0;
    for (int i = 0; i < FILES; i++) {
        if (i == data[0] % FILES) fuzz_file(files[i].name, data + 1, n - 1);
        else fuzz_file(files[i].name, files[i].whole, strlen(files[i].whole));
    }
    heed_error e;
    run_record r;
    const heed_status status = run_record_read(&r, fuzz_folder(), &e);
    fuzz_sentence(status, &e, NULL);
    if (status != HEED_OK) return 0;
    check(&r.metrics);
    json_decref(run_record_attention(&r));
    run_record_options(&r);
    run_record_free(&r);
    return 0;
}
