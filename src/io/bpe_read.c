// SPDX-License-Identifier: Apache-2.0
// Which files count is what transformers does: tokenizer.json when there is one, else vocab.json and merges.txt.
// A setting that would make other ids than GPT-2's rules is refused by name, so that a file is either read exactly or not at all.
#include "io/bpe_files.h"

#include "base/text.h"
#include "io/byte_chars.h"
#include "io/file.h"
#include "io/json.h"

#include <stdlib.h>
#include <string.h>

enum { MERGES_BYTES = 128 << 20 };

typedef struct {
    const char *file;       // for sentences
    const json_t *vocab;    // {"token": id}; its hash also finds tokens by their text
    bpe *model;
    int32_t eos;
    text_string scratch;
} reader;

// ---- vocabulary ---------------------------------------------------------------------------------------------------

static heed_status fail_token(heed_error *error, const reader *r, const char *token, const char *what) {
    return error_set(error, HEED_INVALID, "%s: token \"%.40s\": %s", file_shown(r->file), token, what);
}

static heed_status read_token(reader *r, const char *token, const json_t *id, heed_error *error) {
    const size_t n = strlen(token);
    const int64_t value = json_integer_value(id);
    if (!json_is_integer(id) || value < 0 || value >= r->model->count)
        return error_set(error, HEED_INVALID, "%s: token \"%.40s\": its id must be an integer from 0 to %d", file_shown(r->file),
                         token,
                         r->model->count - 1);
    if (n == 0) return fail_token(error, r, token, "an empty token is not allowed");
    if (r->model->length[value] != 0)
        return error_set(error, HEED_INVALID, "%s: token \"%.40s\": id %d is given to another token too", file_shown(r->file),
                         token,
                         (int)value);
    if (strcmp(token, BPE_EOS) == 0) {
        r->eos = (int32_t)value;
        bpe_set_token(r->model, r->eos, token, n);
        return HEED_OK;
    }
    text_string *s = &r->scratch;
    s->length = 0;
    text_append(s, token, n);    // room for n bytes, overwritten at once
    if (s->failed) return error_set(error, HEED_NO_MEMORY, "no memory to read %s", file_shown(r->file));
    const int64_t bytes = byte_chars_read(token, n, (unsigned char *)s->text);
    if (bytes < 0) return fail_token(error, r, token, "a character stands for no byte; byte-level tokens are needed");
    bpe_set_token(r->model, (int32_t)value, s->text, (size_t)bytes);
    return HEED_OK;
}

// added: <|endoftext|> is not in the vocabulary, but tokenizer.json adds it with the next id.
static heed_status read_vocabulary(reader *r, bool added, heed_error *error) {
    const size_t count = json_object_size(r->vocab) + added;
    size_t bytes = sizeof BPE_EOS;
    const char *token;
    json_t *id;
    json_object_foreach((json_t *)(uintptr_t)r->vocab, token, id) bytes += strlen(token);    // at most the file's size
    heed_status status = bpe_create(&r->model, (int32_t)count, bytes, error);
    r->eos = -1;
    json_object_foreach((json_t *)(uintptr_t)r->vocab, token, id) {
        if (status != HEED_OK) break;
        status = read_token(r, token, id, error);
    }
    if (status != HEED_OK) return status;
    if (added) {
        r->eos = (int32_t)count - 1;
        if (r->model->length[r->eos] != 0) return fail_token(error, r, BPE_EOS, "its id is given to another token too");
        bpe_set_token(r->model, r->eos, BPE_EOS, strlen(BPE_EOS));
    }
    if (r->eos < 0) return fail_token(error, r, BPE_EOS, "is missing");
    for (int byte = 0; byte < 256; byte++)
        if (r->model->byte_id[byte] < 0)
            return error_set(error, HEED_INVALID, "%s: byte 0x%02x has no token; all 256 bytes need one", file_shown(r->file),
                             (unsigned)byte);
    return HEED_OK;
}

