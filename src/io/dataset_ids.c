// SPDX-License-Identifier: Apache-2.0
// .bin: token ids, little-endian, two bytes each, or four where the vocabulary has more than 65,536; EOS ends a document.
#include "io/dataset_builder.h"

#include "base/text.h"
#include "io/file.h"

#include <stdlib.h>

enum { SMALL_VOCABULARY = 65536, HEADER_BYTES = 1024, HEADER_MAGIC = 20240520 };

static uint32_t id_at(const unsigned char *bytes, size_t index, size_t width) {
    const unsigned char *p = bytes + index * width;
    uint32_t id = (uint32_t)p[0] | (uint32_t)p[1] << 8;
    if (width == 4) id |= (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
    return id;
}

static heed_status add_document(dataset_builder *b, const id_list *document, text_string *text, heed_error *error) {
    text->length = 0;
    const heed_status status = tokenizer_decode(b->tokens, document->id, document->count, text, error);
    return status == HEED_OK ? dataset_add_ids(b, document->id, document->count, (int64_t)text->length, error) : status;
}

heed_status dataset_read_ids(dataset_builder *b, char *text, size_t n, heed_error *error) {
    const unsigned char *bytes = (const unsigned char *)text;
    const int32_t vocabulary = tokenizer_size(b->tokens), eos = tokenizer_eos(b->tokens);
    const size_t width = vocabulary > SMALL_VOCABULARY ? 4 : 2;
    if (n >= HEADER_BYTES && id_at(bytes, 0, 4) == HEADER_MAGIC)
        return error_set(error, HEED_REFUSED, "%s begins with the header of llm.c's files, which is no ids; cut it off: "
                         "tail -c +%d", file_shown(b->path), HEADER_BYTES + 1);
    if (n % width != 0)
        return error_set(error, HEED_INVALID, "%s has %zu bytes, which is no multiple of %zu: ids of a vocabulary of %d take %zu "
                         "bytes each", file_shown(b->path), n, width, (int)vocabulary, width);
    id_list document = {0};
    text_string decoded = {0};
    heed_status status = HEED_OK;
    for (size_t i = 0; status == HEED_OK && i < n / width; i++) {
        const uint32_t id = id_at(bytes, i, width);
        if (id >= (uint32_t)vocabulary)
            status = error_set(error, HEED_INVALID, "%s: the id at byte %zu is %u; the tokenizer's ids are 0 to %d",
                               file_shown(b->path), i * width, (unsigned)id, (int)vocabulary - 1);
        else if (id != (uint32_t)eos) status = id_list_add(&document, (int32_t)id, error);
        const bool ends = id == (uint32_t)eos || i + 1 == n / width;
        if (status == HEED_OK && ends) {
            status = add_document(b, &document, &decoded, error);
            document.count = 0;
        }
    }
    free(document.id);
    free(decoded.text);
    return status;
}
