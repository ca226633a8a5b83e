// SPDX-License-Identifier: Apache-2.0
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { PATH_SHOWN = 100, WRITE_BYTES = 1 << 16 };    // a sentence has 251 characters

const char *file_shown(const char *path) {
    const size_t length = strlen(path);
    return length > PATH_SHOWN ? path + length - PATH_SHOWN : path;
}

// Failure of a step on a file, with the system's reason.
static heed_status fail(heed_error *error, const char *step, const char *path) {
    return error_set(error, HEED_INVALID, "cannot %s %s: %s", step, file_shown(path), strerror(errno));
}

bool file_exists(const char *path) {
    struct stat s;
    return lstat(path, &s) == 0;
}

bool file_is_folder(const char *path) {
    struct stat s;
    return stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}

char *file_join(const char *folder, const char *name) {
    const size_t a = strlen(folder), b = strlen(name);
    char *path = malloc(a + b + 2);
    if (path == NULL) return NULL;
    memcpy(path, folder, a);
    path[a] = '/';
    memcpy(path + a + 1, name, b + 1);
    return path;
}

// Opens a regular file; anything else (a folder, a pipe that would block) is an error.
static heed_status open_regular(int *descriptor, size_t *length, const char *path, heed_error *error) {
    struct stat s;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return fail(error, "open", path);
    if (fstat(fd, &s) != 0) {
        const heed_status status = fail(error, "read", path);
        close(fd);
        return status;
    }
    if (!S_ISREG(s.st_mode)) {
        close(fd);
        return error_set(error, HEED_INVALID, "%s is %s, not a file", file_shown(path), S_ISDIR(s.st_mode) ? "a folder" :
                         "a device");
    }
    *descriptor = fd;
    *length = (size_t)s.st_size;
    return HEED_OK;
}

heed_status file_map_open(file_map *map, const char *path, heed_error *error) {
    *map = (file_map){0};
    int fd = -1;
    size_t length = 0;
    const heed_status status = open_regular(&fd, &length, path, error);
    if (status != HEED_OK) return status;
    void *bytes = NULL;
    if (length > 0) {    // mmap refuses a length of 0
        bytes = mmap(NULL, length, PROT_READ, MAP_PRIVATE, fd, 0);
        if (bytes == MAP_FAILED) {
            fail(error, "map", path);
            close(fd);
            return HEED_INVALID;
        }
    }
    close(fd);
    *map = (file_map){bytes, length};
    return HEED_OK;
}

void file_map_close(file_map *map) {
    if (map->bytes != NULL) munmap((void *)(uintptr_t)map->bytes, map->length);
    *map = (file_map){0};
}

heed_status file_read(char **bytes, size_t *length, const char *path, size_t most, heed_error *error) {
    int fd = -1;
    size_t expected = 0;
    *bytes = NULL;
    heed_status status = open_regular(&fd, &expected, path, error);
    if (status != HEED_OK) return status;
    char *text = NULL;
    size_t n = 0;
    if (expected > most)
        status = error_set(error, HEED_INVALID, "%s has %zu bytes; at most %zu are allowed", file_shown(path), expected, most);
    else if ((text = malloc(expected + 1)) == NULL)
        status = error_set(error, HEED_NO_MEMORY, "no memory for the %zu bytes of %s", expected, file_shown(path));
    while (status == HEED_OK && n < expected) {
        const ssize_t got = read(fd, text + n, expected - n);
        if (got == 0) break;    // shrunk meanwhile: what is there is the file
        if (got > 0) n += (size_t)got;
        else if (errno != EINTR) status = fail(error, "read", path);
    }
    close(fd);
    if (status != HEED_OK) {
        free(text);
        return status;
    }
    text[n] = 0;
    *bytes = text;
    *length = n;
    return HEED_OK;
}

uint32_t file_checksum_of(const void *bytes, size_t n) { return (uint32_t)crc32_z(0, bytes, n); }

heed_status file_checksum(const char *path, uint32_t *checksum, heed_error *error) {
    enum { PIECE = 1 << 20 };    // not mapped: the pages of a large checkpoint would count as memory of this process
    int fd = -1;
    size_t length = 0;
    heed_status status = open_regular(&fd, &length, path, error);
    if (status != HEED_OK) return status;
    unsigned char *piece = malloc(PIECE);
    if (piece == NULL) status = error_set(error, HEED_NO_MEMORY, "no memory to read %s", file_shown(path));
    uint32_t sum = file_checksum_of(NULL, 0);
    for (ssize_t got = 1; status == HEED_OK && got != 0;) {
        got = read(fd, piece, PIECE);
        if (got > 0) sum = (uint32_t)crc32_z(sum, piece, (size_t)got);
        else if (got < 0 && errno != EINTR) status = fail(error, "read", path);
    }
    free(piece);
    close(fd);
    *checksum = sum;
    return status;
}

