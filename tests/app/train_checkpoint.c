// SPDX-License-Identifier: Apache-2.0
// Every file of a checkpoint cut at every 64th byte, emptied, lengthened, and with single bits flipped: what a resume reads is a
// sentence that names the file, or exactly what was written. Never a crash, never other weights.
#include "io_place.h"

#include "base/random.h"
#include "io/json.h"
#include "train/checkpoint.h"

#include <dirent.h>

enum { CUT = 64, FLIPS = 150 };

static const char config[] =
    "{\"model_type\":\"gpt2\",\"vocab_size\":257,\"n_positions\":4,\"n_layer\":1,\"n_head\":1,\"n_embd\":4}";

static model *written;
static moments written_moments;
static trainer_state written_state;
static char folder[300];

static bool same_values(const model *m, const moments *s) {
    int64_t count, n = 0;
    const parameter *p = model_parameters(written, &count), *q = model_parameters(m, &n);
    bool same = n == count;
    for (int64_t i = 0; same && i < count; i++) {
        const size_t bytes = (size_t)parameter_count(&p[i]) * sizeof(float);
        same = memcmp(p[i].value, q[i].value, bytes) == 0 && memcmp(s->m[i], written_moments.m[i], bytes) == 0 &&
               memcmp(s->v[i], written_moments.v[i], bytes) == 0;
    }
    return same;
}

// What a resumed run does. True: it went on, with what was written.
static bool resume(bool *exact, heed_error *e) {
    model *m = NULL;
    tokenizer *words = NULL;
    moments s = {0};
    trainer_state state = {0};
    heed_status status = checkpoint_check(folder, e);
    if (status == HEED_OK) status = tokenizer_load(&words, folder, e);
    if (status == HEED_OK) status = model_load(&m, folder, e);
    if (status == HEED_OK) status = moments_create(&s, m, e);
    if (status == HEED_OK) status = checkpoint_read_state(folder, &state, e);
    if (status == HEED_OK) status = checkpoint_read_moments(folder, m, &s, e);
    *exact = status == HEED_OK && same_values(m, &s) && state.step == written_state.step && state.seed == written_state.seed &&
             state.loss_sum == written_state.loss_sum && state.data == written_state.data && tokenizer_size(words) == 257;
    moments_free(&s);
    model_free(m);
    tokenizer_free(words);
    return status == HEED_OK;
}

static void try_damage(const char *name, const char *bytes, size_t n, const char *what, size_t where) {
    heed_error e = {.text = ""};
    char path[64];
    bool exact;
    snprintf(path, sizeof path, "c/%.50s", name);
    place_put(path, bytes, n);
    if (resume(&exact, &e)) CHECK(exact, "%s %s at %zu: resumes as something else", name, what, where);
    else CHECK(strstr(e.text, name) != NULL || strstr(e.text, "trainer_state.json") != NULL, "%s %s at %zu: '%s' does not name it",
               name, what, where, e.text);
}

static void damage_file(const char *name, random_stream *r) {
    heed_error e;
    char path[64], *good, *bad;
    size_t n;
    snprintf(path, sizeof path, "c/%.50s", name);
    CHECK(file_read(&good, &n, place_path(path), 1 << 24, &e) == HEED_OK, "%s", e.text);
    for (size_t cut = 0; cut < n; cut += CUT) try_damage(name, good, cut, "cut", cut);
    bad = calloc(1, n + 64);
    for (int i = 0; i < FLIPS && n > 0; i++) {
        const size_t at = (size_t)random_below(r, n);
        memcpy(bad, good, n);
        bad[at] = (char)(bad[at] ^ 1 << random_below(r, 8));
        try_damage(name, bad, n, "flipped", at);
    }
    memcpy(bad, good, n);
    try_damage(name, bad, n + 64, "lengthened", n);
    place_put(path, good, n);
    free(bad);
    free(good);
}

static void test_damage(void) {
    static const char *const names[] = {"config.json", "model.safetensors", "optimizer.safetensors", "trainer_state.json",
                                        "vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json",
                                        "special_tokens_map.json"};
    enum { COUNT = sizeof names / sizeof *names };
    int count = 0;
    heed_error e = {.text = ""};
    bool exact;
    DIR *listing = opendir(folder);
    for (const struct dirent *entry; (entry = readdir(listing)) != NULL;) count += entry->d_name[0] != '.';
    closedir(listing);
    CHECK(count == COUNT, "a checkpoint has %d files, the test knows %d", count, COUNT);
    CHECK(resume(&exact, &e) && exact, "%s", e.text);
    random_stream r = random_of(11, 0);
    for (int i = 0; i < COUNT; i++) damage_file(names[i], &r);
    CHECK(resume(&exact, &e) && exact, "%s", e.text);
    for (int i = 0; i < COUNT; i++) {    // gone
        char path[400], aside[400];
        snprintf(path, sizeof path, "%.300s/%.50s", folder, names[i]);
        snprintf(aside, sizeof aside, "%.300s/aside", place);
        rename(path, aside);
        CHECK(!resume(&exact, &e) && strstr(e.text, names[i]) != NULL, "without %s: %s", names[i], e.text);
        rename(aside, path);
    }
}

// A checkpoint that an earlier heed wrote has no checksums, and resumes.
static void test_earlier(void) {
    heed_error e;
    json_t *state;
    bool exact;
    const char *path = place_path("c/trainer_state.json");
    CHECK(json_file_read(&state, path, &e) == HEED_OK, "%s", e.text);
    json_object_del(state, "checksum");
    CHECK(json_file_write(state, path, &e) == HEED_OK && !resume(&exact, &e) && place_says(&e, "trainer_state.json|damaged"), "%s",
          e.text);
    json_object_del(state, "files");
    CHECK(json_file_write(state, path, &e) == HEED_OK && resume(&exact, &e) && exact, "%s", e.text);
    json_decref(state);
}

int main(void) {
    heed_error e;
    tokenizer *words;
    place_begin();
    CHECK(folder_make(place_path("start"), &e) == HEED_OK, "%s", e.text);
    place_put("start/config.json", config, strlen(config));
    CHECK(model_create_from_config(&written, place_path("start"), 0, 3, &e) == HEED_OK, "%s", e.text);
    CHECK(tokenizer_create_bytes(&words, &e) == HEED_OK && moments_create(&written_moments, written, &e) == HEED_OK, "%s", e.text);
    random_stream r = random_of(5, 0);
    int64_t count;
    const parameter *p = model_parameters(written, &count);
    for (int64_t i = 0; i < count; i++)
        for (int64_t j = 0; j < parameter_count(&p[i]); j++) {
            written_moments.m[i][j] = (float)random_normal(&r);
            written_moments.v[i][j] = (float)random_normal(&r) * 1e-3f;
        }
    written_state = (trainer_state){.step = 7, .steps = 20, .steps_per_epoch = 5, .loss_sum = 0.1 + 7, .seed = 42, .batch_size = 8,
                                    .accumulation = 1, .rows = 33, .threads = 2, .data = 0x123456789abcdefu, .learning_rate = 0.1,
                                    .best_step = -1, .schedule = "linear"};
    snprintf(folder, sizeof folder, "%s", place_path("c"));
    CHECK(checkpoint_write(folder, written, words, &written_moments, &written_state, &e) == HEED_OK, "%s", e.text);
    test_damage();
    test_earlier();
    moments_free(&written_moments);
    model_free(written);
    tokenizer_free(words);
    return place_end();
}
