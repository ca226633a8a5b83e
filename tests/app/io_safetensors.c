// SPDX-License-Identifier: Apache-2.0
// Round trips, and every way a file can be damaged: each truncation, each flipped bit, and headers written to deceive.
#include "io/safetensors.h"

#include "io_place.h"

#include <math.h>

static const float weights[6] = {1, -2.5f, 3e-30f, INFINITY, 0, 1e30f};
static const uint16_t halves[2] = {0x3c00, 0xc100};    // 1, -2.5
static const int64_t steps[1] = {77};

static const tensor_view tensors[] = {
    {.name = "wte.weight", .type = TENSOR_F32, .dims = 2, .shape = {2, 3}, .data = weights},
    {.name = "half", .type = TENSOR_F16, .dims = 1, .shape = {2}, .data = halves},
    {.name = "brain", .type = TENSOR_BF16, .dims = 1, .shape = {2}, .data = (uint16_t[]){0x3f80, 0xc020}},
    {.name = "empty", .type = TENSOR_F32, .dims = 2, .shape = {0, 7}},
    {.name = "step", .type = TENSOR_I64, .dims = 0, .data = steps},
};
enum { TENSORS = sizeof tensors / sizeof *tensors };

static void test_round_trip(void) {
    heed_error e;
    safetensors *f;
    const tensor_note note = {"heed", "0.1"};
    const char *path = place_path("a.safetensors");
    CHECK(safetensors_write(path, tensors, TENSORS, &note, 1, &e) == HEED_OK, "%s", e.text);
    CHECK(safetensors_open(&f, path, &e) == HEED_OK, "%s", e.text);
    CHECK(safetensors_count(f) == TENSORS, "%lld tensors", (long long)safetensors_count(f));
    CHECK(strcmp(safetensors_metadata(f, "format"), "pt") == 0 && strcmp(safetensors_metadata(f, "heed"), "0.1") == 0, "metadata");
    CHECK(safetensors_metadata(f, "none") == NULL && safetensors_find(f, "none") == NULL, "what is not there is NULL");
    for (int i = 0; i < TENSORS; i++) {
        const tensor_view *t = safetensors_find(f, tensors[i].name);
        CHECK(t != NULL && t->type == tensors[i].type && t->dims == tensors[i].dims, "%s", tensors[i].name);
        CHECK(t->bytes == 0 || memcmp(t->data, tensors[i].data, t->bytes) == 0, "%s: data", tensors[i].name);
        CHECK(t->bytes == (size_t)t->elements * tensor_type_bytes(t->type), "%s: size", tensors[i].name);
    }
    CHECK(((uintptr_t)safetensors_at(f, 0)->data & 7) == 0, "the data begin at a multiple of 8");
    CHECK(strcmp(safetensors_at(f, 0)->name, "wte.weight") == 0, "the caller's order");
    float x[6], y[2], z[2];
    CHECK(tensor_to_f32(safetensors_find(f, "wte.weight"), x) && memcmp(x, weights, sizeof x) == 0, "f32");
    CHECK(tensor_to_f32(safetensors_find(f, "half"), y) && y[0] == 1 && y[1] == -2.5f, "f16: %g %g", y[0], y[1]);
    CHECK(tensor_to_f32(safetensors_find(f, "brain"), z) && z[0] == 1 && z[1] == -2.5f, "bf16: %g %g", z[0], z[1]);
    CHECK(!tensor_to_f32(safetensors_find(f, "step"), x), "integers are not converted");
    const tensor_view *t;
    const int64_t shape[] = {2, 3}, other[] = {3, 2};
    CHECK(safetensors_need(f, "wte.weight", TENSOR_TYPES, 2, shape, &t, &e) == HEED_OK, "%s", e.text);
    CHECK(safetensors_need(f, "wte.weight", TENSOR_F32, 2, other, &t, &e) == HEED_INVALID && place_says(&e,
            "wte.weight|(2, 3)|(3, 2)"), "%s", e.text);
    CHECK(safetensors_need(f, "wte.weight", TENSOR_F32, 1, shape, &t, &e) == HEED_INVALID, "dims");
    CHECK(safetensors_need(f, "half", TENSOR_F32, 1, shape, &t, &e) == HEED_INVALID && place_says(&e, "half|F16|F32"), "%s",
          e.text);
    CHECK(safetensors_need(f, "step", TENSOR_TYPES, 0, shape, &t, &e) == HEED_INVALID && place_says(&e, "step|I64"), "%s", e.text);
    CHECK(safetensors_need(f, "bias", TENSOR_F32, 1, shape, &t, &e) == HEED_INVALID && place_says(&e, "bias is missing"), "%s",
          e.text);
    safetensors_close(f);
}

