// SPDX-License-Identifier: Apache-2.0
// .txt: a document is a run of non-blank lines.
#include "io/dataset_builder.h"

#include <math.h>

// Lines are moved to the document's start without their CR, which never makes text longer, so that it is built in place.
heed_status dataset_read_text(dataset_builder *b, char *text, size_t n, heed_error *error) {
    heed_status status = HEED_OK;
    size_t at = dataset_mark(text, n), document = at, length = 0;
    while (at < n && status == HEED_OK) {
        const char *end = memchr(text + at, '\n', n - at);
        const size_t whole = end == NULL ? n - at : (size_t)(end - text) - at, next = at + whole + (end != NULL);
        if (dataset_blank(text + at, whole)) {
            if (length > 0) status = dataset_add(b, text + document, length, NAN, error);
            document = next;
            length = 0;
        } else {
            const size_t kept = whole - (end != NULL && text[at + whole - 1] == '\r');
            if (length > 0) text[document + length++] = '\n';
            memmove(text + document + length, text + at, kept);
            length += kept;
        }
        at = next;
    }
    if (length > 0 && status == HEED_OK) status = dataset_add(b, text + document, length, NAN, error);
    return status;
}
