// SPDX-License-Identifier: Apache-2.0
#include "io/dataset.h"

#include "io/demo.h"
#include "io_place.h"

#include <math.h>
#include <time.h>

static tokenizer *bytes;

// The documents, each between two bars; free it.
static char *show(const dataset *d) {
    text_string s = {0};
    heed_error e;
    for (int64_t i = 0; i < d->documents; i++) {
        const int64_t n = d->start[i + 1] - d->start[i];
        CHECK(d->id[d->start[i] + n - 1] == tokenizer_eos(bytes), "document %lld does not end in EOS", (long long)i);
        CHECK(d->document_bytes[i] == n - 1, "document %lld: %lld bytes", (long long)i, (long long)d->document_bytes[i]);
        text_append(&s, "|", 1);
        CHECK(tokenizer_decode(bytes, d->id + d->start[i], n - 1, &s, &e) == HEED_OK, "%s", e.text);
    }
    text_append(&s, "|", 1);
    return s.text;
}

static const struct { const char *text, *shown; } texts[] = {
    {"one\ntwo\n\nthree\n", "|one\ntwo|three|"},
    {"one\r\ntwo\r\n\r\nthree", "|one\ntwo|three|"},
    {"\n\n \t\r\n one \n\n\n", "| one |"},
    {"\xef\xbb\xbfone\n", "|one|"},
    {"\xef\xbb\xbf\n\ntwo", "|two|"},
    {"a\xff\xfe\n\xc3\n\nb", "|a\xff\xfe\n\xc3|b|"},
    {"one\r", "|one\r|"},
    {"o\rne\n \f\v \ntwo", "|o\rne|two|"},
    {"x", "|x|"},
};

static void test_text(void) {
    heed_error e;
    dataset d;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        CHECK(dataset_read(&d, place_put_text("t.txt", texts[i].text), bytes, &e) == HEED_OK, "%s", e.text);
        char *shown = show(&d);
        CHECK(strcmp(shown, texts[i].shown) == 0, "text %zu: %s", i, shown);
        CHECK(strcmp(d.name, "t.txt") == 0 && isnan(d.floor) && d.tokens == d.start[d.documents] &&
              d.bytes == d.tokens - d.documents, "sums");
        free(shown);
        dataset_free(&d);
    }
    CHECK(dataset_read(&d, place_put("z.txt", "a\0b\n\0\n\n\nc", 9), bytes, &e) == HEED_OK && d.documents == 2 && d.bytes == 6,
          "zero bytes");
    CHECK(d.id[1] == 0 && d.id[4] == 0, "zero bytes are kept");
    dataset_free(&d);
}

