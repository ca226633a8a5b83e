// SPDX-License-Identifier: Apache-2.0
// The header is a Python dictionary as text; it is read by a grammar of its own, never evaluated.
#include "io/npy.h"

#include "base/memory.h"
#include "io/file.h"

#include <stdlib.h>
#include <string.h>

enum { HEADER_MOST = 1 << 16 };

typedef struct { const char *at, *end; npy *a; unsigned said; const char *wrong; bool refused; } header;

enum { SAID_DESCR = 1, SAID_ORDER = 2, SAID_SHAPE = 4, SAID_ALL = 7 };

static bool stop(header *h, const char *sentence) {
    if (h->wrong == NULL) h->wrong = sentence;
    return false;
}

static bool refuse(header *h, const char *sentence) {
    h->refused = true;
    return stop(h, sentence);
}

static void skip_blanks(header *h) {
    while (h->at < h->end && (*h->at == ' ' || *h->at == '\n')) h->at++;
}

static bool take(header *h, char c) {
    skip_blanks(h);
    if (h->at == h->end || *h->at != c) return false;
    h->at++;
    return true;
}

static bool take_word(header *h, const char *word) {
    const size_t n = strlen(word);
    skip_blanks(h);
    if ((size_t)(h->end - h->at) < n || memcmp(h->at, word, n) != 0) return false;
    h->at += n;
    return true;
}

// 'text' or "text" without escapes.
static bool take_text(header *h, char *text, size_t bytes) {
    skip_blanks(h);
    if (h->at == h->end || (*h->at != '\'' && *h->at != '"')) return false;
    const char quote = *h->at++;
    size_t n = 0;
    while (h->at < h->end && *h->at != quote && n + 1 < bytes) text[n++] = *h->at++;
    text[n] = 0;
    return take(h, quote);
}

static bool take_number(header *h, int64_t *number) {
    skip_blanks(h);
    const char *begin = h->at;
    *number = 0;
    for (; h->at < h->end && *h->at >= '0' && *h->at <= '9'; h->at++)
        if (!int64_mul(*number, 10, number) || __builtin_add_overflow(*number, *h->at - '0', number)) return false;
    return h->at > begin;
}

static bool width_is(int64_t width, int64_t least, int64_t most) {
    return width >= least && width <= most && (width & (width - 1)) == 0;
}

// "<f4"
static bool read_descr(header *h) {
    char text[24];
    if (take(h, '[')) return refuse(h, "a structured array; plain ones are read");
    if (!take_text(h, text, sizeof text)) return stop(h, "descr must be a text such as '<f4'");
    if (strchr("<>|=", text[0]) == NULL || text[0] == 0 || text[1] == 0) return stop(h, "descr must look like '<f4'");
    npy *a = h->a;
    header number = {.at = text + 2, .end = text + strlen(text)};
    a->kind = text[1];
    if (a->kind == 'O') return refuse(h, "Python objects, which are a pickle and run as a program: heed never reads one");
    if (!take_number(&number, &a->width) || number.at != number.end) return stop(h, "descr must look like '<f4'");
    switch (a->kind) {
    case 'f': if (!width_is(a->width, 2, 8)) return refuse(h, "floats of another width than 2, 4 or 8 bytes"); break;
    case 'i': case 'u': if (!width_is(a->width, 1, 8)) return stop(h, "integers of another width than 1, 2, 4 or 8 bytes"); break;
    case 'b': if (a->width != 1) return stop(h, "bool must have one byte"); break;
    case 'V': if (a->width != 2) return refuse(h, "raw elements; only those of two bytes (bfloat16) are read"); break;
    case 'S': break;
    case 'U': if (!int64_mul(a->width, 4, &a->width)) return stop(h, "texts of an impossible width"); break;
    default: return refuse(h, "elements that are no numbers or texts (complex, dates, ..)");
    }
    const uint16_t one = 1;
    const bool little = *(const unsigned char *)&one == 1;
    a->swapped = (a->kind == 'U' || (a->kind != 'S' && a->width > 1)) && ((text[0] == '>' && little) || (text[0] == '<' &&
                                                                                                         !little));
    return true;
}

