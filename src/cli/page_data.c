// SPDX-License-Identifier: Apache-2.0
#include "cli/page_data.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static json_t *base64(const unsigned char *bytes, size_t n) {
    char *text = malloc(n / 3 * 4 + 8), *to = text;
    if (text == NULL) return NULL;
    for (size_t i = 0; i < n; i += 3) {
        const unsigned left = (unsigned)(n - i), word = (unsigned)bytes[i] << 16 | (left > 1 ? (unsigned)bytes[i + 1] << 8 : 0u) |
            (left > 2 ? bytes[i + 2] : 0u);
        *to++ = digits[word >> 18];
        *to++ = digits[word >> 12 & 63];
        *to++ = left > 1 ? digits[word >> 6 & 63] : '=';
        *to++ = left > 2 ? digits[word & 63] : '=';
    }
    json_t *made = json_stringn(text, (size_t)(to - text));
    free(text);
    return made;
}

// Little-endian, as typed arrays are wherever a browser runs.
static void put_word(unsigned char *to, uint64_t word, int bytes) {
    for (int i = 0; i < bytes; i++) to[i] = (unsigned char)(word >> 8 * i);
}

// Counters exactly, measurements to seven digits: a pixel is coarser.
static bool fits_float(double x) {
    const double near = (double)(float)x;
    return x == near || (x != rint(x) && fabs(x - near) <= 1e-6 * fabs(x));
}

json_t *page_numbers(const double *x, size_t n) {
    bool small = true;
    for (size_t i = 0; i < n && small; i++) small = fits_float(x[i]);
    const int width = small ? 4 : 8;
    unsigned char *bytes = calloc(n + 1, 8);
    if (bytes == NULL) return NULL;
    for (size_t i = 0; i < n; i++) {
        const float near = (float)x[i];
        uint32_t half;
        uint64_t word;
        memcpy(&half, &near, sizeof half);
        memcpy(&word, &x[i], sizeof word);
        put_word(bytes + i * (size_t)width, small ? half : word, width);
    }
    json_t *packed = json_pack("{s:o}", small ? "f4" : "f8", base64(bytes, n * (size_t)width));
    free(bytes);
    return packed;
}

json_t *page_bytes(const uint8_t *bytes, size_t n) { return json_pack("{s:o}", "u1", base64(bytes, n)); }
