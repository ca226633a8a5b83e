// SPDX-License-Identifier: Apache-2.0
// The members of a zip archive, as far as .npz files use the format (APPNOTE 6.3: stored or deflated, zip64, data descriptors).
// An archive is hostile until zip_open has returned HEED_OK: all records agree, members lie inside of the file and overlap nothing.
#pragma once

#include "base/error.h"
#include "io/file.h"

enum { ZIP_MEMBERS_MOST = 4096 };

typedef struct {
    char *name;                     // ends in zero, holds none
    bool deflated;
    uint32_t checksum;              // CRC-32 of the bytes once unpacked
    uint64_t packed, size;          // bytes in the file, and unpacked
    uint64_t at;                    // of its local header
    const unsigned char *data;      // packed bytes, in the map
} zip_member;

typedef struct { const char *path; file_map map; zip_member *member; int64_t n; } zip_archive;    // in the file's order

heed_status zip_open(zip_archive *, const char *path, heed_error *);    // path must outlive it
void zip_close(zip_archive *);                                          // also after a failure

// The member's bytes, whole and right by their checksum: in the map where stored, else in *owned, which the caller frees.
heed_status zip_unpack(const zip_archive *, const zip_member *, const unsigned char **bytes, unsigned char **owned, heed_error *);