// ---- merges -------------------------------------------------------------------------------------------------------

// -1: not in the vocabulary.
static int32_t find_token(const reader *r, const char *token) {
    const json_t *id = json_object_get(r->vocab, token);
    return id == NULL ? -1 : (int32_t)json_integer_value(id);
}

// The pair "left right" in text[0..n); unit and number say where it stands.
static heed_status read_merge(reader *r, const char *text, size_t n, const char *unit, size_t number, heed_error *error) {
    const char *space = memchr(text, ' ', n), *wrong = NULL;
    int32_t left = -1, right = -1, id = -1;
    text_string *s = &r->scratch;
    s->length = 0;
    if (space == NULL || space == text || space + 1 == text + n || memchr(space + 1, ' ', (size_t)(text + n - space - 1)) != NULL)
        wrong = "must be two tokens and one space between them";
    else if (memchr(text, 0, n) != NULL) wrong = "has a zero byte";
    else {
        text_append(s, text, n);
        if (s->failed) return error_set(error, HEED_NO_MEMORY, "no memory to read %s", file_shown(r->file));
        char *gap = s->text + (space - text);
        *gap = 0;
        left = find_token(r, s->text);
        right = find_token(r, gap + 1);
        memmove(gap, gap + 1, (size_t)(s->text + n - gap));    // with its zero
        id = find_token(r, s->text);
        if (left < 0 || right < 0) wrong = "one of the two tokens is not in the vocabulary";
        else if (id < 0) wrong = "the merged token is not in the vocabulary";
        else if (!bpe_add_merge(r->model, left, right, id)) wrong = "the same pair stands further up";
    }
    if (wrong == NULL) return HEED_OK;
    return error_set(error, HEED_INVALID, "%s, %s %zu: \"%.*s\": %s", file_shown(r->file), unit, number, n > 40 ? 40 : (int)n,
                     text, wrong);
}

static heed_status read_merge_lines(reader *r, const char *text, size_t n, heed_error *error) {
    size_t lines = 0, number = 0;
    for (size_t i = 0; i < n; i++) lines += text[i] == '\n';
    heed_status status = bpe_reserve_merges(r->model, (int32_t)lines + 1, error);
    for (size_t at = 0; at < n && status == HEED_OK;) {
        const char *end = memchr(text + at, '\n', n - at);
        const size_t next = end == NULL ? n : (size_t)(end - text) + 1;
        size_t length = (end == NULL ? n : (size_t)(end - text)) - at;
        number++;
        if (length > 0 && text[at + length - 1] == '\r') length--;
        const bool is_version = number == 1 && length >= 8 && memcmp(text + at, "#version", 8) == 0;
        const bool is_last_blank = length == 0 && next == n;
        if (!is_version && !is_last_blank) status = read_merge(r, text + at, length, "line", number, error);
        at = next;
    }
    return status;
}

// tokenizer.json: "left right", or since tokenizers 0.20 ["left", "right"].
static heed_status read_merge_list(reader *r, const json_t *list, heed_error *error) {
    heed_status status = bpe_reserve_merges(r->model, (int32_t)json_array_size(list), error);
    text_string line = {0};
    for (size_t i = 0; i < json_array_size(list) && status == HEED_OK; i++) {
        const json_t *pair = json_array_get(list, i);
        const char *text = json_string_value(pair), *left = json_string_value(json_array_get(pair, 0));
        const char *right = json_string_value(json_array_get(pair, 1));
        line.length = 0;
        if (text != NULL) text_append(&line, text, strlen(text));
        else if (json_array_size(pair) == 2 && left != NULL && right != NULL) text_format(&line, "%s %s", left, right);
        else {
            status = error_set(error, HEED_INVALID, "%s, merge %zu: must be two texts", file_shown(r->file), i + 1);
            break;
        }
        if (line.failed) status = error_set(error, HEED_NO_MEMORY, "no memory to read %s", file_shown(r->file));
        else status = read_merge(r, line.text, line.length, "merge", i + 1, error);
    }
    free(line.text);
    return status;
}

