// SPDX-License-Identifier: Apache-2.0
#include "io/tfevents.h"

#include "base/text.h"
#include "io/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char file_start[] = "events.out.tfevents.";

struct tfevents {
    int fd;
    char *path;
    int64_t step;
    uint32_t crc_table[256];
    text_string out, summary, value;    // records to be written; the event's values so far; one of them
};

// ---- CRC-32C ----

static void crc_fill(uint32_t table[256]) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++) c = c & 1 ? c >> 1 ^ 0x82f63b78u : c >> 1;    // 0x1edc6f41, reflected
        table[i] = c;
    }
}

static uint32_t crc_of(const uint32_t table[256], const void *bytes, size_t n) {
    const unsigned char *p = bytes;
    uint32_t c = ~0u;
    for (size_t i = 0; i < n; i++) c = c >> 8 ^ table[(c ^ p[i]) & 255];
    return ~c;
}

uint32_t crc32c(const void *bytes, size_t n) {
    uint32_t table[256];
    crc_fill(table);
    return crc_of(table, bytes, n);
}

// ---- protocol buffers ----

typedef enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 } wire;

static void put_little(text_string *to, uint64_t x, int bytes) {
    char raw[8];
    for (int i = 0; i < bytes; i++) raw[i] = (char)(x >> 8 * i & 255);
    text_append(to, raw, (size_t)bytes);
}

static void put_varint(text_string *to, uint64_t x) {
    char raw[10];
    size_t n = 0;
    do {
        raw[n++] = (char)((x & 127) | (x > 127 ? 128 : 0));
        x >>= 7;
    } while (x > 0);
    text_append(to, raw, n);
}

static void put_key(text_string *to, int field, wire kind) { put_varint(to, (uint64_t)field << 3 | kind); }

static void put_int(text_string *to, int field, int64_t x) {
    put_key(to, field, WIRE_VARINT);
    put_varint(to, (uint64_t)x);
}

static void put_bytes(text_string *to, int field, const char *bytes, size_t n) {
    put_key(to, field, WIRE_BYTES);
    put_varint(to, n);
    if (n > 0) text_append(to, bytes, n);
}

static void put_double(text_string *to, int field, double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    put_key(to, field, WIRE_64);
    put_little(to, bits, 8);
}

static void put_float(text_string *to, int field, float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    put_key(to, field, WIRE_32);
    put_little(to, bits, 4);
}

// The fields that are written, by the names of their messages.
enum { EVENT_WALL_TIME = 1, EVENT_STEP = 2, EVENT_FILE_VERSION = 3, EVENT_SUMMARY = 5, EVENT_SESSION_LOG = 7 };
enum { SESSION_STATUS = 1, SESSION_START = 1, SUMMARY_VALUE = 1 };
enum { VALUE_TAG = 1, VALUE_SIMPLE = 2, VALUE_TENSOR = 8, VALUE_METADATA = 9, METADATA_PLUGIN = 1, PLUGIN_NAME = 1 };
enum { TENSOR_DTYPE = 1, TENSOR_SHAPE = 2, TENSOR_STRING = 8, SHAPE_DIM = 2, DIM_SIZE = 1, DT_STRING = 7 };

// ---- events ----

