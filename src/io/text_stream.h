// SPDX-License-Identifier: Apache-2.0
// Text that grows a token at a time, and how much of it can be shown: not the beginning of a character whose other bytes are
// still to come, nor what may turn out to be a stop string.
#pragma once

#include "base/text.h"

typedef struct {
    const char *const *stops;    // ended by NULL; NULL: none. The caller's
    text_string text;            // all of it; what follows a stop string, and the stop string, are not kept
    size_t ready;                // bytes from its beginning that can be shown; never decreases
    bool stopped;
} text_stream;

// More bytes; nothing is taken once `stopped`. text.failed says when memory is missing.
void text_stream_add(text_stream *, const char *bytes, size_t n);
// Nothing more will come: all is ready, whatever it is.
void text_stream_end(text_stream *);
void text_stream_free(text_stream *);    // a zeroed one is fine
