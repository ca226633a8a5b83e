// SPDX-License-Identifier: Apache-2.0
// GPT-2's vocabulary files write each byte as one printable character: bytes that are printable in Latin-1 as themselves, the
// 68 others, in order, as U+0100, U+0101, ... So the space is U+0120.
#pragma once

#include "base/text.h"

// Appends the characters of n bytes, as UTF-8.
void byte_chars_append(text_string *, const unsigned char *bytes, size_t n);

// Bytes for characters: at most n are written to `bytes` (n of text is enough); -1 when a character stands for no byte.
int64_t byte_chars_read(const char *text, size_t n, unsigned char *bytes);
