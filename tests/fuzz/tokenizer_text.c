// SPDX-License-Identifier: Apache-2.0
// Any bytes through a tokenizer with merges and one without: decode(encode(x)) == x, twice the same (the second time from the
// cache), and a wrong id is a sentence.
#include "fuzz.h"

#include "io/tokenizer.h"

static tokenizer *bytes, *merged;

// GPT-2's kind with a few merges; the letters of GPT-2's byte table are U+0100 + 32 for a space, else themselves.
static const char *const merges[] = {"a a", "aa aa", "t h", "th e", "\xc4\xa0 the", "\xc4\xa0 a", "i n", "in g", "1 2",
                                     "\xc3\x83 \xc2\xa9"};

static void append_char(text_string *s, unsigned c) {
    if (c == '"' || c == '\\') text_format(s, "\\%c", (int)c);
    else if (c < 128) text_format(s, "%c", (int)c);
    else text_format(s, "%c%c", (int)(0xc0 | c >> 6), (int)(0x80 | (c & 63)));
}

static void write_files(void) {
    text_string vocab = {0}, list = {0};
    int id = 0;
    text_format(&vocab, "{");
    for (unsigned b = 0; b < 256; b++) {    // printable ones are themselves, the 68 others follow from U+0100
        static unsigned others = 256;
        const bool itself = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
        text_format(&vocab, "\"");
        append_char(&vocab, itself ? b : others++);
        text_format(&vocab, "\":%d,", id++);
    }
    for (size_t i = 0; i < sizeof merges / sizeof *merges; i++) {
        const char *space = strchr(merges[i], ' ');
        text_format(&vocab, "\"%.*s%s\":%d,", (int)(space - merges[i]), merges[i], space + 1, id++);
        text_format(&list, "%s\n", merges[i]);
    }
    text_format(&vocab, "\"<|endoftext|>\":%d}", id);
    fuzz_file("vocab.json", vocab.text, vocab.length);
    fuzz_file("merges.txt", list.text, list.length);
    free(vocab.text);
    free(list.text);
}

static void begin(void) {
    heed_error e;
    write_files();
    REQUIRE(tokenizer_load(&merged, fuzz_folder(), &e) == HEED_OK, "%s", e.text);
    REQUIRE(tokenizer_create_bytes(&bytes, &e) == HEED_OK, "%s", e.text);
}

static void there_and_back(const tokenizer *t, const char *text, size_t n) {
    heed_error e;
    id_list ids = {0};
    text_string back = {0};
    REQUIRE(tokenizer_encode(t, text, n, &ids, &e) == HEED_OK, "%s", e.text);
    const int64_t once = ids.count;
    REQUIRE(once <= (int64_t)n, "%lld ids of %zu bytes", (long long)once, n);
    REQUIRE(tokenizer_encode(t, text, n, &ids, &e) == HEED_OK, "%s", e.text);
    REQUIRE(ids.count == 2 * once, "the second time %lld ids, not %lld", (long long)(ids.count - once), (long long)once);
    REQUIRE(once == 0 || memcmp(ids.id, ids.id + once, (size_t)once * sizeof *ids.id) == 0, "other ids the second time");
    REQUIRE(tokenizer_decode(t, ids.id, once, &back, &e) == HEED_OK, "%s", e.text);
    REQUIRE(back.length == n && (n == 0 || memcmp(back.text, text, n) == 0), "%zu bytes become %zu", n, back.length);
    free(back.text);
    free(ids.id);
}

static void decode_ids(const tokenizer *t, const uint8_t *data, size_t n) {
    heed_error e;
    text_string text = {0};
    int32_t id[64];
    const size_t count = n / 2 < 64 ? n / 2 : 64;
    for (size_t i = 0; i < count; i++) id[i] = (int16_t)(data[2 * i] | data[2 * i + 1] << 8);
    fuzz_sentence(tokenizer_decode(t, id, (int64_t)count, &text, &e), &e, "id");
    free(text.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    if (merged == NULL) begin();
    there_and_back(bytes, (const char *)data, n);
    there_and_back(merged, (const char *)data, n);
    decode_ids(merged, data, n);
    return 0;
}
