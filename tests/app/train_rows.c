// SPDX-License-Identifier: Apache-2.0
// Rows and batches against values written out by hand, and the order of rows as a pure function.
#include "train/data.h"

#include <string.h>

#include "../test.h"

enum { EOS = 99, PAD = 99 };

// Three documents: 5 tokens, 2 tokens, 9 tokens, each with its EOS.
static int32_t ids[] = {1, 2, 3, 4, EOS, 11, EOS, 21, 22, 23, 24, 25, 26, 27, 28, EOS};
static int64_t starts[] = {0, 5, 7, 16};
static const dataset three = {.id = ids, .start = starts, .documents = 3, .tokens = 16, .name = "three"};

static void expect(const char *what, const int32_t *got, const int32_t *wanted, int64_t n) {
    for (int64_t i = 0; i < n; i++) CHECK(got[i] == wanted[i], "%s[%lld] is %d, not %d", what, (long long)i, got[i], wanted[i]);
}

static void one_document_a_row(void) {
    row_set set;
    heed_error error;
    CHECK(rows_create(&set, &three, (row_layout){.length = 4}, &error) == HEED_OK, "%s", error.text);
    // 5 -> 4 + 1 (a single token: left out); 2; 9 -> 4 + 4 + 1 (left out)
    CHECK(set.rows == 4, "%lld rows, not 4", (long long)set.rows);
    CHECK(set.left_out == 2, "%lld tokens left out, not 2", (long long)set.left_out);
    batch b = {0};
    const row_pick rows[] = {{&set, 0}, {&set, 1}};
    CHECK(batch_fill(&b, rows, 2, (batch_padding){PAD, true}, &error) == HEED_OK, "%s", error.text);
    CHECK(b.view.length == 4 && b.view.rows == 2, "%lld x %lld", (long long)b.view.rows, (long long)b.view.length);
    CHECK(b.scored == 4 && b.tokens == 6, "%lld scored of %lld", (long long)b.scored, (long long)b.tokens);
    expect("id", b.view.id, (const int32_t[]){1, 2, 3, 4, PAD, PAD, 11, EOS}, 8);
    expect("target", b.view.target, (const int32_t[]){2, 3, 4, -1, -1, -1, EOS, -1}, 8);
    expect("position", b.view.position, (const int32_t[]){0, 1, 2, 3, 0, 0, 0, 1}, 8);
    expect("key_range", b.view.key_range, (const int32_t[]){0, 4, 2, 4}, 4);
    CHECK(b.view.document == NULL, "documents in rows of one document");
    CHECK(batch_fill(&b, rows, 2, (batch_padding){PAD, false}, &error) == HEED_OK, "%s", error.text);
    expect("id right", b.view.id, (const int32_t[]){1, 2, 3, 4, 11, EOS, PAD, PAD}, 8);
    expect("target right", b.view.target, (const int32_t[]){2, 3, 4, -1, EOS, -1, -1, -1}, 8);
    expect("key_range right", b.view.key_range, (const int32_t[]){0, 4, 0, 2}, 4);
    const row_pick full[] = {{&set, 0}, {&set, 2}, {&set, 3}};
    CHECK(batch_fill(&b, full, 3, (batch_padding){PAD, true}, &error) == HEED_OK, "%s", error.text);
    CHECK(b.view.key_range == NULL, "a range though no row is padded");
    expect("id full", b.view.id, (const int32_t[]){1, 2, 3, 4, 21, 22, 23, 24, 25, 26, 27, 28}, 12);
    batch_free(&b);
    rows_free(&set);
}

static void packed(bool leak) {
    row_set set;
    heed_error error;
    CHECK(rows_create(&set, &three, (row_layout){.length = 6, .packed = true, .leak = leak}, &error) == HEED_OK, "%s", error.text);
    // 1 2 3 4 E 11 | E 21 22 23 24 25 | 26 27 28 E
    CHECK(set.rows == 3 && set.left_out == 0, "%lld rows, %lld left out", (long long)set.rows, (long long)set.left_out);
    batch b = {0};
    const row_pick rows[] = {{&set, 0}, {&set, 1}, {&set, 2}};
    CHECK(batch_fill(&b, rows, 3, (batch_padding){PAD, true}, &error) == HEED_OK, "%s", error.text);
    expect("id", b.view.id, (const int32_t[]){1, 2, 3, 4, EOS, 11, EOS, 21, 22, 23, 24, 25, PAD, PAD, 26, 27, 28, EOS}, 18);
    expect("target", b.view.target, (const int32_t[]){2, 3, 4, EOS, -1, -1, -1, 22, 23, 24, 25, -1, -1, -1, 27, 28, EOS, -1}, 18);
    expect("position", b.view.position, (const int32_t[]){0, 1, 2, 3, 4, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 1, 2, 3}, 18);
    expect("key_range", b.view.key_range, (const int32_t[]){0, 6, 0, 6, 2, 6}, 6);
    CHECK((b.view.document == NULL) == leak, "documents are %s", leak ? "isolated under leak" : "not isolated");
    if (!leak) expect("document", b.view.document, (const int32_t[]){0, 0, 0, 0, 0, 1, 0, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0}, 18);
    CHECK(b.scored == 4 + 4 + 3, "%lld scored", (long long)b.scored);
    batch_free(&b);
    rows_free(&set);
}

