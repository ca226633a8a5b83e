// SPDX-License-Identifier: Apache-2.0
// The directory at the file's end is what counts. Outline: find its end record (zip64 where it says so); read an entry a member;
// hold it against the member's own header and, where there is one, the descriptor after its data; then no two may overlap, so that
// a
// small file cannot name the same bytes a thousand times. What a member unpacks to is bounded before memory is taken: deflate
// cannot do better than 1032 to 1.
#include "io/zip.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { LOCAL = 0x04034b50, ENTRY = 0x02014b50, END = 0x06054b50, END64 = 0x06064b50, LOCATOR = 0x07064b50,
      DESCRIPTOR = 0x08074b50 };
enum { LOCAL_BYTES = 30, ENTRY_BYTES = 46, END_BYTES = 22, END64_BYTES = 56, LOCATOR_BYTES = 20, COMMENT_MOST = 65535 };
enum { ENCRYPTED = 1 << 0, DESCRIBED = 1 << 3, DEFLATE = 8, DEFLATE_MOST = 1032 };

static uint32_t u16(const unsigned char *at) { return (uint32_t)at[0] | (uint32_t)at[1] << 8; }
static uint32_t u32(const unsigned char *at) { return u16(at) | u16(at + 2) << 16; }
static uint64_t u64(const unsigned char *at) { return u32(at) | (uint64_t)u32(at + 4) << 32; }

static heed_status fail(const zip_archive *z, uint64_t at, const char *what, heed_error *error) {
    return error_set(error, HEED_INVALID, "%s: at byte %llu: %s", file_shown(z->path), (unsigned long long)at, what);
}

// ---- The end record -----------------------------------------------------------------------------------------------

typedef struct { uint64_t at, bytes, members, end; } directory;    // end: where the first end record begins

static heed_status find_end64(const zip_archive *z, uint64_t end, directory *d, heed_error *error) {
    if (end < LOCATOR_BYTES || u32(z->map.bytes + end - LOCATOR_BYTES) != LOCATOR)
        return fail(z, end, "the end record says zip64, but no locator of one precedes it", error);
    const uint64_t at = u64(z->map.bytes + end - LOCATOR_BYTES + 8);
    if (at > end - LOCATOR_BYTES || end - LOCATOR_BYTES - at < END64_BYTES || u32(z->map.bytes + at) != END64)
        return fail(z, end - LOCATOR_BYTES, "the zip64 locator leads to no end record", error);
    const unsigned char *e = z->map.bytes + at;
    if (u64(e + 4) != end - LOCATOR_BYTES - at - 12)
        return fail(z, at, "the zip64 end record has another length than it says", error);
    if (u32(e + 16) != 0 || u32(e + 20) != 0 || u64(e + 24) != u64(e + 32))
        return fail(z, at, "archives in parts are not read", error);
    *d = (directory){.members = u64(e + 32), .bytes = u64(e + 40), .at = u64(e + 48), .end = at};
    return HEED_OK;
}

static heed_status find_directory(const zip_archive *z, directory *d, heed_error *error) {
    const size_t n = z->map.length;
    if (n < END_BYTES) return fail(z, 0, "the file is too short for a zip archive, which a .npz file is", error);
    size_t end = n - END_BYTES;
    const size_t lowest = end > COMMENT_MOST ? end - COMMENT_MOST : 0;
    while (u32(z->map.bytes + end) != END || u16(z->map.bytes + end + 20) != n - END_BYTES - end)
        if (end-- == lowest)
            return fail(z, n, "no end record of a zip archive, which a .npz file is: cut short, or another kind of file", error);
    const unsigned char *e = z->map.bytes + end;
    *d = (directory){.members = u16(e + 10), .bytes = u32(e + 12), .at = u32(e + 16), .end = end};
    if (u16(e + 4) != 0 || u16(e + 6) != 0 || u16(e + 8) != u16(e + 10))
        return fail(z, end, "archives in parts are not read", error);
    const bool located = end >= LOCATOR_BYTES && u32(z->map.bytes + end - LOCATOR_BYTES) == LOCATOR;    // some write both
    if (located || d->members == 0xffff || d->bytes == 0xffffffff || d->at == 0xffffffff) {
        const heed_status status = find_end64(z, end, d, error);
        if (status != HEED_OK) return status;
    }
    if (d->at > d->end || d->bytes != d->end - d->at)
        return fail(z, end, "the directory does not end where its end record begins", error);
    if (d->members > ZIP_MEMBERS_MOST) return fail(z, end, "more than 4096 members", error);
    return HEED_OK;
}

// ---- Entries ------------------------------------------------------------------------------------------------------

// Fields of 32 bits that are all ones stand for those of the zip64 extra field, in this order.
typedef struct { uint64_t size, packed, at; } sizes;

