// SPDX-License-Identifier: Apache-2.0
// Text to ids and back: GPT-2's byte-level BPE, and the byte tokenizer, which is the same without merges.
//
// Equal ids to transformers' GPT2TokenizerFast on every text that is valid UTF-8. As there, and as in `tokenizers` by
// default, the characters <|endoftext|> inside a text become that special token: text from strangers can contain a document's
// end. What `tokenizers` cannot be given is defined here: a byte that is not part of a valid UTF-8 sequence is a pre-token
// piece of its own kind (see tokenizer.c) and its ids stand for exactly that byte; decode(encode(bytes)) == bytes for all bytes.
#pragma once

#include "base/error.h"
#include "base/text.h"

typedef struct tokenizer tokenizer;

// A folder with vocab.json and merges.txt, or with tokenizer.json only (what transformers 5 saves), either GPT-2's kind.
// Another family's files (by tokenizer_config.json or tokenizer.json) are refused with a sentence: never a near miss.
heed_status tokenizer_load(tokenizer **, const char *folder, heed_error *);
heed_status tokenizer_create_bytes(tokenizer **, heed_error *);    // 256 bytes and <|endoftext|> = 256
void tokenizer_free(tokenizer *);                                  // NULL is fine

int32_t tokenizer_size(const tokenizer *);         // ids are 0 .. size - 1
int32_t tokenizer_eos(const tokenizer *);          // <|endoftext|>
const char *tokenizer_kind(const tokenizer *);     // "gpt2" (has merges) or "bytes"

// Grows as needed; starts as {0}; free(list.id).
typedef struct { int32_t *id; int64_t count, room; } id_list;
heed_status id_list_add(id_list *, int32_t id, heed_error *);

// Appends the ids of n bytes; no EOS is added. Uses memory inside the tokenizer: one thread at a time for each tokenizer.
heed_status tokenizer_encode(const tokenizer *, const char *text, size_t n, id_list *, heed_error *);

// Appends the bytes of n ids; <|endoftext|> is written as its name. An id outside the vocabulary is an error.
heed_status tokenizer_decode(const tokenizer *, const int32_t *id, int64_t n, text_string *, heed_error *);

// Writes vocab.json, merges.txt, tokenizer.json, tokenizer_config.json and special_tokens_map.json into an existing folder;
// transformers.AutoTokenizer opens them. Each file is flushed; use folder_begin for all or nothing.
heed_status tokenizer_save(const tokenizer *, const char *folder, heed_error *);