struct file_writer {
    int fd;
    bool failed;
    size_t held;
    char *path;
    unsigned char buffer[WRITE_BYTES];
};

heed_status file_create(file_writer **created, const char *path, heed_error *error) {
    *created = NULL;
    file_writer *w = malloc(sizeof *w);
    char *name = strdup(path);
    if (w == NULL || name == NULL) {
        free(w);
        free(name);
        return error_set(error, HEED_NO_MEMORY, "no memory to write %s", file_shown(path));
    }
    w->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (w->fd < 0) {
        fail(error, "create", path);
        free(w);
        free(name);
        return HEED_INVALID;
    }
    w->failed = false;
    w->held = 0;
    w->path = name;
    *created = w;
    return HEED_OK;
}

static heed_status write_out(file_writer *w, const unsigned char *bytes, size_t n, heed_error *error) {
    while (n > 0) {
        const ssize_t put = write(w->fd, bytes, n);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) {
            if (put == 0) errno = EIO;
            w->failed = true;
            return fail(error, "write", w->path);
        }
        bytes += put;
        n -= (size_t)put;
    }
    return HEED_OK;
}

heed_status file_write(file_writer *w, const void *bytes, size_t n, heed_error *error) {
    if (w->failed) return error_set(error, HEED_INVALID, "cannot write %s: an earlier write failed", file_shown(w->path));
    if (n == 0) return HEED_OK;
    if (n > WRITE_BYTES - w->held) {
        const heed_status status = write_out(w, w->buffer, w->held, error);
        if (status != HEED_OK) return status;
        w->held = 0;
    }
    if (n >= WRITE_BYTES) return write_out(w, bytes, n, error);
    memcpy(w->buffer + w->held, bytes, n);
    w->held += n;
    return HEED_OK;
}

// A device such as /dev/null cannot be synced (EINVAL); for a file any failure of fsync is a failure to keep it.
heed_status file_finish(file_writer *w, heed_error *error) {
    heed_status status = w->failed ? file_write(w, "", 0, error) : write_out(w, w->buffer, w->held, error);
    if (status == HEED_OK && fsync(w->fd) != 0 && errno != EINVAL) status = fail(error, "flush", w->path);
    if (close(w->fd) != 0 && status == HEED_OK && errno != EINTR) status = fail(error, "close", w->path);
    free(w->path);
    free(w);
    return status;
}

void file_abandon(file_writer *w) {
    if (w == NULL) return;
    close(w->fd);
    free(w->path);
    free(w);
}

heed_status file_put(const char *path, const void *bytes, size_t n, heed_error *error) {
    file_writer *w;
    heed_status status = file_create(&w, path, error);
    if (status != HEED_OK) return status;
    status = file_write(w, bytes, n, error);
    if (status == HEED_OK) return file_finish(w, error);
    file_abandon(w);
    return status;
}

// The folder's entry must reach the disk too, else a crash may undo the rename.
heed_status file_sync_parent(const char *path, heed_error *error) {
    const char *slash = strrchr(path, '/');
    char *parent = slash == NULL ? strdup(".") : strndup(path, slash == path ? 1 : (size_t)(slash - path));
    if (parent == NULL) return error_set(error, HEED_NO_MEMORY, "no memory to write %s", file_shown(path));
    const int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(parent);
    if (fd < 0) return fail(error, "open the folder of", path);
    const bool synced = fsync(fd) == 0 || errno == EINVAL;
    close(fd);
    return synced ? HEED_OK : fail(error, "flush the folder of", path);
}

heed_status file_replace(const char *path, const void *bytes, size_t n, heed_error *error) {
    const char *slash = strrchr(path, '/'), *name = slash == NULL ? path : slash + 1;
    const size_t room = strlen(path) + 48;
    char *temporary = malloc(room);
    if (temporary == NULL) return error_set(error, HEED_NO_MEMORY, "no memory to write %s", file_shown(path));
    snprintf(temporary, room, "%.*s" FILE_DRAFT "%ld-%s", (int)(name - path), path, (long)getpid(), name);
    heed_status status = file_put(temporary, bytes, n, error);
    if (status == HEED_OK && rename(temporary, path) != 0) status = fail(error, "replace", path);
    if (status != HEED_OK) unlink(temporary);
    free(temporary);
    return status == HEED_OK ? file_sync_parent(path, error) : status;
}
