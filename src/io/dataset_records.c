// SPDX-License-Identifier: Apache-2.0
// .jsonl and .json: a JSON object a line.
#include "io/dataset_builder.h"

#include "io/file.h"
#include "io/json.h"

#include <math.h>

static heed_status add_record(dataset_builder *b, const char *line, size_t n, size_t number, heed_error *error) {
    json_t *record;
    heed_status status = json_line_parse(&record, line, n, b->path, number, error);
    if (status != HEED_OK) return status;
    const json_t *text = json_object_get(record, "text");
    if (text == NULL && json_object_get(record, "prompt") != NULL)
        status = error_set(error, HEED_REFUSED, "%s, line %zu: prompt and answer records are not built yet; \"text\" is",
                           file_shown(b->path), number);
    else if (!json_is_string(text))
        status = error_set(error, HEED_INVALID, "%s, line %zu: \"text\" %s; a text is needed", file_shown(b->path), number,
                           text == NULL ? "is missing" : "is not a text");
    else status = dataset_add(b, json_string_value(text), json_string_length(text), NAN, error);
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