static bool read_shape(header *h) {
    npy *a = h->a;
    a->elements = 1;
    if (!take(h, '(')) return stop(h, "shape must be a tuple");
    for (bool first = true; !take(h, ')'); first = false) {
        if (!first && !take(h, ',')) return stop(h, "shape must have commas between its numbers");
        if (!first && take(h, ')')) return true;
        if (a->dims == TENSOR_DIMS) return refuse(h, "more than 8 dimensions");
        if (!take_number(h, &a->shape[a->dims])) return stop(h, "shape must hold whole numbers");
        if (!int64_mul(a->elements, a->shape[a->dims++], &a->elements)) return stop(h, "the product of shape overflows");
    }
    return true;
}

static bool read_pair(header *h) {
    char key[24];
    if (!take_text(h, key, sizeof key) || !take(h, ':')) return stop(h, "the header must be a dictionary");
    const unsigned said = strcmp(key, "descr") == 0 ? SAID_DESCR : strcmp(key, "fortran_order") == 0 ? SAID_ORDER
                        : strcmp(key, "shape") == 0 ? SAID_SHAPE : 0;
    if (said == 0 || h->said & said) return stop(h, "the header must have descr, fortran_order and shape, each once");
    h->said |= said;
    if (said == SAID_DESCR) return read_descr(h);
    if (said == SAID_SHAPE) return read_shape(h);
    h->a->fortran = take_word(h, "True");
    return h->a->fortran || take_word(h, "False") || stop(h, "fortran_order must be True or False");
}

static bool read_dictionary(header *h) {
    if (!take(h, '{')) return stop(h, "the header must be a dictionary");
    for (bool first = true; !take(h, '}'); first = false) {
        if (!first && !take(h, ',')) return stop(h, "the header must have commas between its fields");
        if (!first && take(h, '}')) break;
        if (!read_pair(h)) return false;
    }
    skip_blanks(h);
    if (h->at != h->end) return stop(h, "something follows the header's dictionary");
    return h->said == SAID_ALL || stop(h, "the header must have descr, fortran_order and shape");
}

// Where the header's text begins and how long it is; false with a sentence.
static bool find_header(header *h, const unsigned char *bytes, size_t n) {
    if (n < 10 || memcmp(bytes, "\x93NUMPY", 6) != 0) return stop(h, "no array of NumPy: the magic bytes are missing");
    const size_t wide = bytes[6] == 1 ? 2 : 4;
    if (bytes[6] < 1 || bytes[6] > 3 || bytes[7] != 0) return refuse(h, "a version of the format other than 1.0 to 3.0");
    if (n < 8 + wide) return stop(h, "cut short in the header");
    size_t length = 0;
    for (size_t i = wide; i-- > 0;) length = length << 8 | bytes[8 + i];
    if (length > HEADER_MOST || length > n - 8 - wide) return stop(h, "the header reaches past the array's end");
    h->at = (const char *)bytes + 8 + wide;
    h->end = h->at + length;
    return true;
}

heed_status npy_parse(npy *a, const unsigned char *bytes, size_t n, const char *file, const char *name, heed_error *error) {
    *a = (npy){.kind = 0};
    header h = {.a = a};
    int64_t needed = 0;
    bool good = find_header(&h, bytes, n) && read_dictionary(&h);
    if (good) {
        a->data = (const unsigned char *)h.end;
        const int64_t room = (int64_t)(bytes + n - a->data);
        if (!int64_mul(a->elements, a->width, &needed) || needed != room)
            return error_set(error, HEED_INVALID, "%s: array %.60s holds %lld bytes, but its shape and type need %lld elements of "
                             "%lld",
                             file_shown(file), name, (long long)room, (long long)a->elements, (long long)a->width);
        return HEED_OK;
    }
    return error_set(error, h.refused ? HEED_REFUSED : HEED_INVALID, "%s: array %.60s: %s", file_shown(file), name, h.wrong);
}

// ---- As a plain array ---------------------------------------------------------------------------------------------

