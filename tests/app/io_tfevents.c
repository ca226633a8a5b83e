// SPDX-License-Identifier: Apache-2.0
// Records of an event file: checksums, framing, what a file begins with. That TensorBoard reads them, tests/python shows.
#include "io/tfevents.h"

#include "io_place.h"

#include <dirent.h>

static uint64_t little(const char *p, int bytes) {
    uint64_t x = 0;
    for (int i = bytes - 1; i >= 0; i--) x = x << 8 | (unsigned char)p[i];
    return x;
}

static uint32_t unmasked(uint64_t stored) {
    const uint32_t c = (uint32_t)stored - 0xa282ead8u;
    return c >> 17 | c << 15;
}

// Known answers of RFC 3720, appendix B.4, and of the usual check.
static void test_crc(void) {
    char bytes[32] = {0};
    CHECK(crc32c(bytes, 32) == 0x8a9136aau, "32 zeros: %08x", (unsigned)crc32c(bytes, 32));
    memset(bytes, 0xff, 32);
    CHECK(crc32c(bytes, 32) == 0x62a8ab43u, "32 ones: %08x", (unsigned)crc32c(bytes, 32));
    for (int i = 0; i < 32; i++) bytes[i] = (char)i;
    CHECK(crc32c(bytes, 32) == 0x46dd794eu, "rising: %08x", (unsigned)crc32c(bytes, 32));
    CHECK(crc32c("123456789", 9) == 0xe3069283u, "check: %08x", (unsigned)crc32c("123456789", 9));
    CHECK(crc32c("", 0) == 0, "nothing");
}

// Records of the file; each is framed right.
static int count_records(const char *bytes, size_t n) {
    int records = 0;
    for (size_t at = 0; at < n; records++) {
        CHECK(n - at >= 16, "%zu bytes are no record", n - at);
        const uint64_t length = little(bytes + at, 8);
        CHECK(length <= n - at - 16, "record %d of %llu bytes", records, (unsigned long long)length);
        if (length > n - at - 16) break;
        CHECK(unmasked(little(bytes + at + 8, 4)) == crc32c(bytes + at, 8), "record %d: length", records);
        CHECK(unmasked(little(bytes + at + 12 + length, 4)) == crc32c(bytes + at + 12, (size_t)length), "record %d: data", records);
        at += 16 + (size_t)length;
    }
    return records;
}

static int read_records(const char *folder, int64_t first_step, int steps) {
    heed_error e;
    tfevents *events;
    CHECK(tfevents_create(&events, folder, first_step, &e) == HEED_OK, "%s", e.text);
    for (int step = 0; step < steps; step++) {
        tfevents_begin(events, step);
        tfevents_number(events, "a/b", 0.5 * step);
        tfevents_text(events, "words", step % 2 == 0 ? "even" : "");
        tfevents_end(events);
        if (step % 3 == 0) CHECK(tfevents_flush(events, &e) == HEED_OK, "%s", e.text);
    }
    tfevents_begin(events, 99);    // an event without values is none
    tfevents_end(events);
    CHECK(tfevents_flush(events, &e) == HEED_OK, "%s", e.text);
    tfevents_close(events);
    return steps;
}

int main(void) {
    place_begin();
    test_crc();
    heed_error e;
    const char *folder = place_path("board");
    CHECK(folder_make(folder, &e) == HEED_OK, "%s", e.text);
    const int wanted[] = {read_records(folder, -1, 10) + 1, read_records(folder, 4, 7) + 2};
    DIR *open = opendir(folder);
    char *name[2] = {0};
    for (const struct dirent *entry; open != NULL && (entry = readdir(open)) != NULL;)
        if (entry->d_name[0] != '.') name[name[0] != NULL] = file_join(folder, entry->d_name);
    closedir(open);
    CHECK(name[0] != NULL && name[1] != NULL, "two files made in one second have one name");
    if (name[0] != NULL && name[1] != NULL && strcmp(name[0], name[1]) > 0) {
        char *held = name[0];
        name[0] = name[1];
        name[1] = held;
    }
    for (int i = 0; i < 2 && name[i] != NULL; i++) {
        char *bytes;
        size_t n;
        CHECK(file_read(&bytes, &n, name[i], 1 << 20, &e) == HEED_OK, "%s", e.text);
        CHECK(count_records(bytes, n) == wanted[i], "%d records in file %d, not %d", count_records(bytes, n), i, wanted[i]);
        free(bytes);
        free(name[i]);
    }
    tfevents *events;
    CHECK(tfevents_create(&events, place_path("none"), -1, &e) == HEED_INVALID && place_says(&e, "none|cannot be made"), "%s",
          e.text);
    return place_end();
}
