// SPDX-License-Identifier: Apache-2.0
// Text that grows: the first byte says in pieces of what size. However it is cut, what is shown only grows, and in the end is all
// of it up to the first stop string.
#include "fuzz.h"

#include "io/text_stream.h"

static const char *const stops[] = {"\n\n", "stop", "\xc3\xa9", "<|", NULL};

// Where the first stop string begins: that which is complete first, and of those the longest, which begins first.
static size_t expected_end(const char *text, size_t n) {
    for (size_t end = 1; end <= n; end++) {
        size_t longest = 0;
        for (int i = 0; stops[i] != NULL; i++) {
            const size_t length = strlen(stops[i]);
            if (length <= end && memcmp(text + end - length, stops[i], length) == 0 && length > longest) longest = length;
        }
        if (longest > 0) return end - longest;
    }
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    if (n < 2) return 0;
    const char *text = (const char *)data + 1;
    const size_t whole = n - 1, piece = 1 + data[0] % 7;
    text_stream s = {.stops = stops};
    size_t shown = 0;
    for (size_t at = 0; at < whole && !s.stopped; at += piece) {
        text_stream_add(&s, text + at, whole - at < piece ? whole - at : piece);
        REQUIRE(s.ready >= shown && s.ready <= s.text.length, "%zu shown, then %zu of %zu", shown, s.ready, s.text.length);
        shown = s.ready;
    }
    text_stream_end(&s);
    const size_t end = expected_end(text, whole);
    REQUIRE(s.ready == s.text.length && s.ready >= shown, "%zu of %zu are ready at the end", s.ready, s.text.length);
    REQUIRE(s.text.length == end && (end == 0 || memcmp(s.text.text, text, end) == 0), "%zu bytes, not %zu", s.text.length, end);
    text_stream_free(&s);
    return 0;
}