static void test_records(void) {
    heed_error e;
    dataset d;
    const char *good = "\xef\xbb\xbf{\"text\": \"one\\ntwo\", \"id\": 3}\r\n\n{\"text\": \"\"}\n{\"text\": \"z\\u0000\\u20ac\"}";
    CHECK(dataset_read(&d, place_put_text("g.jsonl", good), bytes, &e) == HEED_OK, "%s", e.text);
    CHECK(d.documents == 3 && d.tokens == 15 && d.bytes == 12, "%lld documents, %lld tokens", (long long)d.documents,
          (long long)d.tokens);
    dataset_free(&d);
    static const struct { const char *text, *words; } bad[] = {
        {"{\"text\": \"a\"}\n{\"text\": 3}\n", "b.jsonl, line 2|text"}, {"{\"tex\": \"a\"}\n", "line 1|missing"},
            {"\n\n{\"text\": \"a\"\n", "line 3"},
        {"[\"a\"]\n", "line 1|object"}, {"{\"text\": \"a\"}\n{\"text\": \"\xff\"}", "line 2"},
            {"{\"text\": \"a\", \"text\": \"b\"}", "line 1|duplicate"},
        {"", "b.jsonl|no document"}, {"\n \n", "no document"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(dataset_read(&d, place_put_text("b.jsonl", bad[i].text), bytes, &e) == HEED_INVALID && place_says(&e, bad[i].words),
              "%s", e.text);
    const char *pairs = "{\"prompt\": \"a\", \"answer\": \"b\"}";
    CHECK(dataset_read(&d, place_put_text("p.jsonl", pairs), bytes, &e) == HEED_REFUSED && place_says(&e, "not built yet"), "%s",
          e.text);
}

static const struct { const char *name, *text, *shown; } tables[] = {
    {"t.csv", "text\none\n\"two, \"\"2\"\"\nlines\"\n\n\"\"\n", "|one|two, \"2\"\nlines||"},
    {"t.csv", "\xef\xbb\xbf" "id,text,x\r\n1,one,\r\n2,\"t\r\nwo\",\"3\"", "|one|t\r\nwo|"},
    {"t.csv", "\r\n\n\"text\",a\rx,y\r\"p\rq\",z\r", "|x|p\rq|"},
    {"t.csv", "text\n a \"quoted\" word \n", "| a \"quoted\" word |"},
    {"t.csv", "a,text\n1,\n,2", "||2|"},
    {"t.tsv", "text\tn\none, \"two\"\t1\n\"tab\there\"\t2\n", "|one, \"two\"|tab\there|"},
    {"t.csv", "text\n\xff\xfe\n", "|\xff\xfe|"},
};

static const struct { const char *name, *text, *words; } bad_tables[] = {
    {"b.csv", "text\na\n\"b\n\nc", "line 3, column 1|never closed"},
    {"b.csv", "x,text\n1,\"a\nb\"c\n", "line 3, column 3|comma"},
    {"b.tsv", "x\ttext\n1\t\"a\" \n", "line 2, column 6|a tab"},
    {"b.csv", "text,n\n1,2\n\"a\nb\",2\n1,2,3\n", "line 5|3 fields|2 columns"},
    {"b.csv", "text,n\nonly\n", "line 2|1 fields"},
    {"b.csv", "text,text\na,b\n", "line 1|two columns"},
    {"b.csv", "a,b,Text\n1,2,3\n", "line 1|a, b, Text"},
    {"b.csv", "text\n", "no document"},
    {"b.csv", "", "no document"},
    {"b.csv", "\n\n", "no document"},
};

static void test_tables(void) {
    heed_error e;
    dataset d;
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        CHECK(dataset_read(&d, place_put_text(tables[i].name, tables[i].text), bytes, &e) == HEED_OK, "table %zu: %s", i, e.text);
        char *shown = show(&d);
        CHECK(strcmp(shown, tables[i].shown) == 0, "table %zu: %s", i, shown);
        free(shown);
        dataset_free(&d);
    }
    for (size_t i = 0; i < sizeof bad_tables / sizeof *bad_tables; i++)
        CHECK(dataset_read(&d, place_put_text(bad_tables[i].name, bad_tables[i].text), bytes, &e) == HEED_INVALID &&
              place_says(&e, bad_tables[i].words), "%s", e.text);
    CHECK(dataset_read(&d, place_put_text("p.csv", "prompt,answer\na,b\n"), bytes, &e) == HEED_REFUSED &&
          place_says(&e, "not built yet"), "%s", e.text);
    CHECK(dataset_read(&d, place_put("z.csv", "text\na\0b\n", 9), bytes, &e) == HEED_OK && d.bytes == 3 && d.id[1] == 0,
          "a zero byte in a table");
    dataset_free(&d);
}

// Ids of the byte tokenizer, EOS being 256.
static void test_ids(void) {
    heed_error e;
    dataset d;
    CHECK(dataset_read(&d, place_put("i.bin", "a\0b\0\0\1c\0\0\1\0\1d\0", 14), bytes, &e) == HEED_OK, "%s", e.text);
    char *shown = show(&d);
    CHECK(strcmp(shown, "|ab|c||d|") == 0, "%s", shown);
    free(shown);
    dataset_free(&d);
    static const struct { const char *bytes; size_t n; const char *words; } bad[] = {
        {"a\0b", 3, "i.bin|3 bytes|2 bytes each"}, {"a\0\1\1", 4, "byte 2 is 257|0 to 256"}, {"", 0, "no document"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(dataset_read(&d, place_put("i.bin", bad[i].bytes, bad[i].n), bytes, &e) == HEED_INVALID &&
              place_says(&e, bad[i].words), "%s", e.text);
    char header[1026] = {0};
    memcpy(header, "\x88\xd8\x34\x01", 4);    // 20240520
    CHECK(dataset_read(&d, place_put("i.bin", header, sizeof header), bytes, &e) == HEED_REFUSED && place_says(&e, "llm.c|tail"),
          "%s", e.text);
}

// What a fuzzer calls: the same from memory; and several files as one.
static void test_memory_and_files(void) {
    heed_error e;
    dataset d;
    char text[] = "text\none\n";
    CHECK(dataset_parse(&d, "m.csv", text, sizeof text - 1, bytes, &e) == HEED_OK && d.documents == 1 && d.bytes == 3, "%s",
          e.text);
    dataset_free(&d);
    const char *const paths[] = {place_put_text("1.txt", "one\n\ntwo"), place_put_text("2.csv", "text\nthree\n")};
    CHECK(dataset_read_files(&d, "both", paths, 2, bytes, &e) == HEED_OK, "%s", e.text);
    char *shown = show(&d);
    CHECK(strcmp(shown, "|one|two|three|") == 0 && strcmp(d.name, "both") == 0, "%s", shown);
    free(shown);
    dataset_free(&d);
}

static void test_json_list(void) {
    heed_error e;
    dataset d;
    const char *list = "\xef\xbb\xbf\n [{\"text\": \"one\"},\n {\"n\": 2, \"text\": \"tw\\u0000o\"}]\n";
    CHECK(dataset_read(&d, place_put_text("l.json", list), bytes, &e) == HEED_OK, "%s", e.text);
    CHECK(d.documents == 2 && d.bytes == 7, "%lld documents, %lld bytes", (long long)d.documents, (long long)d.bytes);
    dataset_free(&d);
    CHECK(dataset_read(&d, place_put_text("l.json", "{\"text\": \"a\"}\n{\"text\": \"b\"}"), bytes, &e) == HEED_OK &&
          d.documents == 2, "lines in a .json file");
    dataset_free(&d);
    static const struct { const char *text, *words; } bad[] = {
        {"[{\"text\": \"a\"}, {\"text\": 1}]", "l.json, record 2|text"}, {"[1]", "record 1|missing"}, {"[", "line 1"},
        {"[]", "no document"}, {"[[{}]]", "record 1|missing"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(dataset_read(&d, place_put_text("l.json", bad[i].text), bytes, &e) == HEED_INVALID && place_says(&e, bad[i].words),
              "%s", e.text);
    CHECK(dataset_read(&d, place_put_text("l.jsonl", list), bytes, &e) == HEED_INVALID, "a list in a .jsonl file");
}

static void test_refusals(void) {
    heed_error e;
    dataset d;
    CHECK(dataset_read(&d, "a.parquet", bytes, &e) == HEED_REFUSED && place_says(&e, "a.parquet|not built yet|to_json"), "%s",
          e.text);
    CHECK(dataset_read(&d, "a.doc", bytes, &e) == HEED_REFUSED && place_says(&e, "a.doc|.txt|.jsonl"), "%s", e.text);
    CHECK(dataset_read(&d, place_path("none.txt"), bytes, &e) == HEED_INVALID && place_says(&e, "none.txt"), "%s", e.text);
    CHECK(dataset_read(&d, place_put("e.txt", "", 0), bytes, &e) == HEED_INVALID && place_says(&e, "e.txt|no document"), "%s",
          e.text);
    CHECK(folder_make(place_path("f.txt"), &e) == HEED_OK && dataset_read(&d, place_path("f.txt"), bytes, &e) == HEED_INVALID,
          "%s", e.text);
    CHECK(dataset_demo(&d, bytes, 1, 0, &e) == HEED_INVALID, "no documents");
}

static void test_demo_and_split(void) {
    heed_error e;
    dataset d, train, eval, few;
    CHECK(dataset_demo(&d, bytes, 42, 400, &e) == HEED_OK && dataset_demo(&few, bytes, 42, 10, &e) == HEED_OK, "%s", e.text);
    CHECK(few.tokens == d.start[10] && memcmp(few.id, d.id, (size_t)few.tokens * sizeof *d.id) == 0,
          "the first 10 of 400 are the first 10 of 10");
    double nats = 0;
    for (int64_t i = 0; i < d.documents; i++) nats += d.document_nats[i];
    CHECK(fabs(d.floor - nats / (double)d.tokens) < 1e-12 && fabs(nats / 400 - demo_entropy()) < 1, "floor %.4f", d.floor);
    CHECK(dataset_split(&d, 0.07, &train, &eval, &e) == HEED_OK, "%s", e.text);
    CHECK(eval.documents == 28 && train.documents == 372, "%lld held out", (long long)eval.documents);
    CHECK(train.tokens + eval.tokens == d.tokens && train.bytes + eval.bytes == d.bytes && eval.start[0] == 0, "sums");
    CHECK(eval.id == d.id + d.start[372] && eval.document_bytes[27] == d.document_bytes[399], "the last documents");
    CHECK(fabs(train.floor * (double)train.tokens + eval.floor * (double)eval.tokens - nats) < 1e-9,
          "the floor of each part is its own");
    dataset_free(&train);
    dataset_free(&eval);
    CHECK(dataset_split(&few, 0.001, &train, &eval, &e) == HEED_OK && eval.documents == 1, "at least one");
    dataset_free(&train);
    dataset_free(&eval);
    CHECK(dataset_split(&few, 0.999, &train, &eval, &e) == HEED_OK && train.documents == 1, "at least one is left");
    dataset_free(&train);
    dataset_free(&eval);
    CHECK(dataset_split(&few, 0, &train, &eval, &e) == HEED_INVALID && dataset_split(&few, 1, &train, &eval, &e) == HEED_INVALID,
          "0 and 1");
    CHECK(dataset_split(&few, NAN, &train, &eval, &e) == HEED_INVALID, "NaN");
    dataset_free(&few);
    dataset_free(&d);
    CHECK(dataset_demo(&d, bytes, 1, 1, &e) == HEED_OK && dataset_split(&d, 0.05, &train, &eval, &e) == HEED_INVALID &&
          place_says(&e, "one document"),
          "%s", e.text);
    dataset_free(&d);
}

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// One line of 8 MB, and 4 million lines of one letter, take much the same time: nothing grows with the square.
static void test_large(void) {
    heed_error e;
    dataset d;
    enum { SIZE = 8 << 20 };
    char *text = malloc(SIZE);
    memset(text, 'x', SIZE);
    const double start = seconds();
    CHECK(dataset_read(&d, place_put("l.txt", text, SIZE), bytes, &e) == HEED_OK && d.documents == 1 && d.bytes == SIZE,
          "one line");
    dataset_free(&d);
    for (int i = 1; i < SIZE; i += 2) text[i] = '\n';
    CHECK(dataset_read(&d, place_put("l.txt", text, SIZE), bytes, &e) == HEED_OK && d.documents == 1 && d.bytes == SIZE - 1,
          "many lines");
    dataset_free(&d);
    memset(text, 'x', SIZE);
    for (int i = 1; i + 1 < SIZE; i += 3) text[i] = text[i + 1] = '\n';
    CHECK(dataset_read(&d, place_put("l.txt", text, SIZE), bytes, &e) == HEED_OK && d.documents > 2000000, "many documents: %lld",
          (long long)d.documents);
    dataset_free(&d);
    CHECK(seconds() - start < 60, "%.1f s for 24 MB", seconds() - start);
    free(text);
}

int main(void) {
    heed_error e;
    place_begin();
    CHECK(tokenizer_create_bytes(&bytes, &e) == HEED_OK, "%s", e.text);
    test_text();
    test_records();
    test_json_list();
    test_tables();
    test_ids();
    test_memory_and_files();
    test_refusals();
    test_demo_and_split();
    test_large();
    tokenizer_free(bytes);
    return place_end();
}
