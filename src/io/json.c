// SPDX-License-Identifier: Apache-2.0
#include "io/json.h"

#include "io/file.h"
#include "base/utf8.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// jansson recurses to its own limit of 2048; ours is found before it starts, by counting brackets outside of texts.
static bool is_shallow(const char *bytes, size_t n, size_t *line) {
    int depth = 0;
    bool in_text = false;
    *line = 1;
    for (size_t i = 0; i < n; i++) {
        const char c = bytes[i];
        if (c == '\n') ++*line;
        if (in_text) {
            if (c == '\\') i++;
            else if (c == '"') in_text = false;
        } else if (c == '"') in_text = true;
        else if (c == '{' || c == '[') {
            if (++depth > JSON_DEPTH) return false;
        } else if (c == '}' || c == ']') depth--;
    }
    return true;
}

// first: the number of the first line, for sentences. type: of the root, an object or a list.
static heed_status parse(json_t **root, const char *bytes, size_t n, const char *file, size_t first, size_t flags, json_type type,
                         heed_error *error) {
    *root = NULL;
    size_t line;
    if (n > JSON_BYTES)
        return error_set(error, HEED_INVALID, "%s has %zu bytes; at most %d are allowed", file_shown(file), n, JSON_BYTES);
    if (!is_shallow(bytes, n, &line))
        return error_set(error, HEED_INVALID, "%s, line %zu: nested deeper than %d", file_shown(file), line + first - 1,
                         JSON_DEPTH);
    json_error_t reason;
    json_t *value = json_loadb(bytes, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | flags, &reason);
    if (value == NULL)
        return error_set(error, HEED_INVALID, "%s, line %zu, column %d (byte %d): %.90s", file_shown(file),
                         (size_t)reason.line + first - 1,
                         reason.column, reason.position, reason.text);
    if (json_typeof(value) != type) {
        json_decref(value);
        return error_set(error, HEED_INVALID, "%s, line %zu: %s is needed", file_shown(file), first,
                         type == JSON_OBJECT ? "an object, {...}," : "a list, [...],");
    }
    *root = value;
    return HEED_OK;
}

heed_status json_file_parse(json_t **root, const char *bytes, size_t n, const char *file, heed_error *error) {
    return parse(root, bytes, n, file, 1, 0, JSON_OBJECT, error);
}

heed_status json_line_parse(json_t **root, const char *bytes, size_t n, const char *file, size_t line, heed_error *error) {
    return parse(root, bytes, n, file, line, JSON_ALLOW_NUL, JSON_OBJECT, error);
}

heed_status json_list_parse(json_t **root, const char *bytes, size_t n, const char *file, heed_error *error) {
    return parse(root, bytes, n, file, 1, JSON_ALLOW_NUL, JSON_ARRAY, error);
}

static heed_status read(json_t **root, const char *path, size_t flags, json_type type, heed_error *error) {
    *root = NULL;
    char *bytes;
    size_t n;
    heed_status status = file_read(&bytes, &n, path, JSON_BYTES, error);
    if (status != HEED_OK) return status;
    status = parse(root, bytes, n, path, 1, flags, type, error);
    free(bytes);
    return status;
}

heed_status json_file_read(json_t **root, const char *path, heed_error *error) {
    return read(root, path, 0, JSON_OBJECT, error);
}

heed_status json_file_read_list(json_t **root, const char *path, heed_error *error) {
    return read(root, path, 0, JSON_ARRAY, error);
}

heed_status json_file_read_reals(json_t **root, const char *path, heed_error *error) {
    return read(root, path, JSON_DECODE_INT_AS_REAL, JSON_OBJECT, error);
}

static int append(const char *bytes, size_t n, void *text) {
    text_append(text, bytes, n);
    return ((text_string *)text)->failed ? -1 : 0;
}

heed_status json_file_print(const json_t *value, bool indented, text_string *text, heed_error *error) {
    const size_t style = indented ? JSON_INDENT(2) : JSON_COMPACT;
    if (json_dump_callback(value, append, text, style | JSON_REAL_PRECISION(17) | JSON_ENCODE_ANY) == 0) return HEED_OK;
    return error_set(error, HEED_NO_MEMORY, "no memory to print JSON");
}

heed_status json_file_write(const json_t *root, const char *path, heed_error *error) {
    text_string text = {0};
    heed_status status = json_file_print(root, true, &text, error);
    text_append(&text, "\n", 1);
    if (status == HEED_OK && text.failed) status = error_set(error, HEED_NO_MEMORY, "no memory to write %s", file_shown(path));
    if (status == HEED_OK) status = file_replace(path, text.text, text.length, error);
    free(text.text);
    return status;
}

bool json_file_set_real(json_t *object, const char *key, double value) {
    return json_object_set_new(object, key, isfinite(value) ? json_real(value) : json_null()) == 0;
}

json_t *json_text_bytes(const char *bytes, size_t n) {
    text_string good = {0};
    const unsigned char *p = (const unsigned char *)bytes;
    text_append(&good, "", 0);
    for (size_t length; n > 0; p += length, n -= length) {
        length = utf8_length(p, n);
        if (length > 0) text_append(&good, (const char *)p, length);
        else text_format(&good, "\\x%02x", p[length++]);
    }
    json_t *made = good.failed ? NULL : json_stringn(good.text, good.length);
    free(good.text);
    return made;
}

json_t *json_text(const char *text) { return text == NULL ? json_null() : json_text_bytes(text, strlen(text)); }

// ---- flattening -----------------------------------------------------------------------------------------------------

static bool is_named_list(const json_t *list) {
    if (!json_is_array(list) || json_array_size(list) == 0) return false;
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!json_is_string(json_object_get(json_array_get(list, i), "name"))) return false;
    return true;
}

