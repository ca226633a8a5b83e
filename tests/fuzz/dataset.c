// SPDX-License-Identifier: Apache-2.0
// Data set files; the first byte says which ending. Documents lie one after another, each ends in EOS, and no id comes from
// nowhere.
#include "fuzz.h"

#include "io/dataset.h"

static const char *const names[] = {"d.txt", "d.jsonl", "d.csv", "d.tsv", "d.bin", "d.json"};

static void check(const dataset *d, const tokenizer *words, size_t n) {
    REQUIRE(d->documents >= 1 && d->start[0] == 0 && d->start[d->documents] == d->tokens, "%lld documents",
            (long long)d->documents);
    int64_t bytes = 0;
    for (int64_t i = 0; i < d->documents; i++) {
        REQUIRE(d->start[i + 1] > d->start[i] && d->start[i + 1] <= d->tokens, "document %lld", (long long)i);
        REQUIRE(d->id[d->start[i + 1] - 1] == tokenizer_eos(words), "document %lld does not end in EOS", (long long)i);
        REQUIRE(d->start[i + 1] - d->start[i] <= d->document_bytes[i] + 1, "document %lld: more tokens than bytes", (long long)i);
        bytes += d->document_bytes[i];
    }
    REQUIRE(bytes == d->bytes, "%lld bytes, %lld of documents", (long long)d->bytes, (long long)bytes);
    REQUIRE(d->bytes <= 14 * (int64_t)n, "%lld bytes of %zu", (long long)d->bytes, n);    // an id of a .bin may be <|endoftext|>
    for (int64_t i = 0; i < d->tokens; i++) REQUIRE(d->id[i] >= 0 && d->id[i] < tokenizer_size(words), "id %d", d->id[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static tokenizer *words;
    heed_error e;
    if (words == NULL) REQUIRE(tokenizer_create_bytes(&words, &e) == HEED_OK, "%s", e.text);
    if (n == 0) return 0;
    const char *name = names[data[0] % (sizeof names / sizeof *names)];
    dataset d, train, eval;
    heed_status status = dataset_read(&d, fuzz_file(name, data + 1, n - 1), words, &e);
    fuzz_sentence(status, &e, name);
    if (status == HEED_OK) {
        check(&d, words, n);
        status = dataset_split(&d, 0.05, &train, &eval, &e);
        fuzz_sentence(status, &e, name);
        REQUIRE(status != HEED_OK || train.documents + eval.documents == d.documents, "the parts are not the whole");
        if (status == HEED_OK) {
            dataset_free(&train);
            dataset_free(&eval);
        }
    }
    dataset_free(&d);
    return 0;
}
