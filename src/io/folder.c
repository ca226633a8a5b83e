// SPDX-License-Identifier: Apache-2.0
// Names while a folder NAME is replaced, all in its parent:
//   .heed-draft-PID-NAME   being written; worthless after a kill
//   .heed-old-NAME         the previous NAME, for the moment between two renames; after a kill it is NAME if there is no NAME
#include "io/folder.h"

#include "io/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER_OLD ".heed-old-"

enum { FOLDER_DEPTH = 32 };    // nothing of ours is deeper; bounds the recursion

static heed_status fail(heed_error *error, const char *step, const char *path) {
    return error_set(error, HEED_INVALID, "cannot %s %s: %s", step, file_shown(path), strerror(errno));
}

static heed_status no_memory(heed_error *error, const char *path) {
    return error_set(error, HEED_NO_MEMORY, "no memory for the name of %s", file_shown(path));
}

heed_status folder_make(const char *path, heed_error *error) {
    char *part = strdup(path);
    if (part == NULL) return no_memory(error, path);
    heed_status status = HEED_OK;
    for (char *slash = part + 1; *part != 0 && status == HEED_OK; slash++) {
        slash = strchrnul(slash, '/');
        const char rest = *slash;
        *slash = 0;
        const int why = mkdir(part, 0777) == 0 ? 0 : errno;
        if (why != 0 && !file_is_folder(part)) {
            errno = why == EEXIST ? ENOTDIR : why;
            status = fail(error, "make the folder", part);
        }
        *slash = rest;
        if (rest == 0) break;
    }
    free(part);
    return status;
}

// ---- trees --------------------------------------------------------------------------------------------------------

// Calls visit(path) for every entry, depth first, folders after what is in them, then for `path` itself. Links are entries.
typedef heed_status visitor(const char *path, bool is_folder, heed_error *);

static heed_status walk(const char *path, int depth, visitor *visit, heed_error *error) {
    struct stat s;
    if (lstat(path, &s) != 0) return fail(error, "read", path);
    if (!S_ISDIR(s.st_mode)) return visit(path, false, error);
    if (depth == 0) return error_set(error, HEED_INVALID, "%s: folders deeper than %d are not allowed", file_shown(path),
                                     FOLDER_DEPTH);
    DIR *folder = opendir(path);
    if (folder == NULL) return fail(error, "open", path);
    heed_status status = HEED_OK;
    for (const struct dirent *entry; status == HEED_OK && (errno = 0, entry = readdir(folder)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        char *inner = file_join(path, entry->d_name);
        status = inner == NULL ? no_memory(error, path) : walk(inner, depth - 1, visit, error);
        free(inner);
    }
    if (status == HEED_OK && errno != 0) status = fail(error, "read", path);
    closedir(folder);
    return status == HEED_OK ? visit(path, true, error) : status;
}

static heed_status remove_entry(const char *path, bool is_folder, heed_error *error) {
    if ((is_folder ? rmdir(path) : unlink(path)) == 0) return HEED_OK;
    return fail(error, "remove", path);
}

static heed_status sync_entry(const char *path, bool is_folder, heed_error *error) {
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) return errno == ELOOP ? HEED_OK : fail(error, "open", path);    // a link has nothing to flush
    const bool flushed = fsync(fd) == 0 || errno == EINVAL;
    const heed_status status = flushed ? HEED_OK : fail(error, "flush", path);
    close(fd);
    return status;
}

heed_status folder_remove(const char *path, heed_error *error) {
    return file_exists(path) ? walk(path, FOLDER_DEPTH, remove_entry, error) : HEED_OK;
}

static heed_status copy_file(const char *from, const char *to, const char *name, heed_error *error) {
    char *source = file_join(from, name), *target = file_join(to, name);
    file_map map = {0};
    heed_status status = source == NULL || target == NULL ? no_memory(error, from) : file_map_open(&map, source, error);
    if (status == HEED_OK) status = file_put(target, map.bytes, map.length, error);
    file_map_close(&map);
    free(source);
    free(target);
    return status;
}

heed_status folder_copy_files(const char *from, const char *to, heed_error *error) {
    DIR *folder = opendir(from);
    if (folder == NULL) return fail(error, "open", from);
    heed_status status = HEED_OK;
    for (const struct dirent *entry; status == HEED_OK && (entry = readdir(folder)) != NULL;) {
        char *path = file_join(from, entry->d_name);
        if (path == NULL) status = no_memory(error, from);
        else if (!file_is_folder(path)) status = copy_file(from, to, entry->d_name, error);
        free(path);
    }
    closedir(folder);
    return status;
}

// Beside `path` (n bytes), under a name that folder_clean knows. malloc'd; NULL without memory.
static char *name_beside(const char *path, size_t n, const char *mark, long number) {
    size_t parent = n;
    while (parent > 0 && path[parent - 1] != '/') parent--;
    const size_t room = n + 48;
    char *name = malloc(room);
    if (name == NULL) return NULL;
    char digits[24] = "";
    if (number >= 0) snprintf(digits, sizeof digits, "%ld-", number);
    snprintf(name, room, "%.*s%s%s%.*s", (int)parent, path, mark, digits, (int)(n - parent), path + parent);
    return name;
}

