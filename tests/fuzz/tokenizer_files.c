// SPDX-License-Identifier: Apache-2.0
// A tokenizer's files. The first byte says which there are; a zero byte ends the first. What loads encodes all bytes and back,
// and saved and loaded again gives the same ids.
#include "fuzz.h"

#include "io/folder.h"
#include "io/tokenizer.h"

static const char text[] = "The cat's 12 mats,\n\xe9t\xc3\xa9 <|endoftext|> aaaa\t \xff\xfe";

static void encode(const tokenizer *t, id_list *ids) {
    heed_error e;
    text_string back = {0};
    *ids = (id_list){0};
    REQUIRE(tokenizer_encode(t, text, sizeof text - 1, ids, &e) == HEED_OK, "%s", e.text);
    REQUIRE(tokenizer_decode(t, ids->id, ids->count, &back, &e) == HEED_OK, "%s", e.text);
    REQUIRE(back.length == sizeof text - 1 && memcmp(back.text, text, back.length) == 0, "decodes to '%s'", back.text);
    for (int64_t i = 0; i < ids->count; i++) REQUIRE(ids->id[i] >= 0 && ids->id[i] < tokenizer_size(t), "id %d", ids->id[i]);
    free(back.text);
}

static void save_and_load(const tokenizer *t, const id_list *ids) {
    static char folder[200];
    heed_error e;
    tokenizer *again;
    id_list same;
    snprintf(folder, sizeof folder, "%s-saved", fuzz_folder());
    REQUIRE(folder_make(folder, &e) == HEED_OK, "%s", e.text);
    REQUIRE(tokenizer_save(t, folder, &e) == HEED_OK, "%s", e.text);
    REQUIRE(tokenizer_load(&again, folder, &e) == HEED_OK, "saved, it does not load: %s", e.text);
    encode(again, &same);
    REQUIRE(tokenizer_size(t) == tokenizer_size(again) && tokenizer_eos(t) == tokenizer_eos(again) && ids->count == same.count &&
                memcmp(ids->id, same.id, (size_t)same.count * sizeof *same.id) == 0, "saved and loaded, it gives other ids");
    free(same.id);
    tokenizer_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    if (n == 0) return 0;
    static const char *const names[] = {"vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json"};
    for (size_t i = 0; i < 4; i++) fuzz_file(names[i], NULL, 0);
    size_t first, second;
    const uint8_t *rest = fuzz_split(data + 1, n - 1, &first, &second);
    if (data[0] % 2 == 0) {
        fuzz_file("tokenizer.json", data + 1, first);
        if (second > 0) fuzz_file("tokenizer_config.json", rest, second);
    } else {
        fuzz_file("vocab.json", data + 1, first);
        fuzz_file("merges.txt", rest, second);
    }
    heed_error e;
    tokenizer *t;
    const heed_status status = tokenizer_load(&t, fuzz_folder(), &e);
    fuzz_sentence(status, &e, fuzz_folder() + strlen(fuzz_folder()) - 6);    // every sentence names the file in its folder
    if (status != HEED_OK) return 0;
    id_list ids;
    encode(t, &ids);
    save_and_load(t, &ids);
    free(ids.id);
    tokenizer_free(t);
    return 0;
}