static bool read_extra64(const unsigned char *extra, size_t n, sizes *s) {
    uint64_t *const field[] = {&s->size, &s->packed, &s->at};
    while (n >= 4) {
        const size_t length = u16(extra + 2);
        if (length > n - 4) return false;
        if (u16(extra) == 1) {
            size_t used = 0;
            for (int i = 0; i < 3; i++) {
                if (*field[i] != 0xffffffff) continue;
                if (length - used < 8) return false;
                *field[i] = u64(extra + 4 + used);
                used += 8;
            }
            return true;
        }
        extra += 4 + length;
        n -= 4 + length;
    }
    return s->size != 0xffffffff && s->packed != 0xffffffff && s->at != 0xffffffff;
}

// crc, packed and unpacked size after the data; with a signature or without, in 32 or 64 bits.
static bool has_descriptor(const zip_archive *z, const zip_member *m, uint64_t at, uint64_t end) {
    if (end - at >= 4 && u32(z->map.bytes + at) == DESCRIPTOR && m->checksum != DESCRIPTOR) at += 4;
    const unsigned char *d = z->map.bytes + at;
    if (end - at >= 12 && u32(d) == m->checksum && u32(d + 4) == m->packed && u32(d + 8) == m->size) return true;
    return end - at >= 20 && u32(d) == m->checksum && u64(d + 4) == m->packed && u64(d + 12) == m->size;
}

// The member's own header must say what the directory says.
static heed_status read_local(const zip_archive *z, zip_member *m, uint32_t flags, uint64_t end, heed_error *error) {
    if (m->at > end || end - m->at < LOCAL_BYTES || u32(z->map.bytes + m->at) != LOCAL)
        return fail(z, m->at, "no header of a member, where the directory has one", error);
    const unsigned char *h = z->map.bytes + m->at;
    const size_t name = u16(h + 26), extra = u16(h + 28);
    uint64_t left = end - m->at - LOCAL_BYTES;
    if (name + extra > left || m->packed > left - name - extra)
        return fail(z, m->at, "the member reaches past the directory", error);
    if (name != strlen(m->name) || memcmp(h + LOCAL_BYTES, m->name, name) != 0 || (u16(h + 6) & ~0x800u) != (flags & ~0x800u) ||
        (u16(h + 8) == DEFLATE) != m->deflated || (!m->deflated && u16(h + 8) != 0))
        return fail(z, m->at, "the member's header and the directory disagree on name or kind", error);
    m->data = h + LOCAL_BYTES + name + extra;
    sizes s = {.size = u32(h + 22), .packed = u32(h + 18)};
    if (flags & DESCRIBED) {
        const uint64_t after = (uint64_t)(m->data - z->map.bytes) + m->packed;
        if (!has_descriptor(z, m, after, end))
            return fail(z, after, "the descriptor after a member disagrees with the directory", error);
        return HEED_OK;
    }
    if (!read_extra64(h + LOCAL_BYTES + name, extra, &s)) return fail(z, m->at, "a damaged zip64 field", error);
    if (s.size != m->size || s.packed != m->packed || u32(h + 14) != m->checksum)
        return fail(z, m->at, "the member's header and the directory disagree on sizes or checksum", error);
    return HEED_OK;
}

static heed_status read_entry(zip_archive *z, const directory *d, uint64_t *at, heed_error *error) {
    if (d->end - *at < ENTRY_BYTES || u32(z->map.bytes + *at) != ENTRY) return fail(z, *at, "no entry of the directory", error);
    const unsigned char *e = z->map.bytes + *at;
    const size_t name = u16(e + 28), extra = u16(e + 30), rest = name + extra + u16(e + 32);
    if (rest > d->end - *at - ENTRY_BYTES) return fail(z, *at, "an entry reaches past the directory", error);
    if (name == 0 || memchr(e + ENTRY_BYTES, 0, name) != NULL)
        return fail(z, *at, "a member's name is empty or holds a zero byte", error);
    const uint32_t flags = u16(e + 8), method = u16(e + 10);
    if (flags & ENCRYPTED) return fail(z, *at, "an encrypted member", error);
    if (method != 0 && method != DEFLATE)
        return error_set(error, HEED_REFUSED, "%s: a member is packed by method %u; stored and deflated are read",
                         file_shown(z->path),
                         method);
    sizes s = {.size = u32(e + 24), .packed = u32(e + 20), .at = u32(e + 42)};
    if (!read_extra64(e + ENTRY_BYTES + name, extra, &s)) return fail(z, *at, "a damaged zip64 field", error);
    zip_member *m = &z->member[z->n];
    *m = (zip_member){.deflated = method == DEFLATE, .checksum = u32(e + 16), .packed = s.packed, .size = s.size, .at = s.at};
    if (!m->deflated && m->packed != m->size) return fail(z, *at, "a stored member whose two sizes differ", error);
    if (m->deflated && m->size / DEFLATE_MOST > m->packed)
        return fail(z, *at, "a member unpacks to more than 1032 times its bytes, which deflate cannot do", error);
    m->name = strndup((const char *)e + ENTRY_BYTES, name);
    z->n++;
    if (m->name == NULL) return error_set(error, HEED_NO_MEMORY, "no memory to read %s", file_shown(z->path));
    *at += ENTRY_BYTES + rest;
    return read_local(z, m, flags, d->at, error);
}

