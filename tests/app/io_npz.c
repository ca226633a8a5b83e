// SPDX-License-Identifier: Apache-2.0
// Round trips, and every way an archive can be damaged: each truncation, each flipped bit, bombs, overlaps, headers that deceive.
// tests/python/test_io_npz.py holds reader and writer against NumPy.
#include "io/npz.h"

#include "io_place.h"

#include <zlib.h>

static const float weights[6] = {1, -2.5f, 3e-30f, 7, 0, 1e30f};
static const uint16_t brain[2] = {0x3f80, 0xc020};

static const tensor_view tensors[] = {
    {.name = "q", .type = TENSOR_F32, .dims = 2, .shape = {2, 3}, .data = weights},
    {.name = "brain", .type = TENSOR_BF16, .dims = 1, .shape = {2}, .data = brain},
    {.name = "empty", .type = TENSOR_F64, .dims = 2, .shape = {0, 7}},
    {.name = "step", .type = TENSOR_I64, .dims = 0, .data = (int64_t[]){77}},
};
enum { TENSORS = sizeof tensors / sizeof *tensors };
static const npz_text texts[] = {{"problem", "b1 h2 q3 d4 causal"}};

// What a file of the above must hold; false: anything differs.
static bool holds_all(const npz *f) {
    if (npz_count(f) != TENSORS + 1) return false;
    for (int i = 0; i < TENSORS; i++) {
        const tensor_view *t = npz_find(f, tensors[i].name);
        const tensor_type type = tensors[i].type == TENSOR_BF16 ? TENSOR_U16 : tensors[i].type;
        if (t == NULL || t->type != type || t->dims != tensors[i].dims ||
            memcmp(t->shape, tensors[i].shape, (size_t)t->dims * sizeof *t->shape) != 0 ||
            (t->bytes > 0 && memcmp(t->data, tensors[i].data, t->bytes) != 0))
            return false;
    }
    const tensor_view *text = npz_find(f, "problem");
    return text != NULL && text->type == TENSOR_U8 && text->dims == 1 && (size_t)text->elements == strlen(texts[0].text) &&
           memcmp(text->data, texts[0].text, text->bytes) == 0;
}

static void test_round_trip(void) {
    heed_error e;
    npz *f;
    const char *path = place_path("a.npz");
    CHECK(npz_write(path, tensors, TENSORS, texts, 1, &e) == HEED_OK, "%s", e.text);
    CHECK(npz_open(&f, path, &e) == HEED_OK, "%s", e.text);
    CHECK(holds_all(f), "what was written is read");
    CHECK(npz_find(f, "none") == NULL && npz_at(f, -1) == NULL && npz_at(f, TENSORS + 1) == NULL, "what is not there is NULL");
    CHECK(strcmp(npz_at(f, 0)->name, "problem") == 0, "the file's order");
    CHECK(((uintptr_t)npz_find(f, "q")->data - (uintptr_t)npz_at(f, 0)->data) > 0, "views");
    npz_close(f);
    const tensor_view f8 = {.name = "f8", .type = TENSOR_F8_E4M3, .dims = 1, .shape = {1}, .data = weights};
    CHECK(npz_write(place_path("f8.npz"), &f8, 1, NULL, 0, &e) == HEED_INVALID && place_says(&e, "f8|F8_E4M3"), "%s", e.text);
    CHECK(!file_exists(place_path("f8.npz")), "nothing is written after a failure");
}

// Every cut is found; a flipped bit is found, or changes nothing that is read (a date, a version).
static void test_damage(void) {
    heed_error e;
    char *bytes;
    size_t n;
    npz *f;
    CHECK(file_read(&bytes, &n, place_path("a.npz"), 1 << 20, &e) == HEED_OK, "%s", e.text);
    for (size_t cut = 0; cut < n; cut++) {
        const char *path = place_put("cut.npz", bytes, cut);
        CHECK(npz_open(&f, path, &e) == HEED_INVALID && place_says(&e, "cut.npz"), "%zu of %zu bytes: %s", cut, n, e.text);
    }
    long refused = 0;
    for (size_t bit = 0; bit < 8 * n; bit++) {
        bytes[bit / 8] ^= (char)(1 << bit % 8);
        const heed_status status = npz_open(&f, place_put("bit.npz", bytes, n), &e);
        bytes[bit / 8] ^= (char)(1 << bit % 8);
        CHECK(status == HEED_OK || status == HEED_INVALID || status == HEED_REFUSED, "bit %zu: status %d", bit, status);
        refused += status != HEED_OK;
        if (status != HEED_OK) continue;
        CHECK(holds_all(f), "bit %zu of byte %zu: other arrays are read, and no word said", bit % 8, bit / 8);
        npz_close(f);
    }
    CHECK(refused > (long)(6 * n), "only %ld of %zu flipped bits were found", refused, 8 * n);
    free(bytes);
}

// ---- Archives made by hand ----------------------------------------------------------------------------------------

typedef struct { unsigned char at[1 << 16]; size_t n; } bytes;

