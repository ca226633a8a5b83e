// SPDX-License-Identifier: Apache-2.0
#include "io/byte_chars.h"

// Printable in Latin-1, without the space, the no-break space and the soft hyphen.
static bool is_itself(unsigned byte) { return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174; }

// The 68 others: 0..32, 127..160 and 173 follow one another from U+0100.
static unsigned char_of_byte(unsigned byte) {
    if (is_itself(byte)) return byte;
    return 256 + (byte <= 32 ? byte : byte <= 160 ? byte - 127 + 33 : 67);
}

static int byte_of_char(unsigned c) {
    if (c < 256) return is_itself(c) ? (int)c : -1;
    const unsigned k = c - 256;
    if (k > 67) return -1;
    return (int)(k <= 32 ? k : k <= 66 ? k - 33 + 127 : 173);
}

void byte_chars_append(text_string *s, const unsigned char *bytes, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const unsigned c = char_of_byte(bytes[i]);
        const char utf8[2] = {(char)(c < 128 ? c : 0xc0 | c >> 6), (char)(0x80 | (c & 63))};
        text_append(s, utf8, c < 128 ? 1 : 2);
    }
}

int64_t byte_chars_read(const char *text, size_t n, unsigned char *bytes) {
    int64_t count = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned c = (unsigned char)text[i];
        if (c >= 0x80) {    // every character of the table has at most two bytes
            if ((c & 0xe0) != 0xc0 || i + 1 == n || ((unsigned char)text[i + 1] & 0xc0) != 0x80) return -1;
            c = (c & 31) << 6 | ((unsigned char)text[++i] & 63);
        }
        const int byte = byte_of_char(c);
        if (byte < 0) return -1;
        bytes[count++] = (unsigned char)byte;
    }
    return count;
}