static void test_pieces(void) {
    heed_error e;
    safetensors_writer *w;
    safetensors *f;
    const char *path = place_path("pieces.safetensors");
    CHECK(safetensors_begin(&w, path, tensors, 1, NULL, 0, &e) == HEED_OK, "%s", e.text);
    for (size_t i = 0; i < sizeof weights; i++)
        CHECK(safetensors_append(w, (const char *)weights + i, 1, &e) == HEED_OK, "%s", e.text);
    CHECK(safetensors_end(w, &e) == HEED_OK, "%s", e.text);
    CHECK(safetensors_open(&f, path, &e) == HEED_OK && memcmp(safetensors_at(f, 0)->data, weights, sizeof weights) == 0, "pieces");
    safetensors_close(f);
    CHECK(safetensors_begin(&w, path, tensors, 1, NULL, 0, &e) == HEED_OK, "%s", e.text);
    CHECK(safetensors_end(w, &e) == HEED_INVALID && place_says(&e, "24 bytes|missing"), "%s", e.text);
    CHECK(safetensors_begin(&w, path, tensors, 1, NULL, 0, &e) == HEED_OK, "%s", e.text);
    CHECK(safetensors_append(w, weights, sizeof weights + 1, &e) == HEED_INVALID, "too many bytes");
    const tensor_view twice[] = {tensors[0], tensors[0]}, negative = {.name = "n", .type = TENSOR_F32, .dims = 1, .shape = {-1}};
    const tensor_view huge = {.name = "h", .type = TENSOR_F32, .dims = 2, .shape = {INT64_MAX / 2, 4}};
    CHECK(safetensors_begin(&w, path, twice, 2, NULL, 0, &e) == HEED_INVALID && place_says(&e, "wte.weight|unique"), "%s", e.text);
    CHECK(safetensors_begin(&w, path, &negative, 1, NULL, 0, &e) == HEED_INVALID, "a negative extent");
    CHECK(safetensors_begin(&w, path, &huge, 1, NULL, 0, &e) == HEED_INVALID, "a size that overflows");
}

// Opens; where that succeeds reads every byte, so that a sanitizer sees a view outside of the file.
static heed_status open_and_read(const char *path, heed_error *e) {
    safetensors *f;
    const heed_status status = safetensors_open(&f, path, e);
    if (status != HEED_OK) return status;
    unsigned sum = 0;
    for (int64_t i = 0; i < safetensors_count(f); i++) {
        const tensor_view *t = safetensors_at(f, i);
        for (size_t j = 0; j < t->bytes; j++) sum += ((const unsigned char *)t->data)[j];
        sum += (unsigned)strlen(t->name);
    }
    safetensors_close(f);
    return sum == UINT32_MAX ? HEED_DEVICE : HEED_OK;    // uses sum
}

