// SPDX-License-Identifier: Apache-2.0
// A model's folder: config.json up to the first zero byte, then model.safetensors. A small one that loads, saved and loaded
// again, holds the same values.
#include "fuzz.h"

#include "io/folder.h"
#include "model/model_state.h"
#include "nn/parameter.h"

enum { SMALL = 1 << 14 };    // values

// Before anything of the config's size is allocated.
static bool is_small(const char *folder) {
    heed_error e;
    model *m;
    REQUIRE(model_begin(&m, &e) == HEED_OK, "%s", e.text);
    const heed_status status = gpt2_read_config(m, folder, &e);
    fuzz_sentence(status, &e, "config.json");
    const model_config *c = &m->config;
    const bool small = status == HEED_OK && c->width <= 16 && c->inner <= 64 && c->layers <= 2 && c->heads <= 16 &&
                       (c->vocabulary + c->positions) * c->width < SMALL;
    model_free(m);
    return small;
}

static void save_and_load(const model *m) {
    static char folder[200];
    heed_error e;
    model *again;
    int64_t count, same;
    snprintf(folder, sizeof folder, "%s-saved", fuzz_folder());
    REQUIRE(folder_make(folder, &e) == HEED_OK && model_save(m, folder, &e) == HEED_OK, "%s", e.text);
    REQUIRE(model_load(&again, folder, &e) == HEED_OK, "saved, it does not load: %s", e.text);
    const parameter *p = model_parameters(m, &count), *q = model_parameters(again, &same);
    REQUIRE(count == same, "%lld parameters, not %lld", (long long)same, (long long)count);
    for (int64_t i = 0; i < count; i++)
        REQUIRE(memcmp(p[i].value, q[i].value, (size_t)parameter_count(&p[i]) * sizeof(float)) == 0, "%s differs", p[i].name);
    model_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    size_t first, second;
    const uint8_t *rest = fuzz_split(data, n, &first, &second);
    fuzz_file("config.json", data, first);
    fuzz_file("model.safetensors", rest, second);
    if (!is_small(fuzz_folder())) return 0;
    heed_error e;
    model *m;
    const heed_status status = model_load(&m, fuzz_folder(), &e);
    fuzz_sentence(status, &e, NULL);
    if (status != HEED_OK) return 0;
    save_and_load(m);
    model_free(m);
    return 0;
}
