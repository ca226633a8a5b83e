// SPDX-License-Identifier: Apache-2.0
// What needs no Python: the byte tokenizer, exact round trips of any bytes, long words, and files written to deceive.
// Equality with `tokenizers` is tests/python/test_io_tokenizer.py.
#include "io/tokenizer.h"

#include "base/random.h"
#include "io/byte_chars.h"
#include "io_place.h"

#include <unistd.h>

// A small GPT-2 in the making: all bytes, a few merges.
static const char *const small_merges = "#version: 0.2\nh e\nl l\nhe ll\nhell o\n\xc4\xa0 w\n\xc4\xa0w o\n";

static void put_vocab(const char *name, const char *const *tokens, int n, bool eos) {
    text_string s = {0};
    text_append(&s, "{", 1);
    for (int i = 0; i < 256; i++) {
        text_string c = {0};
        byte_chars_append(&c, &(unsigned char){(unsigned char)i}, 1);
        text_format(&s, "\"%s%s\": %d, ", i == '"' || i == '\\' ? "\\" : "", c.text, i);
        free(c.text);
    }
    for (int i = 0; i < n; i++) text_format(&s, "\"%s\": %d, ", tokens[i], 256 + i);
    text_format(&s, "\"%s\": %d}", eos ? "<|endoftext|>" : "eos", 256 + n);
    place_put(name, s.text, s.length);
    free(s.text);
}

static void put_small(void) {
    static const char *const tokens[] = {"he", "ll", "hell", "hello", "\xc4\xa0w", "\xc4\xa0wo"};
    put_vocab("vocab.json", tokens, 6, true);
    place_put_text("merges.txt", small_merges);
}

static void check_ids(const tokenizer *t, const char *text, size_t n, const int32_t *expected, int64_t count) {
    heed_error e;
    id_list list = {0};
    CHECK(tokenizer_encode(t, text, n, &list, &e) == HEED_OK, "%s", e.text);
    CHECK(list.count == count && memcmp(list.id, expected, (size_t)count * sizeof *expected) == 0, "%s: other ids (%lld)", text,
          (long long)list.count);
    free(list.id);
}

static void check_round_trip(const tokenizer *t, const char *bytes, size_t n) {
    heed_error e;
    id_list list = {0};
    text_string back = {0};
    CHECK(tokenizer_encode(t, bytes, n, &list, &e) == HEED_OK, "%s", e.text);
    CHECK(tokenizer_decode(t, list.id, list.count, &back, &e) == HEED_OK, "%s", e.text);
    CHECK(back.length == n && (n == 0 || memcmp(back.text, bytes, n) == 0), "%zu bytes came back as %zu", n, back.length);
    free(list.id);
    free(back.text);
}

// Bytes of all kinds: mostly letters and blanks, some UTF-8, some that is none, the special token now and then.
static size_t random_bytes(random_stream *r, char *bytes, size_t room) {
    static const char *const parts[] = {"hello", " wo", "<|endoftext|>", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xff",
                                        "\xc3", "\xed\xa0\x80",
                                        "\xf4\x90\x80\x80", "\xc0\x80", "'ll", "  ", "\n\n", "\r\n", "12", "\xe2\x80\x83",
                                            "<|endoftext|", "!?", "\xe3\x80\x80"};
    size_t n = 0;
    for (uint64_t left = random_below(r, 40); left > 0 && n + 16 < room; left--) {
        const uint64_t kind = random_below(r, 22);
        if (kind < 20) {
            memcpy(bytes + n, parts[kind], strlen(parts[kind]));
            n += strlen(parts[kind]);
        } else bytes[n++] = (char)random_below(r, 256);
    }
    return n;
}

static void test_any_bytes(const tokenizer *t) {
    random_stream r = random_of(3, 0);
    char bytes[1024];
    for (int i = 0; i < 3000; i++) {
        const size_t n = random_bytes(&r, bytes, sizeof bytes);
        char *exact = malloc(n + 1);    // so that a sanitizer sees a read past the end
        memcpy(exact, bytes, n);
        check_round_trip(t, exact, n);
        free(exact);
    }
    for (int a = 0; a < 256; a++) {
        const char two[2] = {(char)a, (char)(255 - a)};
        check_round_trip(t, two, 2);
    }
    check_round_trip(t, "", 0);
}

