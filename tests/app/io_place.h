// SPDX-License-Identifier: Apache-2.0
// A temporary folder of a test's own, and files in it.
#pragma once

#include "io/file.h"
#include "io/folder.h"
#include "../test.h"

#include <string.h>

static char *place;    // its path

static inline void place_begin(void) {
    const char *parent = getenv("TMPDIR");
    place = file_join(parent == NULL ? "/tmp" : parent, "heed-test-XXXXXX");
    if (place == NULL || mkdtemp(place) == NULL) {
        perror("a temporary folder");
        exit(1);
    }
}

static inline int place_end(void) {
    heed_error e;
    CHECK(folder_remove(place, &e) == HEED_OK, "%s", e.text);
    free(place);
    return test_end();
}

// The path of `name` in the folder; valid until the eighth call after it.
static inline const char *place_path(const char *name) {
    static char *kept[8];
    static int next;
    free(kept[next % 8]);
    return kept[next++ % 8] = file_join(place, name);
}

// Not file_put: thousands of flushes to a busy disk would take minutes. Some file systems also flush a file that is emptied and
// written again, so it is removed first.
static inline const char *place_put(const char *name, const void *bytes, size_t n) {
    const char *path = place_path(name);
    remove(path);
    FILE *file = fopen(path, "wb");
    const bool written = file != NULL && fwrite(bytes, 1, n, file) == n;
    if (file == NULL || fclose(file) != 0 || !written) {
        perror(path);
        exit(1);
    }
    return path;
}

static inline const char *place_put_text(const char *name, const char *text) { return place_put(name, text, strlen(text)); }

// The sentence holds each of the words ("|" between them).
static inline bool place_says(const heed_error *e, const char *words) {
    char list[256];
    snprintf(list, sizeof list, "%s", words);
    for (char *rest = list, *word; (word = strsep(&rest, "|")) != NULL;)
        if (strstr(e->text, word) == NULL) return false;
    return true;
}
