// SPDX-License-Identifier: Apache-2.0
// The checksums of a checkpoint, in its trainer_state.json: "files" has one for each other file, "checksum" is that of the state
// itself (printed without it). A weight with a flipped bit is still a weight, so nothing else would notice.
#include "train/checkpoint_seal.h"

#include "io/file.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char files_key[] = "files", state_key[] = "checksum";

static void print_checksum(uint32_t checksum, char text[12]) { snprintf(text, 12, "%08x", (unsigned)checksum); }

static heed_status add_file(json_t *files, const char *folder, const char *name, heed_error *error) {
    char *path = file_join(folder, name), text[12];
    uint32_t checksum = 0;
    heed_status status = path == NULL ? error_set(error, HEED_NO_MEMORY, "no memory for a path") : file_checksum(path, &checksum,
        error);
    free(path);
    if (status != HEED_OK) return status;
    print_checksum(checksum, text);
    if (json_object_set_new(files, name, json_string(text)) == 0) return HEED_OK;
    return error_set(error, HEED_NO_MEMORY, "no memory for the checksum of %s", name);
}

static heed_status state_checksum(const json_t *state, char text[12], heed_error *error) {
    json_t *bare = json_copy((json_t *)(uintptr_t)state);
    text_string printed = {0};
    heed_status status = bare == NULL ? error_set(error, HEED_NO_MEMORY, "no memory for a checksum") : HEED_OK;
    if (status == HEED_OK) {
        json_object_del(bare, state_key);
        status = json_file_print(bare, false, &printed, error);
    }
    if (status == HEED_OK) print_checksum(file_checksum_of(printed.text, printed.length), text);
    json_decref(bare);
    free(printed.text);
    return status;
}

heed_status seal_add(json_t *state, const char *folder, heed_error *error) {
    json_t *files = json_object();
    DIR *listing = files == NULL ? NULL : opendir(folder);
    heed_status status = HEED_OK;
    if (files == NULL) status = error_set(error, HEED_NO_MEMORY, "no memory for checksums");
    else if (listing == NULL) status = error_set(error, HEED_INVALID, "cannot open %s: %s", file_shown(folder), strerror(errno));
    for (const struct dirent *entry; status == HEED_OK && (entry = readdir(listing)) != NULL;)
        if (entry->d_name[0] != '.') status = add_file(files, folder, entry->d_name, error);
    if (listing != NULL) closedir(listing);
    if (status == HEED_OK && json_object_set(state, files_key, files) != 0)
        status = error_set(error, HEED_NO_MEMORY, "no memory for checksums");
    json_decref(files);
    char text[12];
    if (status == HEED_OK) status = state_checksum(state, text, error);
    if (status == HEED_OK && json_object_set_new(state, state_key, json_string(text)) != 0)
        status = error_set(error, HEED_NO_MEMORY, "no memory for checksums");
    return status;
}

heed_status seal_check_state(const json_t *state, const char *file, heed_error *error) {
    const char *written = json_string_value(json_object_get(state, state_key));
    char text[12];
    if (json_object_get(state, state_key) == NULL && json_object_get(state, files_key) == NULL) return HEED_OK;
    const heed_status status = state_checksum(state, text, error);
    if (status != HEED_OK || (written != NULL && strcmp(written, text) == 0)) return status;
    return error_set(error, HEED_INVALID, "%s is damaged or was edited: its checksum is %s, it says %.20s", file_shown(file), text,
                     written == NULL ? "none" : written);
}

static heed_status check_file(const char *folder, const char *name, const json_t *expected, heed_error *error) {
    const char *written = json_string_value(expected);
    char *path = file_join(folder, name), text[12];
    uint32_t checksum = 0;
    heed_status status = path == NULL ? error_set(error, HEED_NO_MEMORY, "no memory for a path") : file_checksum(path, &checksum,
        error);
    if (status == HEED_OK) {
        print_checksum(checksum, text);
        if (written == NULL || strcmp(written, text) != 0)
            status = error_set(error, HEED_INVALID, "%s is damaged or was edited since it was saved (its checksum is %s, "
                               "trainer_state.json says %.20s); resume from another checkpoint, or begin from it with --model",
                               file_shown(path), text, written == NULL ? "none" : written);
    }
    free(path);
    return status;
}

heed_status seal_check_files(const json_t *state, const char *folder, heed_error *error) {
    const char *name;
    json_t *expected;
    heed_status status = HEED_OK;
    json_object_foreach(json_object_get(state, files_key), name, expected) {
        if (strchr(name, '/') != NULL) continue;    // no name that we write
        status = check_file(folder, name, expected, error);
        if (status != HEED_OK) break;
    }
    return status;
}