static void test_damage(void) {
    heed_error e;
    char *bytes;
    size_t n;
    CHECK(file_read(&bytes, &n, place_path("a.safetensors"), 1 << 20, &e) == HEED_OK, "%s", e.text);
    for (size_t cut = 0; cut < n; cut++) {
        const char *path = place_put("cut.safetensors", bytes, cut);
        CHECK(open_and_read(path, &e) == HEED_INVALID && place_says(&e, "cut.safetensors"), "%zu of %zu bytes: %s", cut, n, e.text);
    }
    place_put("long.safetensors", bytes, n + 1);    // the zero that file_read puts after it
    CHECK(open_and_read(place_path("long.safetensors"), &e) == HEED_INVALID && place_says(&e, "byte|no tensor"), "%s", e.text);
    long refused = 0;
    const size_t header = 8 + (size_t)((unsigned char)bytes[0] | (unsigned char)bytes[1] << 8);
    for (size_t bit = 0; bit < 8 * header; bit++) {    // a bit of the data cannot be found wrong: there is no checksum
        bytes[bit / 8] ^= (char)(1 << bit % 8);
        const heed_status status = open_and_read(place_put("bit.safetensors", bytes, n), &e);
        bytes[bit / 8] ^= (char)(1 << bit % 8);
        CHECK(status == HEED_OK || status == HEED_INVALID, "bit %zu: status %d", bit, status);
        refused += status != HEED_OK;
    }
    CHECK(refused > (long)header, "only %ld of %zu flipped bits were found", refused, 8 * header);
    free(bytes);
}

static const char *put_header(const char *json, size_t data) {
    unsigned char file[4096] = {0};
    const size_t n = strlen(json);
    for (int i = 0; i < 8; i++) file[i] = (unsigned char)((uint64_t)n >> 8 * i);
    for (size_t i = 0; i < n; i++) file[8 + i] = json[i] == '\'' ? '"' : (unsigned char)json[i];
    return place_put("hostile.safetensors", file, 8 + n + data);
}

// Each header (' stands for ") with so many bytes of data, and what its sentence must say.
static const struct { const char *json; size_t data; const char *words; } hostile[] = {
    {"{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,8]},'a':{'dtype':'F32','shape':[2],'data_offsets':[8,16]}}", 16,
     "duplicate"},
    {"{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,8]},'b':{'dtype':'F32','shape':[2],'data_offsets':[4,12]}}", 12,
     "tensor b|overlaps"},
    {"{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,8]},'b':{'dtype':'F32','shape':[2],'data_offsets':[0,8]}}", 8, "overlaps"},
    {"{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,8]},'b':{'dtype':'F32','shape':[1],'data_offsets':[12,16]}}", 16,
     "tensor b|hole"},
    {"{'a':{'dtype':'F32','shape':[2],'data_offsets':[4,12]}}", 12, "hole"},
    {"{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,8]}}", 9, "1 bytes|no tensor"},
    {"{}", 4, "4 bytes|no tensor"},
    {"{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,8]}}", 7, "tensor a|data_offsets|7 bytes"},
    {"{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,4]}}", 4, "tensor a|shape"},
    {"{'a':{'dtype':'F32','shape':[2],'data_offsets':[8,0]}}", 8, "data_offsets|[8, 0]"},
    {"{'a':{'dtype':'F32','shape':[2],'data_offsets':[-8,0]}}", 8, "data_offsets"},
    {"{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,9223372036854775807]}}", 8, "data_offsets"},
    {"{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,99999999999999999999]}}", 8, "header"},
    {"{'a':{'dtype':'F32','shape':[2],'data_offsets':[0]}}", 8, "two integers"},
    {"{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,8.0]}}", 8, "two integers"},
    {"{'a':{'dtype':'F32','shape':[4294967296,4294967296],'data_offsets':[0,0]}}", 0, "overflows"},
    {"{'a':{'dtype':'F32','shape':[4611686018427387904],'data_offsets':[0,0]}}", 0, "tensor a"},
    {"{'a':{'dtype':'F32','shape':[0,9223372036854775807,2],'data_offsets':[0,4]}}", 4, "tensor a"},
    {"{'a':{'dtype':'F32','shape':[-2],'data_offsets':[0,8]}}", 8, "shape|at least 0"},
    {"{'a':{'dtype':'F32','shape':[1,1,1,1,1,1,1,1,1],'data_offsets':[0,4]}}", 4, "8 dimensions"},
    {"{'a':{'dtype':'F32','shape':2,'data_offsets':[0,8]}}", 8, "shape|list"},
    {"{'a':{'dtype':'F31','shape':[2],'data_offsets':[0,8]}}", 8, "dtype|F31"},
    {"{'a':{'dtype':7,'shape':[2],'data_offsets':[0,8]}}", 8, "dtype|text"},
    {"{'a':{'dtype':'F32','data_offsets':[0,8]}}", 8, "tensor a|exactly"},
    {"{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,8],'more':1}}", 8, "tensor a|exactly"},
    {"{'a':[]}", 0, "tensor a|object"},
    {"{'__metadata__':{'format':1}}", 0, "__metadata__|texts"},
    {"{'__metadata__':[]}", 0, "__metadata__|object"},
    {"[]", 0, "{"},
    {" {}", 0, "{"},
    {"", 0, "{"},
    {"{'a':", 0, "header"},
    {"{} x", 0, "header"},
    {"{'\xff':{'dtype':'F32','shape':[2],'data_offsets':[0,8]}}", 8, "header"},
    {"{'\\u001b[2J\\n':[]}", 0, "tensor ?[2J?"},    // no escape sequence reaches a terminal
    {"{'a\\u0000b':{'dtype':'F32','shape':[2],'data_offsets':[0,8]}}", 8, "header"},
};

