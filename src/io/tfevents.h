// SPDX-License-Identifier: Apache-2.0
// TensorBoard's event files: numbers and texts by step. A file is only ever appended to, in whole records, so that what a kill
// leaves is a shorter file; a run that goes on begins a new one, which tells TensorBoard from which step on it counts.
//
// TFRecord framing with masked CRC-32C, and the fields of tensorflow's event.proto, summary.proto and tensor.proto, by hand.
#pragma once

#include "base/error.h"

typedef struct tfevents tfevents;

// A new file in `folder`, which exists. first_step: what older files hold of this step and later ones is void; -1: nothing is.
heed_status tfevents_create(tfevents **, const char *folder, int64_t first_step, heed_error *);
void tfevents_close(tfevents *);    // keeps nothing that was not flushed; NULL is fine

// One event: begin, any number of values, end. It stays in memory until the flush, which is one write.
void tfevents_begin(tfevents *, int64_t step);
void tfevents_number(tfevents *, const char *tag, double value);    // an f32 in the file
void tfevents_text(tfevents *, const char *tag, const char *text);  // Markdown
void tfevents_end(tfevents *);
heed_status tfevents_flush(tfevents *, heed_error *);

uint32_t crc32c(const void *bytes, size_t n);    // Castagnoli's polynomial, as in RFC 3720
