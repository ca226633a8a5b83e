// SPDX-License-Identifier: Apache-2.0
// What the fuzz targets share. A target is a file tests/fuzz/<name>.c with LLVMFuzzerTestOneInput; tools/fuzz.sh runs it.
#pragma once

#include "base/error.h"
#include "base/utf8.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

// A promise of the code under test. A broken one ends the process, which libFuzzer reports with the input.
#define REQUIRE(condition, ...) \
    do { \
        if (condition) break; \
        fprintf(stderr, "%s:%d: ", __FILE__, __LINE__); \
        fprintf(stderr, __VA_ARGS__); \
        fputc('\n', stderr); \
        abort(); \
    } while (0)

enum { FUZZ_FILES = 8 };

static struct { char path[256]; int memory; bool there; } fuzz_files[FUZZ_FILES];
static char fuzz_place[128];    // this process's folder

static void fuzz_remove(void) {
    for (int i = 0; i < FUZZ_FILES; i++)
        if (fuzz_files[i].there) unlink(fuzz_files[i].path);
    rmdir(fuzz_place);
}

// The folder that fuzz_file writes to.
static inline const char *fuzz_folder(void) {
    if (fuzz_place[0] != 0) return fuzz_place;
    const char *parent = getenv("TMPDIR");
    snprintf(fuzz_place, sizeof fuzz_place, "%s/heed-fuzz-XXXXXX", parent == NULL ? "/tmp" : parent);
    REQUIRE(mkdtemp(fuzz_place) != NULL, "no temporary folder %s", fuzz_place);
    atexit(fuzz_remove);
    return fuzz_place;
}

// A file of that name in the folder, whose bytes are in memory only (the name is a link to a memfd), so that thousands of
// inputs a second can be read as files. Without bytes the name is removed.
static inline const char *fuzz_file(const char *name, const void *bytes, size_t n) {
    char path[256];
    int i = 0;
    snprintf(path, sizeof path, "%s/%s", fuzz_folder(), name);
    while (i < FUZZ_FILES && fuzz_files[i].path[0] != 0 && strcmp(fuzz_files[i].path, path) != 0) i++;
    REQUIRE(i < FUZZ_FILES, "more than %d files", FUZZ_FILES);
    if (fuzz_files[i].path[0] == 0) {
        fuzz_files[i].memory = memfd_create(name, 0);
        snprintf(fuzz_files[i].path, sizeof fuzz_files[i].path, "%s", path);
    }
    if (bytes == NULL) {
        if (fuzz_files[i].there) unlink(path);
        fuzz_files[i].there = false;
        return fuzz_files[i].path;
    }
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fuzz_files[i].memory);
    const bool written = ftruncate(fuzz_files[i].memory, 0) == 0 && pwrite(fuzz_files[i].memory, bytes, n, 0) == (ssize_t)n;
    REQUIRE(written && (fuzz_files[i].there || symlink(link, path) == 0), "%s cannot be written", path);
    fuzz_files[i].there = true;
    return fuzz_files[i].path;
}

// The input up to the first zero byte as one part, what follows as the other.
static inline const uint8_t *fuzz_split(const uint8_t *data, size_t n, size_t *first, size_t *second) {
    const uint8_t *zero = n == 0 ? NULL : memchr(data, 0, n);
    *first = zero == NULL ? n : (size_t)(zero - data);
    *second = zero == NULL ? 0 : n - *first - 1;
    return zero == NULL ? data + n : zero + 1;
}

// A failure is a sentence: printable, and naming `word` (NULL: anything).
static inline void fuzz_sentence(heed_status status, const heed_error *e, const char *word) {
    if (status == HEED_OK) return;
    const size_t n = strnlen(e->text, sizeof e->text);
    REQUIRE(e->status == status, "status %d, but the error says %d: %s", status, e->status, e->text);
    REQUIRE(n > 10 && n < sizeof e->text && strchr(e->text, ' ') != NULL, "no sentence: '%s'", e->text);
    for (size_t i = 0, length; i < n; i += length) {
        length = utf8_length((const unsigned char *)e->text + i, n - i);
        REQUIRE(length > 0 && (unsigned char)e->text[i] >= ' ' && e->text[i] != 127, "unprintable: '%s'", e->text);
    }
    REQUIRE(word == NULL || status == HEED_NO_MEMORY || strstr(e->text, word) != NULL, "'%s' does not name %s", e->text, word);
}