static int by_place(const void *a, const void *b) {
    const zip_member *x = a, *y = b;
    return x->at < y->at ? -1 : x->at > y->at;
}

static int by_name(const void *a, const void *b) {
    return strcmp((*(const zip_member *const *)a)->name, (*(const zip_member *const *)b)->name);
}

static heed_status check_apart(const zip_archive *z, heed_error *error) {
    const zip_member **named = calloc((size_t)z->n + 1, sizeof *named);
    if (named == NULL) return error_set(error, HEED_NO_MEMORY, "no memory to read %s", file_shown(z->path));
    heed_status status = HEED_OK;
    for (int64_t i = 0; i < z->n; i++) {
        named[i] = &z->member[i];
        if (i > 0 && (uint64_t)(z->member[i - 1].data - z->map.bytes) + z->member[i - 1].packed > z->member[i].at)
            status = fail(z, z->member[i].at, "a member overlaps the one before", error);
    }
    qsort(named, (size_t)z->n, sizeof *named, by_name);
    for (int64_t i = 1; status == HEED_OK && i < z->n; i++)
        if (strcmp(named[i - 1]->name, named[i]->name) == 0)
            status = error_set(error, HEED_INVALID, "%s: two members are named %.60s", file_shown(z->path), named[i]->name);
    free(named);
    return status;
}

heed_status zip_open(zip_archive *z, const char *path, heed_error *error) {
    *z = (zip_archive){.path = path};
    directory d = {.at = 0};
    heed_status status = file_map_open(&z->map, path, error);
    if (status == HEED_OK && z->map.length > 0 && z->map.bytes[0] == 0x80)    // what every pickle of today begins with
        return error_set(error, HEED_REFUSED, "%s is a Python pickle, which runs as a program: heed never reads one",
                         file_shown(path));
    if (status == HEED_OK) status = find_directory(z, &d, error);
    if (status != HEED_OK) return status;
    z->member = calloc((size_t)d.members + 1, sizeof *z->member);
    if (z->member == NULL) return error_set(error, HEED_NO_MEMORY, "no memory to read %s", file_shown(path));
    uint64_t at = d.at;
    for (uint64_t i = 0; status == HEED_OK && i < d.members; i++) status = read_entry(z, &d, &at, error);
    if (status == HEED_OK && at != d.end) status = fail(z, at, "bytes of the directory belong to no entry", error);
    if (status != HEED_OK) return status;
    qsort(z->member, (size_t)z->n, sizeof *z->member, by_place);
    return check_apart(z, error);
}

void zip_close(zip_archive *z) {
    for (int64_t i = 0; i < z->n; i++) free(z->member[i].name);
    free(z->member);
    file_map_close(&z->map);
    *z = (zip_archive){.n = 0};
}

// ---- Unpacking ----------------------------------------------------------------------------------------------------

// The whole of `from` must give exactly `size` bytes. zlib counts in 32 bits: in pieces.
static bool inflate_all(const zip_member *m, unsigned char *to) {
    enum { PIECE = 1 << 30 };
    z_stream s = {.next_in = (Bytef *)(uintptr_t)m->data, .next_out = to};
    if (inflateInit2(&s, -MAX_WBITS) != Z_OK) return false;
    uint64_t in = m->packed, out = m->size;
    int code = Z_OK;
    while (code == Z_OK) {
        const uInt give = (uInt)(in < PIECE ? in : PIECE), room = (uInt)(out < PIECE ? out : PIECE);
        s.avail_in = give;
        s.avail_out = room;
        code = inflate(&s, Z_NO_FLUSH);
        in -= give - s.avail_in;
        out -= room - s.avail_out;
    }
    inflateEnd(&s);
    return code == Z_STREAM_END && in == 0 && out == 0;
}

heed_status zip_unpack(const zip_archive *z, const zip_member *m, const unsigned char **bytes, unsigned char **owned,
                       heed_error *error) {
    *owned = NULL;
    *bytes = m->data;
    if (m->deflated) {
        *bytes = *owned = malloc(m->size > 0 ? m->size : 1);
        if (*owned == NULL)
            return error_set(error, HEED_NO_MEMORY, "no memory for the %llu bytes of %.60s in %s", (unsigned long long)m->size,
                             m->name,
                             file_shown(z->path));
    }
    const bool whole = !m->deflated || inflate_all(m, *owned);
    if (whole && file_checksum_of(*bytes, m->size) == m->checksum) return HEED_OK;
    free(*owned);
    *owned = NULL;
    return error_set(error, HEED_INVALID, "%s: %.60s is damaged: %s", file_shown(z->path), m->name,
                     whole ? "its checksum is another" : "it does not unpack to what the directory says");
}
