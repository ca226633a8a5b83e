// SPDX-License-Identifier: Apache-2.0
// .jsonl: a JSON object a line. .json: that, or one list of objects.
#include "io/dataset_builder.h"

#include "io/file.h"
#include "io/json.h"

#include <math.h>

// place: "line" or "record", which `number` counts.
static heed_status add_text(dataset_builder *b, const json_t *record, const char *place, size_t number, heed_error *error) {
    const json_t *text = json_object_get(record, "text");
    if (text == NULL && json_object_get(record, "prompt") != NULL)
        return error_set(error, HEED_REFUSED, "%s, %s %zu: prompt and answer records are not built yet; \"text\" is",
                         file_shown(b->path), place, number);
    if (!json_is_string(text))
        return error_set(error, HEED_INVALID, "%s, %s %zu: \"text\" %s; a text is needed", file_shown(b->path), place, number,
                         text == NULL ? "is missing" : "is not a text");
    return dataset_add(b, json_string_value(text), json_string_length(text), NAN, error);
}

static heed_status add_record(dataset_builder *b, const char *line, size_t n, size_t number, heed_error *error) {
    json_t *record;
    heed_status status = json_line_parse(&record, line, n, b->path, number, error);
    if (status == HEED_OK) status = add_text(b, record, "line", number, error);
    json_decref(record);
    return status;
}

heed_status dataset_read_records(dataset_builder *b, char *text, size_t n, heed_error *error) {
    size_t number = 1;
    for (size_t at = dataset_mark(text, n); at < n; number++) {
        const char *end = memchr(text + at, '\n', n - at);
        const size_t length = end == NULL ? n - at : (size_t)(end - text) - at;
        if (!dataset_blank(text + at, length)) {
            const heed_status status = add_record(b, text + at, length, number, error);
            if (status != HEED_OK) return status;
        }
        at += length + 1;
    }
    return HEED_OK;
}

heed_status dataset_read_json(dataset_builder *b, char *text, size_t n, heed_error *error) {
    const size_t mark = dataset_mark(text, n);
    size_t first = mark;
    while (first < n && dataset_blank(text + first, 1)) first++;
    if (first == n || text[first] != '[') return dataset_read_records(b, text, n, error);
    json_t *list;
    heed_status status = json_list_parse(&list, text + mark, n - mark, b->path, error);
    for (size_t i = 0; status == HEED_OK && i < json_array_size(list); i++)
        status = add_text(b, json_array_get(list, i), "record", i + 1, error);
    json_decref(list);
    return status;
}
