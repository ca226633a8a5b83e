// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stddef.h>
#include <stdint.h>

// Bytes of the UTF-8 sequence at p (n > 0 bytes are there), 0 when it is none: surrogates, overlong forms, cut-off sequences
// and code points above U+10FFFF are no UTF-8.
static inline size_t utf8_length(const unsigned char *p, size_t n) {
    const unsigned lead = p[0];
    if (lead < 0x80) return 1;
    if (lead < 0xc2 || lead > 0xf4) return 0;
    const size_t length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (n < length) return 0;
    // The second byte's range excludes what the lead byte alone cannot.
    const unsigned low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80, high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (p[1] < low || p[1] > high) return 0;
    for (size_t i = 2; i < length; i++)
        if ((p[i] & 0xc0) != 0x80) return 0;
    return length;
}