static double wall_time(void) {
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static uint32_t masked(const tfevents *e, const void *bytes, size_t n) {
    const uint32_t c = crc_of(e->crc_table, bytes, n);
    return (c >> 15 | c << 17) + 0xa282ead8u;
}

// One record: the event of this step with `body` as field `field`.
static void record(tfevents *e, int64_t step, int field, const char *body, size_t n) {
    text_string event = {0}, length = {0};
    put_double(&event, EVENT_WALL_TIME, wall_time());
    if (step != 0) put_int(&event, EVENT_STEP, step);
    put_bytes(&event, field, body, n);
    put_little(&length, event.length, 8);
    if (event.failed || length.failed) e->out.failed = true;
    else {
        text_append(&e->out, length.text, 8);
        put_little(&e->out, masked(e, length.text, 8), 4);
        text_append(&e->out, event.text, event.length);
        put_little(&e->out, masked(e, event.text, event.length), 4);
    }
    free(event.text);
    free(length.text);
}

void tfevents_begin(tfevents *e, int64_t step) {
    e->step = step;
    e->summary.length = 0;
}

static void end_value(tfevents *e) {
    if (e->value.failed) e->out.failed = true;
    else put_bytes(&e->summary, SUMMARY_VALUE, e->value.text, e->value.length);
}

void tfevents_number(tfevents *e, const char *tag, double value) {
    e->value.length = 0;
    put_bytes(&e->value, VALUE_TAG, tag, strlen(tag));
    put_float(&e->value, VALUE_SIMPLE, (float)value);
    end_value(e);
}

void tfevents_text(tfevents *e, const char *tag, const char *text) {
    static const char plugin[] = {PLUGIN_NAME << 3 | WIRE_BYTES, 4, 't', 'e', 'x', 't'};
    static const char one[] = {DIM_SIZE << 3 | WIRE_VARINT, 1};    // the shape is [1]
    text_string inner = {0}, tensor = {0};
    e->value.length = 0;
    put_bytes(&e->value, VALUE_TAG, tag, strlen(tag));
    put_bytes(&inner, METADATA_PLUGIN, plugin, sizeof plugin);
    put_bytes(&e->value, VALUE_METADATA, inner.text, inner.length);
    inner.length = 0;
    put_bytes(&inner, SHAPE_DIM, one, sizeof one);
    put_int(&tensor, TENSOR_DTYPE, DT_STRING);
    put_bytes(&tensor, TENSOR_SHAPE, inner.text, inner.length);
    put_bytes(&tensor, TENSOR_STRING, text, strlen(text));
    put_bytes(&e->value, VALUE_TENSOR, tensor.text, tensor.length);
    if (inner.failed || tensor.failed) e->value.failed = true;
    end_value(e);
    free(inner.text);
    free(tensor.text);
}

void tfevents_end(tfevents *e) {
    if (e->summary.failed) e->out.failed = true;
    else if (e->summary.length > 0) record(e, e->step, EVENT_SUMMARY, e->summary.text, e->summary.length);
}

heed_status tfevents_flush(tfevents *e, heed_error *error) {
    if (e->out.failed) return error_set(error, HEED_NO_MEMORY, "no memory for %s", file_shown(e->path));
    for (size_t done = 0; done < e->out.length;) {
        const ssize_t written = write(e->fd, e->out.text + done, e->out.length - done);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0)
            return error_set(error, HEED_INVALID, "%s cannot be written: %s", file_shown(e->path),
                             written < 0 ? strerror(errno) : "the disk is full");
        done += (size_t)written;
    }
    e->out.length = 0;
    return HEED_OK;
}

// ---- the file ----

// TensorBoard reads a folder's files in the order of their names, which begin with a time: one later than all that are there.
static long long next_time(const char *folder) {
    long long next = (long long)time(NULL);
    DIR *open = opendir(folder);
    for (const struct dirent *entry; open != NULL && (entry = readdir(open)) != NULL;) {
        if (strncmp(entry->d_name, file_start, strlen(file_start)) != 0) continue;
        const long long there = strtoll(entry->d_name + strlen(file_start), NULL, 10);
        if (there >= next && there < 9999999999) next = there + 1;
    }
    if (open != NULL) closedir(open);
    return next;
}

heed_status tfevents_create(tfevents **created, const char *folder, int64_t first_step, heed_error *error) {
    static const char version[] = "brain.Event:2", start[] = {SESSION_STATUS << 3 | WIRE_VARINT, SESSION_START};
    char name[96];
    snprintf(name, sizeof name, "%s%010lld.heed.%ld", file_start, next_time(folder), (long)getpid());
    tfevents *e = calloc(1, sizeof *e);
    *created = e;
    if (e == NULL) return error_set(error, HEED_NO_MEMORY, "no memory for TensorBoard's events");
    e->path = file_join(folder, name);
    e->fd = e->path == NULL ? -1 : open(e->path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0666);
    heed_status status = HEED_OK;
    if (e->path == NULL) status = error_set(error, HEED_NO_MEMORY, "no memory for a path");
    else if (e->fd < 0) status = error_set(error, HEED_INVALID, "%s cannot be made: %s", file_shown(e->path), strerror(errno));
    if (status == HEED_OK) {
        crc_fill(e->crc_table);
        record(e, 0, EVENT_FILE_VERSION, version, sizeof version - 1);
        if (first_step >= 0) record(e, first_step, EVENT_SESSION_LOG, start, sizeof start);
        status = tfevents_flush(e, error);
    }
    if (status == HEED_OK) return HEED_OK;
    tfevents_close(e);
    *created = NULL;
    return status;
}

void tfevents_close(tfevents *e) {
    if (e == NULL) return;
    if (e->fd >= 0) close(e->fd);
    free(e->path);
    free(e->out.text);
    free(e->summary.text);
    free(e->value.text);
    free(e);
}