static void test_hostile(void) {
    heed_error e;
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        const heed_status status = open_and_read(put_header(hostile[i].json, hostile[i].data), &e);
        CHECK(status == HEED_INVALID && place_says(&e, hostile[i].words) && place_says(&e, "hostile.safetensors"),
              "%s: status %d, %s",
              hostile[i].json, status, status == HEED_OK ? "" : e.text);
    }
    char deep[3000];
    memset(deep, '[', sizeof deep);
    memcpy(deep, "{\"a\":", 5);
    deep[sizeof deep - 1] = 0;
    CHECK(open_and_read(put_header(deep, 0), &e) == HEED_INVALID && place_says(&e, "deeper"), "%s", e.text);
    const uint64_t lengths[] = {UINT64_MAX, INT64_MAX, (uint64_t)1 << 40, 9, (100 << 20) + 1};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        place_put("length.safetensors", (uint64_t[]){lengths[i], 0x7d7b}, 16);
        CHECK(open_and_read(place_path("length.safetensors"), &e) == HEED_INVALID && place_says(&e, "header length at byte 0"),
              "%s", e.text);
    }
    CHECK(open_and_read(put_header("{}   ", 0), &e) == HEED_OK, "a padded header without tensors: %s", e.text);
    CHECK(open_and_read(place_path("none.safetensors"), &e) == HEED_INVALID && place_says(&e, "none.safetensors|No such file"),
          "%s", e.text);
    CHECK(open_and_read(place, &e) == HEED_INVALID && place_says(&e, "folder"), "%s", e.text);
}

static void test_full_disk(void) {
    heed_error e;
    if (!file_exists("/dev/full")) {
        SKIP("safetensors on a full disk: there is no /dev/full");
        return;
    }
    CHECK(safetensors_write("/dev/full", tensors, TENSORS, NULL, 0, &e) == HEED_INVALID && place_says(&e, "/dev/full|No space"),
          "%s", e.text);
    CHECK(safetensors_write(place_path("no/such/folder"), tensors, 1, NULL, 0, &e) == HEED_INVALID, "a folder that is not there");
}

int main(void) {
    place_begin();
    test_round_trip();
    test_pieces();
    test_damage();
    test_hostile();
    test_full_disk();
    return place_end();
}