// ---- files --------------------------------------------------------------------------------------------------------

static heed_status read_pair(reader *r, const char *vocab_path, const char *merges_path, heed_error *error) {
    json_t *vocab;
    heed_status status = json_file_read(&vocab, vocab_path, error);
    if (status != HEED_OK) return status;
    r->file = vocab_path;
    r->vocab = vocab;
    status = read_vocabulary(r, false, error);
    char *text = NULL;
    size_t n = 0;
    if (status == HEED_OK) status = file_read(&text, &n, merges_path, MERGES_BYTES, error);
    r->file = merges_path;
    if (status == HEED_OK) status = read_merge_lines(r, text, n, error);
    free(text);
    json_decref(vocab);
    return status;
}

static heed_status refuse_setting(const reader *r, const char *setting, const char *needed, heed_error *error) {
    return error_set(error, HEED_REFUSED, "%s: %s is not GPT-2's; only %s is built", file_shown(r->file), setting, needed);
}

static bool is_off(const json_t *object, const char *key) {    // absent, null, false or ""
    const json_t *value = json_object_get(object, key);
    return value == NULL || json_is_null(value) || json_is_false(value) || (json_is_string(value) &&
                                                                            json_string_length(value) == 0);
}

static bool is_text(const json_t *object, const char *key, const char *text) {
    const char *value = json_string_value(json_object_get(object, key));
    return value != NULL && strcmp(value, text) == 0;
}

// Everything in tokenizer.json that could change an id must be as in GPT-2's.
static heed_status check_settings(const reader *r, const json_t *root, const json_t *model, heed_error *error) {
    const json_t *split = json_object_get(root, "pre_tokenizer"), *after = json_object_get(root, "post_processor");
    const json_t *specials = json_object_get(after, "special_tokens");
    if (json_object_get(model, "type") != NULL && !is_text(model, "type", "BPE")) return refuse_setting(r, "model.type", "BPE",
            error);
    static const char *const off[] = {"dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback",
                                      "ignore_merges"};
    for (size_t i = 0; i < sizeof off / sizeof *off; i++)
        if (!is_off(model, off[i])) return refuse_setting(r, off[i], "none", error);
    if (!is_off(root, "normalizer")) return refuse_setting(r, "normalizer", "none", error);
    if (!is_off(root, "truncation")) return refuse_setting(r, "truncation", "none", error);
    if (!is_text(split, "type", "ByteLevel") || !is_off(split, "add_prefix_space") || json_is_false(json_object_get(split,
            "use_regex")))
        return refuse_setting(r, "pre_tokenizer", "ByteLevel without prefix space", error);
    if (!is_off(root, "post_processor") && !is_text(after, "type", "ByteLevel") &&
        !(is_text(after, "type", "TemplateProcessing") && json_object_size(specials) == 0))
        return refuse_setting(r, "post_processor", "one that adds no token", error);
    return HEED_OK;
}

// The only special token may be <|endoftext|>. *added: it is not in the vocabulary and has the next id.
static heed_status check_added(const reader *r, const json_t *list, bool *added, heed_error *error) {
    *added = false;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *token = json_array_get(list, i), *id = json_object_get(token, "id");
        const json_t *known = json_object_get(r->vocab, BPE_EOS);
        if (!is_text(token, "content", BPE_EOS) || !is_off(token, "lstrip") || !is_off(token, "rstrip") || !is_off(token,
                "single_word"))
            return refuse_setting(r, "added_tokens", "a plain " BPE_EOS, error);
        const int64_t expected = known != NULL ? json_integer_value(known) : (int64_t)json_object_size(r->vocab);
        if (!json_is_integer(id) || json_integer_value(id) != expected)
            return error_set(error, HEED_INVALID, "%s: added_tokens: the id of " BPE_EOS " must be %lld", file_shown(r->file),
                             (long long)expected);
        *added = known == NULL;
    }
    return HEED_OK;
}