static void put(bytes *b, uint64_t x, int n) {
    for (int i = 0; i < n; i++) b->at[b->n++] = i < 8 ? (unsigned char)(x >> 8 * i) : 0;
}

static void put_all(bytes *b, const void *from, size_t n) {
    memcpy(b->at + b->n, from, n);
    b->n += n;
}

enum { DEFLATED = 1, DESCRIBED = 2, WIDE = 4, SIGNED = 8 };

// An archive of one member, honest but for `lie`, which is added to the size the directory says; flags: how it is packed.
static const char *put_archive(const char *name, const void *data, size_t n, int flags, int64_t lie) {
    static bytes b;
    static unsigned char packed[1 << 15];
    b.n = 0;
    z_stream z = {.next_in = (Bytef *)(uintptr_t)data, .avail_in = (uInt)n, .next_out = packed, .avail_out = sizeof packed};
    if (flags & DEFLATED) {
        deflateInit2(&z, 9, Z_DEFLATED, -MAX_WBITS, 9, Z_DEFAULT_STRATEGY);
        deflate(&z, Z_FINISH);
        deflateEnd(&z);
    }
    const size_t in = flags & DEFLATED ? z.total_out : n, bit3 = flags & DESCRIBED ? 8 : 0, method = flags & DEFLATED ? 8 : 0;
    const uint32_t crc = (uint32_t)crc32(0, data, (uInt)n);
    const uint64_t size = n + (uint64_t)lie;
    put(&b, 0x04034b50, 4), put(&b, 20, 2), put(&b, bit3, 2), put(&b, method, 2), put(&b, 0, 4);
    put(&b, bit3 ? 0 : crc, 4);
    if (flags & WIDE) put(&b, UINT64_MAX, 8);
    else put(&b, bit3 ? 0 : in, 4), put(&b, bit3 ? 0 : size, 4);
    put(&b, strlen(name), 2), put(&b, flags & WIDE ? 20 : 0, 2), put_all(&b, name, strlen(name));
    if (flags & WIDE) put(&b, 1, 2), put(&b, 16, 2), put(&b, size, 8), put(&b, in, 8);
    put_all(&b, flags & DEFLATED ? packed : data, in);
    if (flags & SIGNED) put(&b, 0x08074b50, 4);
    if (bit3) put(&b, crc, 4), put(&b, in, flags & WIDE ? 8 : 4), put(&b, size, flags & WIDE ? 8 : 4);
    const size_t directory = b.n;
    put(&b, 0x02014b50, 4), put(&b, 20, 4), put(&b, bit3, 2), put(&b, method, 2), put(&b, 0, 4), put(&b, crc, 4);
    if (flags & WIDE) put(&b, UINT64_MAX, 8);
    else put(&b, in, 4), put(&b, size, 4);
    put(&b, strlen(name), 2), put(&b, flags & WIDE ? 28 : 0, 2), put(&b, 0, 10);
    put(&b, flags & WIDE ? 0xffffffff : 0, 4), put_all(&b, name, strlen(name));
    if (flags & WIDE) put(&b, 1, 2), put(&b, 24, 2), put(&b, size, 8), put(&b, in, 8), put(&b, 0, 8);
    const size_t end = b.n;
    if (flags & WIDE) {
        put(&b, 0x06064b50, 4), put(&b, 44, 8), put(&b, 45, 4), put(&b, 0, 8), put(&b, 1, 8), put(&b, 1, 8);
        put(&b, end - directory, 8), put(&b, directory, 8), put(&b, 0x07064b50, 4), put(&b, 0, 4), put(&b, end, 8), put(&b, 1, 4);
    }
    put(&b, 0x06054b50, 4), put(&b, 0, 4);
    if (flags & WIDE) put(&b, UINT64_MAX, 4), put(&b, UINT64_MAX, 8);
    else put(&b, 1, 2), put(&b, 1, 2), put(&b, end - directory, 4), put(&b, directory, 4);
    put(&b, 0, 2);
    return place_put("hand.npz", b.at, b.n);
}

// An array of that header (of version 1.0) and so many zero bytes.
static size_t npy_of(unsigned char *to, const char *header, size_t data) {
    const size_t n = strlen(header);
    memcpy(to, "\x93NUMPY\1\0", 8);
    to[8] = (unsigned char)n, to[9] = (unsigned char)(n >> 8);
    memcpy(to + 10, header, n);
    memset(to + 10 + n, 0, data);
    return 10 + n + data;
}