static void test_small(void) {
    heed_error e;
    tokenizer *t;
    put_small();
    CHECK(tokenizer_load(&t, place, &e) == HEED_OK, "%s", e.text);
    CHECK(tokenizer_size(t) == 263 && tokenizer_eos(t) == 262 && strcmp(tokenizer_kind(t), "gpt2") == 0, "size, eos, kind");
    check_ids(t, "hello world", 11, (int32_t[]){259, 261, 'r', 'l', 'd'}, 5);
    check_ids(t, "hell<|endoftext|>o", 18, (int32_t[]){258, 262, 'o'}, 3);
    check_ids(t, "hel\xfflo", 6, (int32_t[]){256, 'l', 255, 'l', 'o'}, 5);
    check_ids(t, "hello<|endoftext", 16, (int32_t[]){259, '<', '|', 'e', 'n', 'd', 'o', 'f', 't', 'e', 'x', 't'}, 12);
    test_any_bytes(t);
    text_string out = {0};
    CHECK(tokenizer_decode(t, (int32_t[]){1, 263}, 2, &out, &e) == HEED_INVALID && place_says(&e, "263|from 0 to 262"), "%s",
          e.text);
    CHECK(tokenizer_decode(t, (int32_t[]){-1}, 1, &out, &e) == HEED_INVALID && place_says(&e, "-1"), "%s", e.text);
    free(out.text);
    CHECK(folder_make(place_path("saved"), &e) == HEED_OK && tokenizer_save(t, place_path("saved"), &e) == HEED_OK, "%s", e.text);
    tokenizer *again;
    CHECK(tokenizer_load(&again, place_path("saved"), &e) == HEED_OK, "%s", e.text);
    check_ids(again, "hello world", 11, (int32_t[]){259, 261, 'r', 'l', 'd'}, 5);
    tokenizer_free(again);
    CHECK(unlink(place_path("saved/tokenizer.json")) == 0 && tokenizer_load(&again, place_path("saved"), &e) == HEED_OK, "%s",
          e.text);
    check_ids(again, "hello world", 11, (int32_t[]){259, 261, 'r', 'l', 'd'}, 5);
    tokenizer_free(again);
    tokenizer_free(t);
}

static void test_bytes(void) {
    heed_error e;
    tokenizer *t, *again;
    CHECK(tokenizer_create_bytes(&t, &e) == HEED_OK, "%s", e.text);
    CHECK(tokenizer_size(t) == 257 && tokenizer_eos(t) == 256 && strcmp(tokenizer_kind(t), "bytes") == 0, "size, eos, kind");
    check_ids(t, "a\xff\0<|endoftext|>b", 17, (int32_t[]){'a', 255, 0, 256, 'b'}, 5);
    test_any_bytes(t);
    CHECK(folder_make(place_path("bytes"), &e) == HEED_OK && tokenizer_save(t, place_path("bytes"), &e) == HEED_OK, "%s", e.text);
    CHECK(tokenizer_load(&again, place_path("bytes"), &e) == HEED_OK, "%s", e.text);
    CHECK(strcmp(tokenizer_kind(again), "bytes") == 0 && tokenizer_size(again) == 257, "the saved one is the same");
    test_any_bytes(again);
    tokenizer_free(again);
    tokenizer_free(t);
}

// ---- hostile files ------------------------------------------------------------------------------------------------

static void expect(const char *words) {
    heed_error e;
    tokenizer *t;
    const heed_status status = tokenizer_load(&t, place, &e);
    CHECK(status != HEED_OK && place_says(&e, words), "expected %s: %s", words, status == HEED_OK ? "accepted" : e.text);
    tokenizer_free(t);
}

static const struct { const char *text, *words; } bad_merges[] = {
    {"h\n", "merges.txt, line 1|two tokens"}, {"h e\nhello\n", "line 2"}, {"h e l\n", "line 1"}, {" e\n", "line 1"}, {"h \n",
            "line 1"},
    {"h e\n\nl l\n", "line 2"}, {"h e\nh e\n", "line 2|further up"}, {"h zz\n", "line 1|vocabulary"}, {"l h\n", "line 1|merged"},
    {"h e\n#version: 0.2\n", "line 2"}, {"\xff\xfe e\n", "line 1|vocabulary"},
};

static void test_bad_merges(void) {
    put_small();
    for (size_t i = 0; i < sizeof bad_merges / sizeof *bad_merges; i++) {
        place_put_text("merges.txt", bad_merges[i].text);
        expect(bad_merges[i].words);
    }
    place_put("merges.txt", "h\0 e\n", 5);
    expect("line 1|zero");
    size_t cut = 0;
    for (const size_t n = strlen(small_merges); cut < n; cut++) {    // whole lines are a smaller file
        heed_error e;
        tokenizer *t;
        place_put("merges.txt", small_merges, cut);
        CHECK(tokenizer_load(&t, place, &e) == HEED_OK || place_says(&e, "merges.txt, line"), "cut at %zu: %s", cut, e.text);
        tokenizer_free(t);
    }
    unlink(place_path("merges.txt"));
    expect("no tokenizer|merges.txt");
}

