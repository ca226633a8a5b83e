// SPDX-License-Identifier: Apache-2.0
// Loaded before the C library (LD_PRELOAD) by tests/python/test_faults.py: calls that change files below $FAULT_UNDER are
// counted, and the $FAULT_AT-th (from 1) kills the process or fails.
//   FAULT_CALLS   names of the calls that count, with blanks between; unset: all of them
//   FAULT_HOW     kill: SIGKILL, half way through if it is a write. Else a number: the errno it fails with, once
//   FAULT_STAYS   not unset: every counted call after it fails too, as on a full disk
//   FAULT_SHRINK  a file that loses its second half just before it is first read
//   FAULT_COUNT   a file that gets the number of counted calls when the process ends by itself
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_long counted;

static void *next(const char *name) { return dlsym(RTLD_NEXT, name); }

static bool is_listed(const char *call) {
    const char *list = getenv("FAULT_CALLS");
    const size_t n = strlen(call);
    for (const char *at = list; at != NULL && (at = strstr(at, call)) != NULL; at += n)
        if ((at == list || at[-1] == ' ') && (at[n] == 0 || at[n] == ' ')) return true;
    return list == NULL;
}

// Counts a call on a path. True: it must fail, errno is set. A kill does not return, except in a write (*half), which goes on
// half way first.
static bool strikes(const char *call, const char *path, bool *half) {
    const char *under = getenv("FAULT_UNDER"), *at = getenv("FAULT_AT"), *how = getenv("FAULT_HOW");
    if (under == NULL || strncmp(path, under, strlen(under)) != 0 || !is_listed(call)) return false;
    const long number = atomic_fetch_add(&counted, 1) + 1, wanted = at == NULL ? 0 : atol(at);
    if (wanted == 0 || number < wanted || (number > wanted && getenv("FAULT_STAYS") == NULL)) return false;
    if (how != NULL && strcmp(how, "kill") == 0) {
        if (half == NULL) raise(SIGKILL);
        else *half = true;
        return false;
    }
    errno = how == NULL ? EIO : atoi(how);
    return true;
}

// The same for a descriptor. Where the path is relative the program was started below `under` by mistake: nothing counts.
static bool strikes_at(const char *call, int fd, bool *half) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0) return false;
    path[n] = 0;
    return strikes(call, path, half);
}

static void __attribute__((destructor)) tell(void) {
    const char *path = getenv("FAULT_COUNT");
    FILE *file = path == NULL ? NULL : fopen(path, "w");
    if (file == NULL) return;
    fprintf(file, "%ld\n", atomic_load(&counted));
    fclose(file);
}

ssize_t write(int fd, const void *bytes, size_t n) {
    bool half = false;
    ssize_t (*real)(int, const void *, size_t) = (ssize_t (*)(int, const void *, size_t))next("write");
    if (strikes_at("write", fd, &half)) return -1;
    if (!half) return real(fd, bytes, n);
    if (real(fd, bytes, n / 2) >= 0) raise(SIGKILL);
    return -1;
}

ssize_t read(int fd, void *bytes, size_t n) {
    static atomic_bool done;
    const char *path = getenv("FAULT_SHRINK");
    struct stat wanted, is;
    if (path != NULL && stat(path, &wanted) == 0 && fstat(fd, &is) == 0 && wanted.st_ino == is.st_ino &&
        !atomic_exchange(&done, true) && truncate(path, wanted.st_size / 2) != 0) abort();
    return ((ssize_t (*)(int, void *, size_t))next("read"))(fd, bytes, n);
}

int fsync(int fd) {
    if (strikes_at("fsync", fd, NULL)) return -1;
    return ((int (*)(int))next("fsync"))(fd);
}

int close(int fd) {
    const bool failed = strikes_at("close", fd, NULL);
    const int why = errno, result = ((int (*)(int))next("close"))(fd);    // a close that fails has closed
    if (failed) errno = why;
    return failed ? -1 : result;
}

int open(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    const mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
    va_end(more);
    if (flags & O_CREAT && strikes("open", path, NULL)) return -1;
    return ((int (*)(const char *, int, ...))next("open"))(path, flags, mode);
}

int rename(const char *from, const char *to) {
    if (strikes("rename", to, NULL)) return -1;
    return ((int (*)(const char *, const char *))next("rename"))(from, to);
}

int unlink(const char *path) {
    if (strikes("unlink", path, NULL)) return -1;
    return ((int (*)(const char *))next("unlink"))(path);
}

int rmdir(const char *path) {
    if (strikes("rmdir", path, NULL)) return -1;
    return ((int (*)(const char *))next("rmdir"))(path);
}

int mkdir(const char *path, mode_t mode) {
    if (strikes("mkdir", path, NULL)) return -1;
    return ((int (*)(const char *, mode_t))next("mkdir"))(path, mode);
}
