// SPDX-License-Identifier: Apache-2.0
// safetensors: a file that opens has every view inside of it, and written again it opens as the same.
#include "fuzz.h"

#include "io/safetensors.h"

static const char NAME[] = "t.safetensors";

static unsigned touch(const tensor_view *t) {
    unsigned sum = 0;
    for (size_t i = 0; i < t->bytes; i++) sum += ((const unsigned char *)t->data)[i];
    float *values = malloc((size_t)t->elements * sizeof *values + 1);
    REQUIRE(values != NULL, "no memory for %lld values", (long long)t->elements);
    tensor_to_f32(t, values);
    free(values);
    return sum;
}

static void compare(const safetensors *a, const safetensors *b) {
    REQUIRE(safetensors_count(a) == safetensors_count(b), "another count");
    for (int64_t i = 0; i < safetensors_count(a); i++) {
        const tensor_view *x = safetensors_at(a, i), *y = safetensors_find(b, x->name);
        REQUIRE(y != NULL, "%s is gone", x->name);
        REQUIRE(x->type == y->type && x->dims == y->dims && x->bytes == y->bytes && x->elements == y->elements &&
                    memcmp(x->shape, y->shape, sizeof x->shape[0] * (size_t)x->dims) == 0 &&
                    (x->bytes == 0 || memcmp(x->data, y->data, x->bytes) == 0), "%s differs", x->name);
    }
}

static void write_again(const safetensors *f) {
    heed_error e;
    safetensors *again;
    const int64_t count = safetensors_count(f);
    const char *path = fuzz_file("again.safetensors", "", 0);
    REQUIRE(safetensors_write(path, count > 0 ? safetensors_at(f, 0) : NULL, count, NULL, 0, &e) == HEED_OK, "%s", e.text);
    REQUIRE(safetensors_open(&again, path, &e) == HEED_OK, "%s", e.text);
    compare(f, again);
    compare(again, f);
    safetensors_close(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    heed_error e;
    safetensors *f;
    const int64_t shape[2] = {2, 3};
    const tensor_view *found;
    const heed_status status = safetensors_open(&f, fuzz_file(NAME, data, n), &e);
    fuzz_sentence(status, &e, NAME);
    if (status != HEED_OK) return 0;
    for (int64_t i = 0; i < safetensors_count(f); i++) {
        const tensor_view *t = safetensors_at(f, i);
        touch(t);
        REQUIRE(safetensors_find(f, t->name) == t, "%s is not found", t->name);
        fuzz_sentence(safetensors_need(f, t->name, TENSOR_TYPES, 2, shape, &found, &e), &e, NAME);
    }
    fuzz_sentence(safetensors_need(f, "absent", TENSOR_F32, 2, shape, &found, &e), &e, NAME);
    safetensors_metadata(f, "format");
    write_again(f);
    safetensors_close(f);
    return 0;
}
