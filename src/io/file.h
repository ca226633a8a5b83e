// SPDX-License-Identifier: Apache-2.0
// Files as wholes: mapped for reading, written with every step checked. A failure is HEED_INVALID with a sentence that
// names the file and the system's reason.
#pragma once

#include "base/error.h"

// The end of a long path, so that a sentence has room for what it says about the file.
const char *file_shown(const char *path);

// A regular file as read-only memory. It must not be truncated by others meanwhile (the system would end the process).
typedef struct { const unsigned char *bytes; size_t length; } file_map;
heed_status file_map_open(file_map *, const char *path, heed_error *);
void file_map_close(file_map *);

// A regular file's bytes and a zero after them, free() them; more than `most` bytes is an error.
heed_status file_read(char **bytes, size_t *length, const char *path, size_t most, heed_error *);

// CRC-32 of a file's bytes: chance damage shows, an adversary's does not.
heed_status file_checksum(const char *path, uint32_t *checksum, heed_error *);
uint32_t file_checksum_of(const void *bytes, size_t n);

// Buffered writing. Every write, the flush to the disk and the close are checked, so that a full disk is never unnoticed.
typedef struct file_writer file_writer;
heed_status file_create(file_writer **, const char *path, heed_error *);
heed_status file_write(file_writer *, const void *bytes, size_t n, heed_error *);    // after a failure only abandon or finish
heed_status file_finish(file_writer *, heed_error *);                                // flush, fsync, close; frees in any case
void file_abandon(file_writer *);                                                    // close, keep nothing; NULL is fine

// One call; not atomic: what it leaves after a failure is partial. For use inside a folder_begin.
heed_status file_put(const char *path, const void *bytes, size_t n, heed_error *);

// What is being written has this before its name until it is whole; folder_clean removes those of killed runs.
#define FILE_DRAFT ".heed-draft-"

// Atomic: a temporary name beside it, flushed, renamed over `path`.
heed_status file_replace(const char *path, const void *bytes, size_t n, heed_error *);

heed_status file_sync_parent(const char *path, heed_error *);    // the entry of `path` in its folder, to the disk

bool file_exists(const char *path);        // anything of that name
bool file_is_folder(const char *path);
char *file_join(const char *folder, const char *name);    // malloc'd "folder/name", NULL without memory
