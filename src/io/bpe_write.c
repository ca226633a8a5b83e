// SPDX-License-Identifier: Apache-2.0
// The five files of a GPT-2 tokenizer. Byte characters are printable, so quote and backslash are all that JSON needs escaped.
#include "io/bpe_files.h"

#include "base/text.h"
#include "io/byte_chars.h"
#include "io/file.h"

#include <stdlib.h>
#include <string.h>

static void append_text(text_string *s, const char *text) { text_append(s, text, strlen(text)); }

// The token as byte characters; <|endoftext|> is the same either way.
static void append_token(text_string *s, const bpe *b, int32_t id, bool escaped) {
    for (uint32_t i = 0; i < b->length[id]; i++) {
        const unsigned char *byte = b->bytes + b->start[id] + i;
        if (escaped && (*byte == '"' || *byte == '\\')) append_text(s, "\\");
        byte_chars_append(s, byte, 1);
    }
}

static void print_vocab(text_string *s, const bpe *b) {
    append_text(s, "{");
    for (int32_t id = 0; id < b->count; id++) {
        append_text(s, id == 0 ? "\"" : ", \"");
        append_token(s, b, id, true);
        text_format(s, "\": %d", id);
    }
    append_text(s, "}");
}

static void print_merges(text_string *s, const bpe *b) {
    append_text(s, "#version: 0.2\n");
    for (int32_t i = 0; i < b->merges; i++) {
        append_token(s, b, b->merge[i].left, false);
        append_text(s, " ");
        append_token(s, b, b->merge[i].right, false);
        append_text(s, "\n");
    }
}

static void print_whole(text_string *s, const bpe *b, int32_t eos) {
    append_text(s, "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n  \"added_tokens\": [\n");
    text_format(s, "    {\"id\": %d, \"content\": \"" BPE_EOS "\", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, "
                "\"normalized\": false, \"special\": true}\n  ],\n", eos);
    append_text(s, "  \"normalizer\": null,\n  \"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false, "
                "\"trim_offsets\": true, \"use_regex\": true},\n  \"post_processor\": {\"type\": \"ByteLevel\", "
                "\"add_prefix_space\": true, \"trim_offsets\": false, \"use_regex\": true},\n  "
                "\"decoder\": {\"type\": \"ByteLevel\", "
                "\"add_prefix_space\": true, \"trim_offsets\": true, \"use_regex\": true},\n  \"model\": {\"type\": \"BPE\", "
                "\"dropout\": null, \"unk_token\": null, \"continuing_subword_prefix\": \"\", \"end_of_word_suffix\": \"\", "
                "\"fuse_unk\": false, \"byte_fallback\": false, \"ignore_merges\": false,\n  \"vocab\": ");
    print_vocab(s, b);
    append_text(s, ",\n  \"merges\": [");
    for (int32_t i = 0; i < b->merges; i++) {
        append_text(s, i == 0 ? "\"" : ", \"");
        append_token(s, b, b->merge[i].left, true);
        append_text(s, " ");
        append_token(s, b, b->merge[i].right, true);
        append_text(s, "\"");
    }
    append_text(s, "]}\n}\n");
}

static void print_config(text_string *s) {
    append_text(s, "{\n  \"add_prefix_space\": false,\n  \"bos_token\": \"" BPE_EOS "\",\n  \"eos_token\": \"" BPE_EOS "\",\n"
                "  \"errors\": \"replace\",\n  \"tokenizer_class\": \"GPT2Tokenizer\",\n  \"unk_token\": \"" BPE_EOS "\"\n}\n");
}

static void print_specials(text_string *s) {
    append_text(s, "{\n  \"bos_token\": \"" BPE_EOS "\",\n  \"eos_token\": \"" BPE_EOS "\",\n"
                "  \"unk_token\": \"" BPE_EOS "\"\n}\n");
}

heed_status bpe_write(const bpe *b, int32_t eos, const char *folder, heed_error *error) {
    static const char *const names[] = {"vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json",
                                        "special_tokens_map.json"};
    heed_status status = HEED_OK;
    for (int file = 0; file < 5 && status == HEED_OK; file++) {
        text_string s = {0};
        switch (file) {
        case 0: print_vocab(&s, b); append_text(&s, "\n"); break;
        case 1: print_merges(&s, b); break;
        case 2: print_whole(&s, b, eos); break;
        case 3: print_config(&s); break;
        default: print_specials(&s);
        }
        char *path = file_join(folder, names[file]);
        if (s.failed || path == NULL) status = error_set(error, HEED_NO_MEMORY, "no memory to write %s", names[file]);
        else status = file_put(path, s.text, s.length, error);
        free(path);
        free(s.text);
    }
    return status;
}
