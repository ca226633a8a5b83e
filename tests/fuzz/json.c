// SPDX-License-Identifier: Apache-2.0
// JSON: what parses is printed and parsed again as the same; every getter gives a value or a sentence.
#include "fuzz.h"

#include "io/json.h"

static const char FILE_NAME[] = "some/file.json";

static void take_each(const json_t *root) {
    static const char *const allowed[] = {"gelu_new", "linear", NULL};
    const char *key, *text;
    const json_t *found;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)root, key, value) {
        heed_error e;
        int64_t i = 0;
        double r = 0;
        bool b = false;
        heed_status status = json_take_int(root, FILE_NAME, key, JSON_NEEDED, -5, 1000, &i, &e);
        REQUIRE(status != HEED_OK || (i >= -5 && i <= 1000), "an integer out of bounds");
        fuzz_sentence(status, &e, "file.json");
        status = json_take_real(root, FILE_NAME, key, JSON_OPTIONAL, 0, 1, &r, &e);
        REQUIRE(status != HEED_OK || (r >= 0 && r <= 1), "a number out of bounds");
        fuzz_sentence(status, &e, "file.json");
        fuzz_sentence(json_take_bool(root, FILE_NAME, key, JSON_NEEDED, &b, &e), &e, "file.json");
        fuzz_sentence(json_take_text(root, FILE_NAME, key, JSON_NEEDED, allowed, &text, &e), &e, "file.json");
        fuzz_sentence(json_take_array(root, FILE_NAME, key, JSON_NEEDED, &found, &e), &e, "file.json");
        fuzz_sentence(json_take_object(root, FILE_NAME, key, JSON_NEEDED, &found, &e), &e, "file.json");
    }
}

static void read_whole(const char *text, size_t n, bool line) {
    heed_error e;
    json_t *root, *again;
    const heed_status status = line ? json_line_parse(&root, text, n, FILE_NAME, 7, &e) : json_file_parse(&root, text, n, FILE_NAME,
        &e);
    fuzz_sentence(status, &e, "file.json");
    if (status != HEED_OK) return;
    take_each(root);
    text_string printed = {0};
    REQUIRE(json_file_print(root, true, &printed, &e) == HEED_OK, "not printed: %s", e.text);
    const heed_status back = line ? json_line_parse(&again, printed.text, printed.length, FILE_NAME, 7, &e)
        : json_file_parse(&again, printed.text, printed.length, FILE_NAME, &e);
    REQUIRE(back == HEED_OK && json_equal(root, again), "printed, it reads back as something else: %s", printed.text);
    json_decref(again);
    json_decref(root);
    free(printed.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    read_whole((const char *)data, n, false);
    read_whole((const char *)data, n, true);
    return 0;
}
