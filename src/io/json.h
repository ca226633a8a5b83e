// SPDX-License-Identifier: Apache-2.0
// JSON files through jansson, with limits (size, depth), duplicate keys refused, and getters whose failure is a sentence that
// names file, key, value and what is allowed. jansson owns the names json_*; ours are json_file_* and json_take_*.
#pragma once

#include "base/error.h"
#include "base/text.h"

#include <jansson.h>

enum { JSON_DEPTH = 64, JSON_BYTES = 256 << 20 };    // no file of ours is deeper; the largest tokenizer.json are some 20 MB

// The root must be an object. json_decref it.
heed_status json_file_read(json_t **, const char *path, heed_error *);

heed_status json_file_read_list(json_t **, const char *path, heed_error *);    // the same for a root that must be a list

// The same from memory; `file` is only for the sentence.
heed_status json_file_parse(json_t **, const char *bytes, size_t n, const char *file, heed_error *);

// Every number becomes a real. For tokenizer_config.json: transformers writes model_max_length 1e30 there as an integer.
heed_status json_file_read_reals(json_t **, const char *path, heed_error *);

// One line of a .jsonl file, `line` its number; texts may hold zero bytes (json_string_length).
heed_status json_line_parse(json_t **, const char *bytes, size_t n, const char *file, size_t line, heed_error *);

// A list, [...], from memory; texts may hold zero bytes.
heed_status json_list_parse(json_t **, const char *bytes, size_t n, const char *file, heed_error *);

// Atomic (file_replace), indented, keys in the order they were set. Reals read back exactly (%.17g).
heed_status json_file_write(const json_t *, const char *path, heed_error *);

// The same text appended to a string: one line without its newline, or indented.
heed_status json_file_print(const json_t *, bool indented, text_string *, heed_error *);

// Sets object[key]; NaN and infinities, which JSON cannot write, become null. False without memory.
bool json_file_set_real(json_t *object, const char *key, double value);

// Calls leaf for each value that is no object, with its keys joined by '/'; a list of objects that all have a text `name` counts
// as an object with those keys. What has a key of JSON_KEY bytes or more is left out.
enum { JSON_KEY = 160 };
typedef void json_leaf(void *context, const char *key, const json_t *value);
void json_flatten(const json_t *object, json_leaf *leaf, void *context);

// Any bytes as a JSON text: what is no UTF-8 becomes \xNN. NULL gives null.
json_t *json_text(const char *);
json_t *json_text_bytes(const char *, size_t n);

// *value = object[key]. A key that is absent (or null) leaves *value as it was, unless `need`.
typedef enum { JSON_OPTIONAL, JSON_NEEDED } json_need;
heed_status json_take_int(const json_t *object, const char *file, const char *key, json_need need, int64_t least, int64_t most,
                          int64_t *value, heed_error *);
heed_status json_take_real(const json_t *object, const char *file, const char *key, json_need need, double least, double most,
                           double *value, heed_error *);    // an integer is a real too
heed_status json_take_bool(const json_t *object, const char *file, const char *key, json_need need, bool *value, heed_error *);

// The text belongs to the object. allowed: its values, ending in NULL; NULL: any.
heed_status json_take_text(const json_t *object, const char *file, const char *key, json_need need,
                           const char *const *allowed, const char **value, heed_error *);
heed_status json_take_object(const json_t *object, const char *file, const char *key, json_need need, const json_t **value,
                             heed_error *);
heed_status json_take_array(const json_t *object, const char *file, const char *key, json_need need, const json_t **value,
                            heed_error *);