static void flatten(const json_t *value, const char *key, json_leaf *leaf, void *context);

static void flatten_below(const json_t *value, const char *key, const char *name, json_leaf *leaf, void *context) {
    char below[JSON_KEY];
    text_buffer b = {below, sizeof below, 0};
    text_add(&b, "%s%s%s", key, key[0] != 0 ? "/" : "", name);
    if (b.length < sizeof below) flatten(value, below, leaf, context);
}

// The file's depth is bounded, so this recursion is.
static void flatten(const json_t *value, const char *key, json_leaf *leaf, void *context) {
    const char *name;
    json_t *child;
    size_t i;
    if (json_is_object(value)) {
        json_object_foreach((json_t *)value, name, child) flatten_below(child, key, name, leaf, context);
    } else if (is_named_list(value)) {
        json_array_foreach(value, i, child)
            flatten_below(child, key, json_string_value(json_object_get(child, "name")), leaf, context);
    } else {
        leaf(context, key, value);
    }
}

void json_flatten(const json_t *object, json_leaf *leaf, void *context) { flatten(object, "", leaf, context); }

// ---- getters ------------------------------------------------------------------------------------------------------

// The value of key; NULL with HEED_OK: absent, and it may be.
static heed_status find(const json_t *object, const char *file, const char *key, json_need need, const json_t **value,
                        heed_error *error) {
    *value = json_object_get(object, key);
    if (json_is_null(*value)) *value = NULL;
    if (*value == NULL && need == JSON_NEEDED) return error_set(error, HEED_INVALID, "%s: %s is missing", file_shown(file), key);
    return HEED_OK;
}

// "FILE: KEY is VALUE; ALLOWED is needed", the value cut to what a sentence can hold.
static heed_status refuse(const json_t *value, const char *file, const char *key, const char *allowed, heed_error *error) {
    text_string text = {0};
    if (json_file_print(value, false, &text, NULL) != HEED_OK || text.text == NULL) text_append(&text, "?", 1);
    error_set(error, HEED_INVALID, "%s: %s is %.40s%s; %s is needed", file_shown(file), key, text.text == NULL ? "?" : text.text,
              text.length > 40 ? "..." : "", allowed);
    free(text.text);
    return HEED_INVALID;
}

heed_status json_take_int(const json_t *object, const char *file, const char *key, json_need need, int64_t least, int64_t most,
                          int64_t *value, heed_error *error) {
    const json_t *found;
    const heed_status status = find(object, file, key, need, &found, error);
    if (status != HEED_OK || found == NULL) return status;
    if (!json_is_integer(found) || json_integer_value(found) < least || json_integer_value(found) > most) {
        char allowed[80];
        text_add(&(text_buffer){allowed, sizeof allowed, 0}, "an integer from %lld to %lld", (long long)least, (long long)most);
        return refuse(found, file, key, allowed, error);
    }
    *value = json_integer_value(found);
    return HEED_OK;
}

heed_status json_take_real(const json_t *object, const char *file, const char *key, json_need need, double least, double most,
                           double *value, heed_error *error) {
    const json_t *found;
    const heed_status status = find(object, file, key, need, &found, error);
    if (status != HEED_OK || found == NULL) return status;
    const double x = json_number_value(found);
    if (!json_is_number(found) || !(x >= least && x <= most)) {
        char allowed[80];
        text_add(&(text_buffer){allowed, sizeof allowed, 0}, "a number from %g to %g", least, most);
        return refuse(found, file, key, allowed, error);
    }
    *value = x;
    return HEED_OK;
}

heed_status json_take_bool(const json_t *object, const char *file, const char *key, json_need need, bool *value,
                           heed_error *error) {
    const json_t *found;
    const heed_status status = find(object, file, key, need, &found, error);
    if (status != HEED_OK || found == NULL) return status;
    if (!json_is_boolean(found)) return refuse(found, file, key, "true or false", error);
    *value = json_is_true(found);
    return HEED_OK;
}

heed_status json_take_text(const json_t *object, const char *file, const char *key, json_need need,
                           const char *const *allowed, const char **value, heed_error *error) {
    const json_t *found;
    const heed_status status = find(object, file, key, need, &found, error);
    if (status != HEED_OK || found == NULL) return status;
    const char *text = json_string_value(found);
    if (text == NULL) return refuse(found, file, key, "a text", error);
    if (allowed != NULL) {
        char list[100];
        text_buffer b = {list, sizeof list, 0};
        const char *const *at = allowed;
        for (; *at != NULL && strcmp(*at, text) != 0; at++) text_add(&b, at == allowed ? "%s" : " or %s", *at);
        if (*at == NULL) return refuse(found, file, key, list, error);
    }
    *value = text;
    return HEED_OK;
}

static heed_status take_kind(const json_t *object, const char *file, const char *key, json_need need, json_type type,
                             const char *allowed, const json_t **value, heed_error *error) {
    const json_t *found;
    const heed_status status = find(object, file, key, need, &found, error);
    if (status != HEED_OK || found == NULL) return status;
    if (json_typeof(found) != type) return refuse(found, file, key, allowed, error);
    *value = found;
    return HEED_OK;
}

heed_status json_take_object(const json_t *object, const char *file, const char *key, json_need need, const json_t **value,
                             heed_error *error) {
    return take_kind(object, file, key, need, JSON_OBJECT, "an object", value, error);
}

heed_status json_take_array(const json_t *object, const char *file, const char *key, json_need need, const json_t **value,
                            heed_error *error) {
    return take_kind(object, file, key, need, JSON_ARRAY, "a list", value, error);
}