static void test_forms(void) {
    heed_error e;
    unsigned char array[4096];
    const size_t n = npy_of(array, "{'descr': '<f4', 'fortran_order': False, 'shape': (300,)}", 1200);
    static const int forms[] = {0, DEFLATED, WIDE, WIDE | DEFLATED, DESCRIBED, DESCRIBED | SIGNED, DESCRIBED | DEFLATED | SIGNED,
                                DESCRIBED | WIDE | SIGNED, DESCRIBED | WIDE | DEFLATED};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        npz *f;
        const heed_status status = npz_open(&f, put_archive("a.npy", array, n, forms[i], 0), &e);
        CHECK(status == HEED_OK, "form %d: %s", forms[i], e.text);
        if (status != HEED_OK) continue;
        CHECK(npz_find(f, "a") != NULL && npz_find(f, "a")->elements == 300, "form %d", forms[i]);
        npz_close(f);
        CHECK(npz_open(&f, put_archive("a.npy", array, n, forms[i], 1), &e) == HEED_INVALID, "form %d with a false size", forms[i]);
    }
    npz *f;
    const char *bomb = put_archive("a.npy", array, n, DEFLATED | WIDE, (int64_t)1 << 31);
    CHECK(npz_open(&f, bomb, &e) == HEED_INVALID && place_says(&e, "1032"), "a bomb: %s", e.text);
    CHECK(npz_open(&f, put_archive("a.txt", array, n, 0, 0), &e) == HEED_INVALID && place_says(&e, "a.txt|.npy"), "%s", e.text);
    CHECK(npz_open(&f, put_archive("a/data.pkl", array, n, 0, 0), &e) == HEED_REFUSED && place_says(&e, "data.pkl|pickle"), "%s",
          e.text);
    CHECK(npz_open(&f, place_put("p.npz", "\x80\x04\x95........................", 24), &e) == HEED_REFUSED && place_says(&e,
                                                                                                                         "pickle"),
          "%s", e.text);
    CHECK(npz_open(&f, place_put("t.npz", "this is a text, not an archive", 30), &e) == HEED_INVALID && place_says(&e, "zip"),
          "%s", e.text);
    CHECK(npz_open(&f, place_path("none.npz"), &e) == HEED_INVALID && place_says(&e, "none.npz|No such file"), "%s", e.text);
}

// Headers, the bytes after them, and what the sentence says.
static const struct { const char *header; size_t data; heed_status status; const char *words; } hostile[] = {
    {"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", 8, HEED_REFUSED, "a:|objects|pickle"},
    {"{'descr': [('x', '<f4')], 'fortran_order': False, 'shape': (1,)}", 4, HEED_REFUSED, "structured"},
    {"{'descr': '<c8', 'fortran_order': False, 'shape': (1,)}", 8, HEED_REFUSED, "complex"},
    {"{'descr': '<f16', 'fortran_order': False, 'shape': (1,)}", 16, HEED_REFUSED, "2, 4 or 8"},
    {"{'descr': '<U3', 'fortran_order': False, 'shape': (2,)}", 24, HEED_REFUSED, "2 texts"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", 4, HEED_INVALID, "holds 4 bytes|2 elements of 4"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", 12, HEED_INVALID, "holds 12 bytes"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4)}", 4, HEED_INVALID, "overflows"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904,)}", 4, HEED_INVALID, "holds 4 bytes"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", 4, HEED_INVALID, "whole numbers"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", 4, HEED_INVALID, "whole numbers"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1)}", 4, HEED_REFUSED, "8 dimensions"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': 1}", 4, HEED_INVALID, "tuple"},
    {"{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}", 4, HEED_INVALID, "True or False"},
    {"{'descr': '<f4', 'shape': (1,)}", 4, HEED_INVALID, "descr, fortran_order and shape"},
    {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", 4, HEED_INVALID, "each once"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'more': 1}", 4, HEED_INVALID, "each once"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,)", 4, HEED_INVALID, "commas"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}; import os", 4, HEED_INVALID, "follows"},
    {"__import__('os')", 4, HEED_INVALID, "dictionary"},
    {"{'descr': '', 'fortran_order': False, 'shape': (1,)}", 4, HEED_INVALID, "descr"},
    {"{'descr': '<f', 'fortran_order': False, 'shape': (1,)}", 4, HEED_INVALID, "descr"},
    {"{'descr': '<f4x', 'fortran_order': False, 'shape': (1,)}", 4, HEED_INVALID, "descr"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (1 1)}", 4, HEED_INVALID, "commas"},
    {"", 4, HEED_INVALID, "dictionary"},
};

static void test_hostile(void) {
    heed_error e;
    unsigned char array[4096];
    npz *f;
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        const size_t n = npy_of(array, hostile[i].header, hostile[i].data);
        const heed_status status = npz_open(&f, put_archive("a.npy", array, n, 0, 0), &e);
        CHECK(status == hostile[i].status && place_says(&e, hostile[i].words) && place_says(&e, "hand.npz"), "%s: status %d, %s",
              hostile[i].header, status, status == HEED_OK ? "" : e.text);
        if (status == HEED_OK) npz_close(f);
    }
    size_t n = npy_of(array, "{}", 0);
    array[6] = 4;
    CHECK(npz_open(&f, put_archive("a.npy", array, n, 0, 0), &e) == HEED_REFUSED && place_says(&e, "version"), "%s", e.text);
    array[6] = 1, array[8] = 200;
    CHECK(npz_open(&f, put_archive("a.npy", array, n, 0, 0), &e) == HEED_INVALID && place_says(&e, "reaches past"), "%s", e.text);
}

int main(void) {
    place_begin();
    test_round_trip();
    test_damage();
    test_forms();
    test_hostile();
    return place_end();
}