static void test_bad_vocab(void) {
    place_put_text("merges.txt", small_merges);
    place_put_text("vocab.json", "{\"a\": 0, \"<|endoftext|>\": 1}");
    expect("vocab.json|byte 0x00");
    place_put_text("vocab.json", "{\"a\": 0, \"b\": 0}");
    expect("vocab.json|\"b\"|id 0|another");
    place_put_text("vocab.json", "{\"a\": 7}");
    expect("vocab.json|\"a\"|from 0 to 0");
    place_put_text("vocab.json", "{\"a\": -1}");
    expect("vocab.json|\"a\"");
    place_put_text("vocab.json", "{\"a\": 0.0}");
    expect("vocab.json|\"a\"|integer");
    place_put_text("vocab.json", "{\"\": 0}");
    expect("vocab.json|empty");
    place_put_text("vocab.json", "{\"\xe2\x82\xac\": 0}");
    expect("vocab.json|stands for no byte");
    place_put_text("vocab.json", "{\"a\": 0, \"a\": 1}");
    expect("vocab.json|duplicate");
    place_put_text("vocab.json", "{\"a\": 0");
    expect("vocab.json|line 1");
    place_put_text("vocab.json", "");
    expect("vocab.json");
    put_vocab("vocab.json", (const char *const[]){"he"}, 1, false);
    expect("vocab.json|<|missing");
}

// tokenizer.json; ' stands for ".
static void put_whole(const char *json) {
    char text[512];
    size_t n = 0;
    for (; json[n] != 0; n++) text[n] = json[n] == '\'' ? '"' : json[n];
    place_put("tokenizer.json", text, n);
}

static void test_other_kinds(void) {
    put_small();
    place_put_text("tokenizer_config.json", "{\"tokenizer_class\": \"LlamaTokenizer\"}");
    expect("tokenizer_config.json|LlamaTokenizer|GPT2Tokenizer");
    place_put_text("tokenizer_config.json", "{\"add_prefix_space\": true}");
    expect("add_prefix_space");
    unlink(place_path("tokenizer_config.json"));
    put_whole("{'model': {'type': 'Unigram', 'vocab': []}}");
    expect("tokenizer.json|model.type");
    put_whole("{'model': {'type': 'BPE', 'vocab': {}, 'merges': []}, 'normalizer': {'type': 'NFC'}}");
    expect("tokenizer.json|normalizer");
    put_whole("{'model': {'vocab': {}, 'merges': []}, 'pre_tokenizer': {'type': 'Metaspace'}}");
    expect("tokenizer.json|pre_tokenizer");
    put_whole("{'model': {'vocab': {}, 'merges': 3}, 'pre_tokenizer': {'type': 'ByteLevel'}}");
    expect("tokenizer.json|merges is 3");
    put_whole("{'model': {'vocab': {}, 'merges': []}, 'pre_tokenizer': {'type': 'ByteLevel'}, 'added_tokens': [{'id': 0, "
                   "'content': '[PAD]'}]}");
    expect("tokenizer.json|added_tokens");
    put_whole("{}");
    expect("tokenizer.json|model is missing");
    unlink(place_path("tokenizer.json"));
}

// ---- long texts: time that grows with the square would be minutes here ----------------------------------------------

static void test_long_words(const tokenizer *t, const char *unit) {
    heed_error e;
    const size_t step = strlen(unit), n = (1 << 20) / step * step;
    char *text = malloc(n);
    for (size_t i = 0; i < n; i += step) memcpy(text + i, unit, step);
    check_round_trip(t, text, n);
    id_list list = {0};
    CHECK(tokenizer_encode(t, text, n, &list, &e) == HEED_OK, "%s", e.text);
    free(list.id);
    free(text);
}

static void test_real_files(void) {
    const char *data = getenv("HEED_DATA");
    char *folder = file_join(data == NULL ? "../shared/data" : data, "gpt2-tokenizer");
    heed_error e;
    tokenizer *t;
    if (!file_is_folder(folder)) SKIP("GPT-2's own tokenizer: there is no %s", folder);
    else {
        CHECK(tokenizer_load(&t, folder, &e) == HEED_OK, "%s", e.text);
        CHECK(tokenizer_size(t) == 50257 && tokenizer_eos(t) == 50256, "size, eos");
        check_ids(t, "Hello world", 11, (int32_t[]){15496, 995}, 2);
        static const char *const units[] = {"a", " ", "\n", "hello", "\xff", "!", "7", "\xe4\xbd\xa0", " a", "\xf0\x9f\x98\x80",
                                            "<|endoftext|>"};
        for (size_t i = 0; i < sizeof units / sizeof *units; i++) test_long_words(t, units[i]);
        test_any_bytes(t);
        tokenizer_free(t);
    }
    free(folder);
}

int main(void) {
    place_begin();
    test_bytes();
    test_small();
    test_bad_merges();
    test_bad_vocab();
    test_other_kinds();
    test_real_files();
    return place_end();
}