heed_status folder_drop(const char *path, heed_error *error) {
    if (!file_exists(path)) return HEED_OK;
    char *aside = name_beside(path, strlen(path), FILE_DRAFT, (long)getpid());
    heed_status status = aside == NULL ? no_memory(error, path) : folder_remove(aside, error);
    if (status == HEED_OK && rename(path, aside) != 0) status = fail(error, "remove", path);
    if (status == HEED_OK) status = folder_remove(aside, error);
    free(aside);
    return status;
}

// ---- drafts -------------------------------------------------------------------------------------------------------

struct folder_draft { char *path, *draft, *old; };

static void forget(folder_draft *d) {
    free(d->path);
    free(d->draft);
    free(d->old);
    free(d);
}

heed_status folder_begin(folder_draft **begun, const char *path, heed_error *error) {
    *begun = NULL;
    folder_draft *d = calloc(1, sizeof *d);
    if (d == NULL) return no_memory(error, path);
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    d->path = strndup(path, n);
    d->draft = name_beside(path, n, FILE_DRAFT, (long)getpid());
    d->old = name_beside(path, n, FOLDER_OLD, -1);
    if (d->path == NULL || d->draft == NULL || d->old == NULL) {
        forget(d);
        return no_memory(error, path);
    }
    heed_status status = folder_remove(d->draft, error);    // of an earlier process with this number
    if (status == HEED_OK && mkdir(d->draft, 0777) != 0) status = fail(error, "make the folder", d->draft);
    if (status == HEED_OK) *begun = d;
    else forget(d);
    return status;
}

const char *folder_draft_path(const folder_draft *d) { return d->draft; }

void folder_abandon(folder_draft *d) {
    if (d == NULL) return;
    folder_remove(d->draft, NULL);
    forget(d);
}

// A folder that is not empty cannot be renamed over, so what is there steps aside first.
static heed_status replace(const folder_draft *d, heed_error *error) {
    if (!file_exists(d->path)) return rename(d->draft, d->path) == 0 ? HEED_OK : fail(error, "rename a draft to", d->path);
    heed_status status = folder_remove(d->old, error);
    if (status != HEED_OK) return status;
    if (rename(d->path, d->old) != 0) return fail(error, "replace", d->path);
    if (rename(d->draft, d->path) != 0) {
        status = fail(error, "rename a draft to", d->path);
        if (rename(d->old, d->path) != 0) return error_within(error, status, "the former %s is now %s", file_shown(d->path),
                                                              d->old);
        return status;
    }
    status = file_sync_parent(d->path, error);    // before the old one goes
    return status == HEED_OK ? folder_remove(d->old, error) : status;
}

heed_status folder_commit(folder_draft *d, heed_error *error) {
    heed_status status = walk(d->draft, FOLDER_DEPTH, sync_entry, error);
    if (status == HEED_OK) status = replace(d, error);
    if (status == HEED_OK) status = file_sync_parent(d->path, error);
    folder_abandon(d);    // renamed: there is no draft any more
    return status;
}

static heed_status clean_entry(const char *parent, const char *name, heed_error *error) {
    const bool is_draft = strncmp(name, FILE_DRAFT, strlen(FILE_DRAFT)) == 0;
    const bool is_old = strncmp(name, FOLDER_OLD, strlen(FOLDER_OLD)) == 0;
    if (!is_draft && !is_old) return HEED_OK;
    char *path = file_join(parent, name), *whole = file_join(parent, is_old ? name + strlen(FOLDER_OLD) : name);
    heed_status status = path == NULL || whole == NULL ? no_memory(error, parent) : HEED_OK;
    if (status == HEED_OK && is_old && !file_exists(whole)) {
        if (rename(path, whole) != 0) status = fail(error, "restore", whole);
    } else if (status == HEED_OK) status = folder_remove(path, error);
    free(path);
    free(whole);
    return status;
}

heed_status folder_clean(const char *parent, heed_error *error) {
    DIR *folder = opendir(parent);
    if (folder == NULL) return errno == ENOENT ? HEED_OK : fail(error, "open", parent);
    heed_status status = HEED_OK;
    for (const struct dirent *entry; status == HEED_OK && (entry = readdir(folder)) != NULL;)
        status = clean_entry(parent, entry->d_name, error);
    closedir(folder);
    return status;
}

// ---- lock ---------------------------------------------------------------------------------------------------------

struct folder_lock { int fd; };

// The file stays when the lock goes: removing it would let a third process lock a file that no longer has a name.
heed_status folder_lock_take(folder_lock **taken, const char *folder, heed_error *error) {
    *taken = NULL;
    char *path = file_join(folder, ".lock");
    folder_lock *lock = malloc(sizeof *lock);
    heed_status status = path == NULL || lock == NULL ? no_memory(error, folder) : HEED_OK;
    if (status == HEED_OK) {
        lock->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
        if (lock->fd < 0) status = fail(error, "open", path);
        else if (flock(lock->fd, LOCK_EX | LOCK_NB) != 0) {
            if (errno == EWOULDBLOCK)
                status = error_set(error, HEED_INVALID, "%s is in use by another run; wait for it, or choose another folder",
                                   file_shown(folder));
            else status = fail(error, "lock", path);
            close(lock->fd);
        }
    }
    free(path);
    if (status == HEED_OK) *taken = lock;
    else free(lock);
    return status;
}

void folder_lock_drop(folder_lock *lock) {
    if (lock == NULL) return;
    close(lock->fd);
    free(lock);
}
