// SPDX-License-Identifier: Apache-2.0
#include "io/json.h"

#include "io_place.h"

#include <math.h>

static const struct { const char *text, *words; } bad[] = {
    {"", "j.json"}, {"{", "line 1"}, {"[1]", "object"}, {"3", "object"}, {"{\"a\":1,\"a\":2}", "duplicate"}, {"{\"a\":\n\n01}",
            "line 3"},
    {"{\"a\":1e999}", "j.json"}, {"{\"a\":99999999999999999999}", "j.json"}, {"{\"a\":\"\xff\"}", "j.json"},
        {"{\"a\":\"\\ud800\"}", "j.json"},
    {"{\"a\":1} x", "j.json"}, {"{\"a\":nan}", "j.json"}, {"{\"a\":\"\\u0000\"}", "j.json"}, {"\xef\xbb\xbf{}", "j.json"},
};

static void test_bad_files(void) {
    heed_error e;
    json_t *root;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(json_file_read(&root, place_put_text("j.json", bad[i].text), &e) == HEED_INVALID && place_says(&e, bad[i].words) &&
              root == NULL,
              "%s: %s", bad[i].text, e.text);
    char deep[400] = "{\"a\":";
    for (int i = 5; i < 5 + JSON_DEPTH; i++) deep[i] = '[';
    CHECK(json_file_read(&root, place_put_text("j.json", deep), &e) == HEED_INVALID && place_says(&e, "deeper than 64"), "%s",
          e.text);
    CHECK(json_file_read(&root, place_path("none.json"), &e) == HEED_INVALID && place_says(&e, "none.json"), "%s", e.text);
    CHECK(json_file_read(&root, place_put_text("j.json", "{\"a\": \"[[[[\\\"[[{{\"}"), &e) == HEED_OK, "brackets in texts: %s",
          e.text);
    json_decref(root);
}

static void test_getters(void) {
    heed_error e;
    json_t *o;
    const char *text = "{\"i\":12,\"r\":0.5,\"b\":true,\"t\":\"gelu\",\"n\":null,\"l\":[1],\"o\":{}}";
    CHECK(json_file_parse(&o, text, strlen(text), "c.json", &e) == HEED_OK, "%s", e.text);
    int64_t i = -1;
    double r = -1;
    bool b = false;
    const char *t = "?", *const allowed[] = {"gelu_new", "gelu", NULL}, *const other[] = {"gelu_new", "relu", NULL};
    const json_t *x = NULL;
    CHECK(json_take_int(o, "c.json", "i", JSON_NEEDED, 1, 12, &i, &e) == HEED_OK && i == 12, "int");
    CHECK(json_take_int(o, "c.json", "i", JSON_NEEDED, 1, 11, &i, &e) == HEED_INVALID && place_says(&e,
            "c.json: i is 12|from 1 to 11"), "%s", e.text);
    CHECK(json_take_int(o, "c.json", "r", JSON_NEEDED, 0, 9, &i, &e) == HEED_INVALID && place_says(&e, "r is 0.5|integer"), "%s",
          e.text);
    CHECK(json_take_int(o, "c.json", "z", JSON_NEEDED, 0, 9, &i, &e) == HEED_INVALID && place_says(&e, "z is missing"), "%s",
          e.text);
    CHECK(json_take_int(o, "c.json", "z", JSON_OPTIONAL, 0, 9, &i, &e) == HEED_OK && i == 12, "an absent key leaves the value");
    CHECK(json_take_int(o, "c.json", "n", JSON_OPTIONAL, 0, 9, &i, &e) == HEED_OK && i == 12, "so does null");
    CHECK(json_take_int(o, "c.json", "n", JSON_NEEDED, 0, 9, &i, &e) == HEED_INVALID, "null is no value");
    CHECK(json_take_real(o, "c.json", "r", JSON_NEEDED, 0, 1, &r, &e) == HEED_OK && r == 0.5, "real");
    CHECK(json_take_real(o, "c.json", "i", JSON_NEEDED, 0, 20, &r, &e) == HEED_OK && r == 12, "an integer is a real");
    CHECK(json_take_real(o, "c.json", "i", JSON_NEEDED, 0, 1, &r, &e) == HEED_INVALID && place_says(&e, "i is 12|from 0 to 1"),
          "%s", e.text);
    CHECK(json_take_real(o, "c.json", "t", JSON_NEEDED, 0, 1, &r, &e) == HEED_INVALID && place_says(&e, "t is \"gelu\"|number"),
          "%s", e.text);
    CHECK(json_take_bool(o, "c.json", "b", JSON_NEEDED, &b, &e) == HEED_OK && b, "bool");
    CHECK(json_take_bool(o, "c.json", "i", JSON_NEEDED, &b, &e) == HEED_INVALID && place_says(&e, "i is 12|true or false"), "%s",
          e.text);
    CHECK(json_take_text(o, "c.json", "t", JSON_NEEDED, allowed, &t, &e) == HEED_OK && strcmp(t, "gelu") == 0, "text");
    CHECK(json_take_text(o, "c.json", "t", JSON_NEEDED, other, &t, &e) == HEED_INVALID && place_says(&e,
            "t is \"gelu\"|gelu_new or relu"), "%s", e.text);
    CHECK(json_take_text(o, "c.json", "l", JSON_NEEDED, NULL, &t, &e) == HEED_INVALID && place_says(&e, "l is [1]|text"), "%s",
          e.text);
    CHECK(json_take_array(o, "c.json", "l", JSON_NEEDED, &x, &e) == HEED_OK && json_array_size(x) == 1, "list");
    CHECK(json_take_object(o, "c.json", "o", JSON_NEEDED, &x, &e) == HEED_OK && json_is_object(x), "object");
    CHECK(json_take_object(o, "c.json", "l", JSON_NEEDED, &x, &e) == HEED_INVALID && place_says(&e, "l is [1]|object"), "%s",
          e.text);
    json_decref(o);
}

static void test_reals_return(void) {
    heed_error e;
    const double values[] = {0.1, 1.0 / 3, 5e-324, 1.7976931348623157e308, -0.0, 3, 6.02214076e23, 2.2250738585072014e-308};
    json_t *root = json_object(), *back;
    char key[8];
    for (int i = 0; i < 8; i++) {
        snprintf(key, sizeof key, "k%d", i);
        CHECK(json_file_set_real(root, key, values[i]), "%g", values[i]);
    }
    CHECK(json_file_set_real(root, "nan", NAN) && json_file_set_real(root, "inf", INFINITY), "NaN and infinity become null");
    CHECK(json_file_write(root, place_path("r.json"), &e) == HEED_OK, "%s", e.text);
    CHECK(json_file_write(root, place_path("r.json"), &e) == HEED_OK, "replacing: %s", e.text);
    CHECK(json_file_read(&back, place_path("r.json"), &e) == HEED_OK, "%s", e.text);
    for (int i = 0; i < 8; i++) {
        snprintf(key, sizeof key, "k%d", i);
        const double x = json_number_value(json_object_get(back, key));
        CHECK(memcmp(&x, &values[i], sizeof x) == 0, "%.17g came back as %.17g", values[i], x);
    }
    CHECK(json_is_null(json_object_get(back, "nan")) && json_is_null(json_object_get(back, "inf")), "null");
    json_decref(root);
    json_decref(back);
    CHECK(json_file_write(json_null(), place_path("no/folder.json"), &e) == HEED_INVALID && place_says(&e, "folder.json"), "%s",
          e.text);
}

int main(void) {
    place_begin();
    test_bad_files();
    test_getters();
    test_reals_return();
    return place_end();
}