static tensor_type type_of(const npy *a) {
    static const tensor_type floats[] = {TENSOR_F16, TENSOR_F32, TENSOR_F64}, whole[] = {TENSOR_I8, TENSOR_I16, TENSOR_I32,
                                                                                         TENSOR_I64};
    static const tensor_type natural[] = {TENSOR_U8, TENSOR_U16, TENSOR_U32, TENSOR_U64};
    const int log2 = a->width == 1 ? 0 : a->width == 2 ? 1 : a->width == 4 ? 2 : 3;
    switch (a->kind) {
    case 'f': return floats[log2 - 1];
    case 'i': return whole[log2];
    case 'u': return natural[log2];
    case 'b': return TENSOR_BOOL;
    case 'V': return TENSOR_U16;
    case 'U': return TENSOR_U32;
    default: return TENSOR_U8;
    }
}

static void copy_element(const npy *a, const unsigned char *from, unsigned char *to, int64_t unit) {
    if (!a->swapped) memcpy(to, from, (size_t)a->width);
    for (int64_t i = 0; a->swapped && i < a->width; i++) to[i] = from[i / unit * unit + unit - 1 - i % unit];
}

// In C order and this machine's byte order.
static void copy_plain(const npy *a, unsigned char *to) {
    const int64_t unit = a->kind == 'U' ? 4 : a->width;
    int64_t index[TENSOR_DIMS] = {0}, stride[TENSOR_DIMS], step = 1;
    for (int i = 0; i < a->dims; i++) {
        const int axis = a->fortran ? i : a->dims - 1 - i;
        stride[axis] = step;
        step *= a->shape[axis];
    }
    for (int64_t n = 0; n < a->elements; n++, to += a->width) {
        int64_t from = 0;
        for (int i = 0; i < a->dims; i++) from += index[i] * stride[i];
        copy_element(a, a->data + from * a->width, to, unit);
        for (int i = a->dims; i-- > 0 && ++index[i] == a->shape[i];) index[i] = 0;
    }
}

static size_t put_utf8(uint32_t c, unsigned char *to) {
    if (c < 0x80) return to[0] = (unsigned char)c, 1;
    if (c < 0x800) return to[0] = (unsigned char)(0xc0 | c >> 6), to[1] = (unsigned char)(0x80 | (c & 63)), 2;
    to[0] = '?';    // no word of heed's needs more
    return 1;
}

// One string becomes its bytes without the zeros that fill it up.
static void view_text(const npy *a, tensor_view *v, unsigned char *bytes) {
    size_t n = (size_t)a->width;
    if (a->kind == 'U') {
        n = 0;
        for (int64_t i = 0; i < a->width / 4; i++) {
            uint32_t c;
            memcpy(&c, bytes + 4 * i, 4);
            n += put_utf8(c, bytes + n);    // never ahead of what is read
        }
    }
    while (n > 0 && bytes[n - 1] == 0) n--;
    v->type = TENSOR_U8;
    v->dims = 1;
    v->elements = v->shape[0] = (int64_t)n;
    v->bytes = n;
}

heed_status npy_view(const npy *a, tensor_view *v, void **owned, const char *file, heed_error *error) {
    const bool text = a->kind == 'S' || a->kind == 'U';
    if (text && a->elements != 1)
        return error_set(error, HEED_REFUSED, "%s: array %.60s holds %lld texts; one is read", file_shown(file), v->name,
                         (long long)a->elements);
    *owned = NULL;
    v->type = type_of(a);
    v->dims = a->dims;
    v->elements = a->elements;
    v->bytes = (size_t)(a->elements * a->width);    // npy_parse has multiplied them
    v->data = a->data;
    memcpy(v->shape, a->shape, sizeof v->shape);
    if (!text && !a->swapped && (!a->fortran || a->dims < 2)) return HEED_OK;
    unsigned char *plain = *owned = malloc(v->bytes > 0 ? v->bytes : 1);
    if (plain == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for the %zu bytes of %.60s", v->bytes, v->name);
    copy_plain(a, plain);
    v->data = plain;
    if (text) view_text(a, v, plain);
    return HEED_OK;
}
