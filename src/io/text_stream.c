// SPDX-License-Identifier: Apache-2.0
#include "io/text_stream.h"

#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

// Bytes at the end that are the beginning of a UTF-8 sequence: 0 to 3.
static size_t unfinished_bytes(const char *text, size_t n) {
    for (size_t k = 1; k <= 3 && k <= n; k++) {
        const unsigned char lead = (unsigned char)text[n - k];
        if (lead < 0xc2 || lead > 0xf4) continue;
        const size_t length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
        if (length <= k) return 0;
        unsigned char whole[4] = {lead, lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80, 0x80, 0x80};    // some completion
        memcpy(whole, text + n - k, k);
        return utf8_length(whole, length) == length ? k : 0;
    }
    return 0;
}

// Bytes at the end that a stop string begins with.
static size_t hopeful_bytes(const char *text, size_t n, const char *stop) {
    const size_t length = strlen(stop);
    for (size_t k = n < length - 1 ? n : length - 1; k > 0; k--)
        if (memcmp(text + n - k, stop, k) == 0) return k;
    return 0;
}

static void cut_at_stop(text_stream *s, size_t before) {
    size_t cut = s->text.length;
    for (const char *const *stop = s->stops; stop != NULL && *stop != NULL; stop++) {
        const size_t length = strlen(*stop), back = before < length - 1 ? before : length - 1;
        const char *from = s->text.text + before - back;
        const char *found = memmem(from, s->text.length - (before - back), *stop, length);
        if (found == NULL) continue;
        s->stopped = true;
        if ((size_t)(found - s->text.text) < cut) cut = (size_t)(found - s->text.text);
    }
    s->text.length = cut;
    s->text.text[cut] = 0;
}

void text_stream_add(text_stream *s, const char *bytes, size_t n) {
    if (s->stopped || n == 0) return;
    const size_t before = s->text.length;
    text_append(&s->text, bytes, n);
    if (s->text.failed) return;
    cut_at_stop(s, before);
    const size_t all = s->text.length;
    size_t held = 0;
    if (!s->stopped) {
        held = unfinished_bytes(s->text.text, all);
        for (const char *const *stop = s->stops; stop != NULL && *stop != NULL; stop++) {
            const size_t k = hopeful_bytes(s->text.text, all, *stop);
            if (k > held) held = k;
        }
    }
    if (all - held > s->ready) s->ready = all - held;
}

void text_stream_end(text_stream *s) { s->ready = s->text.length; }

void text_stream_free(text_stream *s) {
    free(s->text.text);
    s->text = (text_string){0};
    s->ready = 0;
    s->stopped = false;
}