static void pieces_shorter_than_rows(void) {
    row_set set;
    heed_error error;
    CHECK(rows_create(&set, &three, (row_layout){.length = 8, .piece = 3, .packed = true}, &error) == HEED_OK, "%s", error.text);
    batch b = {0};
    const row_pick rows[] = {{&set, 0}, {&set, 1}};
    CHECK(set.rows == 2, "%lld rows", (long long)set.rows);
    CHECK(batch_fill(&b, rows, 2, (batch_padding){PAD, true}, &error) == HEED_OK, "%s", error.text);
    expect("position", b.view.position, (const int32_t[]){0, 1, 2, 0, 1, 0, 1, 0, 0, 1, 2, 0, 1, 2, 0, 1}, 16);
    batch_free(&b);
    rows_free(&set);
}

// Every token of every document is in the rows once, in order, whatever the layout.
static void nothing_dropped(void) {
    enum { DOCUMENTS = 40 };
    int32_t id[DOCUMENTS * 60];
    int64_t start[DOCUMENTS + 1] = {0}, n = 0;
    for (int d = 0; d < DOCUMENTS; d++) {
        const int length = 2 + d * 37 % 58;
        for (int i = 0; i < length; i++) id[n] = (int32_t)n, n++;
        start[d + 1] = n;
    }
    const dataset data = {.id = id, .start = start, .documents = DOCUMENTS, .tokens = n, .name = "many"};
    for (int64_t length = 2; length < 40; length += 5) {
        for (int pack = 0; pack < 2; pack++) {
            row_set set;
            heed_error error;
            CHECK(rows_create(&set, &data, (row_layout){.length = length, .packed = pack != 0}, &error) == HEED_OK, "%s",
                  error.text);
            int64_t seen = 0, last = -1, full = 0;
            for (int64_t p = 0; p < set.row[set.rows]; p++) {
                CHECK(set.piece[p].first > last, "piece %lld is out of order", (long long)p);
                last = set.piece[p].first;
                seen += set.piece[p].length;
            }
            for (int64_t r = 0; r < set.rows; r++) full += rows_tokens(&set, r) == length;
            CHECK(seen + set.left_out == n, "%lld of %lld tokens at length %lld", (long long)seen, (long long)n, (long long)length);
            CHECK(!pack || full >= set.rows - 1 - set.left_out, "a packed row is not full");
            rows_free(&set);
        }
    }
}

static void order(void) {
    enum { ROWS = 1000 };
    static int64_t a[ROWS], b[ROWS];
    bool seen[ROWS] = {0};
    rows_order(a, ROWS, 42, 3);
    rows_order(b, ROWS, 42, 3);
    CHECK(memcmp(a, b, sizeof a) == 0, "the order of an epoch changed between two calls");
    for (int i = 0; i < ROWS; i++) seen[a[i]] = true;
    for (int i = 0; i < ROWS; i++) CHECK(seen[i], "row %d is missing", i);
    rows_order(b, ROWS, 42, 4);
    CHECK(memcmp(a, b, sizeof a) != 0, "two epochs have one order");
    rows_order(b, ROWS, 43, 3);
    CHECK(memcmp(a, b, sizeof a) != 0, "two seeds have one order");
    int fixed = 0;
    for (int i = 0; i < ROWS; i++) fixed += a[i] == i;
    CHECK(fixed < 8, "%d of %d rows stayed where they were", fixed, ROWS);    // Poisson, mean 1
}

static void nothing_to_score(void) {
    int32_t id[] = {EOS, EOS};
    int64_t start[] = {0, 1, 2};
    const dataset data = {.id = id, .start = start, .documents = 2, .tokens = 2, .name = "empty"};
    row_set set;
    heed_error error;
    CHECK(rows_create(&set, &data, (row_layout){.length = 8}, &error) == HEED_INVALID, "rows of nothing");
    CHECK(rows_create(&set, &data, (row_layout){.length = 8, .packed = true}, &error) == HEED_INVALID, "packed rows of nothing");
}

static void floor_of_whole_documents(void) {
    double nats[] = {5, 7, 9};
    dataset data = three;
    data.document_nats = nats;
    data.first_nats = 1;
    row_set set;
    heed_error error;
    CHECK(rows_create(&set, &data, (row_layout){.length = 6}, &error) == HEED_OK, "%s", error.text);
    CHECK(rows_floor(&set) == (4.0 + 6) / (4 + 1), "floor %g", rows_floor(&set));    // the third is cut
    rows_free(&set);
    CHECK(rows_create(&set, &three, (row_layout){.length = 6}, &error) == HEED_OK, "%s", error.text);
    CHECK(rows_floor(&set) != rows_floor(&set), "a floor nobody knows");
    rows_free(&set);
}

int main(void) {
    one_document_a_row();
    packed(false);
    packed(true);
    pieces_shorter_than_rows();
    nothing_dropped();
    order();
    nothing_to_score();
    floor_of_whole_documents();
    return test_end();
}