static heed_status read_whole(reader *r, const char *path, heed_error *error) {
    json_t *root;
    heed_status status = json_file_read(&root, path, error);
    if (status != HEED_OK) return status;
    r->file = path;
    const json_t *model = NULL, *merges = NULL, *list = NULL;
    bool added = false;
    status = json_take_object(root, path, "model", JSON_NEEDED, &model, error);
    if (status == HEED_OK) status = check_settings(r, root, model, error);
    if (status == HEED_OK) status = json_take_object(model, path, "vocab", JSON_NEEDED, &r->vocab, error);
    if (status == HEED_OK) status = json_take_array(model, path, "merges", JSON_NEEDED, &merges, error);
    if (status == HEED_OK) status = json_take_array(root, path, "added_tokens", JSON_OPTIONAL, &list, error);
    if (status == HEED_OK) status = check_added(r, list, &added, error);
    if (status == HEED_OK) status = read_vocabulary(r, added, error);
    if (status == HEED_OK) status = read_merge_list(r, merges, error);
    json_decref(root);
    return status;
}

// tokenizer_config.json may name another kind of tokenizer, whose vocabulary would load here and give other ids.
static heed_status check_config(const char *path, heed_error *error) {
    json_t *root;
    heed_status status = json_file_read_reals(&root, path, error);
    if (status != HEED_OK) return status;
    static const char *const classes[] = {"GPT2Tokenizer", "GPT2TokenizerFast", "PreTrainedTokenizerFast", "TokenizersBackend",
                                          NULL};
    const char *kind = NULL;
    bool prefix = false, bos = false;
    status = json_take_text(root, path, "tokenizer_class", JSON_OPTIONAL, classes, &kind, error);
    if (status == HEED_OK) status = json_take_bool(root, path, "add_prefix_space", JSON_OPTIONAL, &prefix, error);
    if (status == HEED_OK) status = json_take_bool(root, path, "add_bos_token", JSON_OPTIONAL, &bos, error);
    if (status == HEED_OK && (prefix || bos))
        status = error_set(error, HEED_REFUSED, "%s: %s true is not built; false is", file_shown(path),
                           prefix ? "add_prefix_space" : "add_bos_token");
    json_decref(root);
    return status;
}

static heed_status read_folder(reader *r, const char *folder, heed_error *error) {
    char *path[4] = {file_join(folder, "tokenizer_config.json"), file_join(folder, "tokenizer.json"), file_join(folder,
            "vocab.json"),
                     file_join(folder, "merges.txt")};
    heed_status status = HEED_OK;
    if (path[0] == NULL || path[1] == NULL || path[2] == NULL || path[3] == NULL)
        status = error_set(error, HEED_NO_MEMORY, "no memory to read %s", file_shown(folder));
    else if (file_exists(path[0])) status = check_config(path[0], error);
    if (status == HEED_OK && file_exists(path[1])) status = read_whole(r, path[1], error);
    else if (status == HEED_OK && file_exists(path[2]) && file_exists(path[3])) status = read_pair(r, path[2], path[3], error);
    else if (status == HEED_OK)
        status = error_set(error, HEED_INVALID, "%s holds no tokenizer: tokenizer.json, or vocab.json and merges.txt, are needed",
                           file_shown(folder));
    for (int i = 0; i < 4; i++) free(path[i]);
    return status;
}

heed_status bpe_read(bpe **read, int32_t *eos, const char *folder, heed_error *error) {
    *read = NULL;
    reader r = {0};
    const heed_status status = file_is_folder(folder) ? read_folder(&r, folder, error) : read_whole(&r, folder, error);
    free(r.scratch.text);
    if (status != HEED_OK) {
        bpe_free(r.model);
        return status;
    }
    *read = r.model;
    *eos = r.eos;
    return HEED_OK;
}
