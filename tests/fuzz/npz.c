// SPDX-License-Identifier: Apache-2.0
// npz: an archive that opens has every array inside of its memory, and written again it opens as the same. The first byte says
// what follows: 0 an archive; else one array, so that checksums do not stand in the way of what headers can say.
#include "fuzz.h"

#include "io/npy.h"
#include "io/npz.h"

static const char NAME[] = "t.npz";

static void touch(const tensor_view *t) {
    volatile double sum = 0;
    REQUIRE(t->bytes == (size_t)t->elements * tensor_type_bytes(t->type), "%s: %zu bytes", t->name, t->bytes);
    for (int64_t i = 0; i < t->elements; i++) sum += tensor_value(t, i);
}

static void write_again(const npz *f) {
    heed_error e;
    npz *again;
    const char *path = fuzz_file("again.npz", NULL, 0);
    REQUIRE(npz_write(path, npz_at(f, 0), npz_count(f), NULL, 0, &e) == HEED_OK, "%s", e.text);
    REQUIRE(npz_open(&again, path, &e) == HEED_OK, "%s", e.text);
    REQUIRE(npz_count(again) == npz_count(f), "another count");
    for (int64_t i = 0; i < npz_count(f); i++) {
        const tensor_view *x = npz_at(f, i), *y = npz_at(again, i);
        REQUIRE(strcmp(x->name, y->name) == 0 && x->type == y->type && x->dims == y->dims && x->bytes == y->bytes &&
                    memcmp(x->shape, y->shape, sizeof x->shape[0] * (size_t)x->dims) == 0 &&
                    (x->bytes == 0 || memcmp(x->data, y->data, x->bytes) == 0), "%s differs", x->name);
    }
    npz_close(again);
    unlink(path);
}

static void read_array(const uint8_t *data, size_t n) {
    heed_error e;
    npy array;
    void *owned = NULL;
    tensor_view view = {.name = "x"};
    uint8_t *exact = malloc(n > 0 ? n : 1);    // so that a byte too far is seen
    REQUIRE(exact != NULL, "no memory for %zu bytes", n);
    memcpy(exact, data, n);
    heed_status status = npy_parse(&array, exact, n, NAME, "x", &e);
    if (status == HEED_OK) status = npy_view(&array, &view, &owned, NAME, &e);
    fuzz_sentence(status, &e, NAME);
    if (status == HEED_OK) touch(&view);
    free(owned);
    free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    heed_error e;
    npz *f;
    if (n == 0) return 0;
    if (*data != 0) return read_array(data + 1, n - 1), 0;
    data++;
    n--;
    const heed_status status = npz_open(&f, fuzz_file(NAME, data, n), &e);
    fuzz_sentence(status, &e, NAME);
    if (status != HEED_OK) return 0;
    for (int64_t i = 0; i < npz_count(f); i++) touch(npz_at(f, i));
    if (npz_count(f) > 0) write_again(f);
    npz_close(f);
    return 0;
}
