// SPDX-License-Identifier: Apache-2.0
// Drafts, kills in the middle of them, full disks, locks, and where a model's folder is found.
#include "io/cache_dir.h"

#include "io_place.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static heed_error e;

static void put_inside(const folder_draft *d, const char *name, const char *text) {
    char *path = file_join(folder_draft_path(d), name);
    CHECK(file_put(path, text, strlen(text), &e) == HEED_OK, "%s", e.text);
    free(path);
}

static bool holds(const char *name, const char *text) {
    char *bytes;
    size_t n;
    if (file_read(&bytes, &n, place_path(name), 1000, &e) != HEED_OK) return false;
    const bool equal = strcmp(bytes, text) == 0;
    free(bytes);
    return equal;
}

static void write_step(const char *name, const char *text) {
    folder_draft *d;
    CHECK(folder_begin(&d, place_path(name), &e) == HEED_OK, "%s", e.text);
    put_inside(d, "a", text);
    char *inner = file_join(folder_draft_path(d), "inner");
    CHECK(folder_make(inner, &e) == HEED_OK, "%s", e.text);
    free(inner);
    put_inside(d, "inner/b", text);
    CHECK(folder_commit(d, &e) == HEED_OK, "%s", e.text);
}

static void test_drafts(void) {
    folder_draft *d;
    CHECK(folder_begin(&d, place_path("step-1"), &e) == HEED_OK, "%s", e.text);
    put_inside(d, "a", "one");
    CHECK(!file_exists(place_path("step-1")), "nothing under the name before the commit");
    char *draft = strdup(folder_draft_path(d));
    folder_abandon(d);
    CHECK(!file_exists(draft) && !file_exists(place_path("step-1")), "abandoned without a trace");
    free(draft);
    write_step("step-1", "one");
    CHECK(holds("step-1/a", "one") && holds("step-1/inner/b", "one"), "committed");
    write_step("step-1/", "two");
    CHECK(holds("step-1/a", "two") && holds("step-1/inner/b", "two"), "replaced");
    CHECK(!file_exists(place_path(".heed-old-step-1")), "the former one is gone");
    CHECK(folder_begin(&d, place_path("no/such/parent"), &e) == HEED_INVALID && place_says(&e, "parent|No such file"), "%s",
          e.text);
    folder_abandon(NULL);
}

// A process is killed while it writes; what it leaves is cleaned up and hurts nobody.
static void test_killed(void) {
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        folder_draft *d;
        if (folder_begin(&d, place_path("step-1"), NULL) == HEED_OK) put_inside(d, "a", "half");
        file_put(place_path(FILE_DRAFT "1-run.json"), "half", 4, NULL);
        raise(SIGKILL);
    }
    int status;
    waitpid(child, &status, 0);
    char left[64];
    snprintf(left, sizeof left, FILE_DRAFT "%ld-step-1", (long)child);
    CHECK(WIFSIGNALED(status) && file_exists(place_path(left)), "the killed process left %s", left);
    CHECK(holds("step-1/a", "two"), "the whole one is untouched");
    // Killed between the two renames: the former folder waits under its other name.
    write_step("step-2", "old");
    CHECK(rename(place_path("step-2"), place_path(".heed-old-step-2")) == 0, "rename");
    CHECK(folder_make(place_path(".heed-old-step-1"), &e) == HEED_OK, "%s", e.text);
    CHECK(folder_clean(place, &e) == HEED_OK, "%s", e.text);
    CHECK(!file_exists(place_path(left)) && !file_exists(place_path(FILE_DRAFT "1-run.json")), "drafts are removed");
    CHECK(holds("step-2/a", "old"), "the former folder is back");
    CHECK(!file_exists(place_path(".heed-old-step-1")) && holds("step-1/a", "two"),
          "where there is a new one, the former is removed");
    CHECK(folder_clean(place_path("nowhere"), &e) == HEED_OK, "%s", e.text);
}

static void test_remove(void) {
    place_put_text("kept.txt", "kept");
    CHECK(folder_make(place_path("x/y/z"), &e) == HEED_OK && folder_make(place_path("x/y/z"), &e) == HEED_OK, "%s", e.text);
    CHECK(symlink(place_path("kept.txt"), place_path("x/y/link")) == 0 && symlink(place, place_path("x/loop")) == 0, "links");
    CHECK(folder_remove(place_path("x"), &e) == HEED_OK && !file_exists(place_path("x")), "%s", e.text);
    CHECK(holds("kept.txt", "kept"), "what a link points to stays");
    CHECK(folder_remove(place_path("x"), &e) == HEED_OK, "%s", e.text);
    CHECK(folder_make(place_path("kept.txt/y"), &e) == HEED_INVALID && place_says(&e, "kept.txt"), "%s", e.text);
    CHECK(folder_make(place_path("kept.txt"), &e) == HEED_INVALID && place_says(&e, "kept.txt|Not a directory"), "%s", e.text);
}

static void test_replace(void) {
    CHECK(file_replace(place_path("r.txt"), "one", 3, &e) == HEED_OK && file_replace(place_path("r.txt"), "two", 3, &e) == HEED_OK,
          "%s", e.text);
    CHECK(holds("r.txt", "two"), "replaced");
    CHECK(folder_make(place_path("taken"), &e) == HEED_OK && file_replace(place_path("taken"), "x", 1, &e) == HEED_INVALID,
          "a folder of that name");
    char draft[64];
    snprintf(draft, sizeof draft, FILE_DRAFT "%ld-taken", (long)getpid());
    CHECK(!file_exists(place_path(draft)), "a failure leaves nothing");
}

static void test_full_device(void) {
    if (!file_exists("/dev/full")) {
        SKIP("a full disk: there is no /dev/full");
        return;
    }
    file_writer *w;
    static char block[1 << 17];
    CHECK(file_put("/dev/full", "x", 1, &e) == HEED_INVALID && place_says(&e, "/dev/full|No space"), "%s", e.text);
    CHECK(file_create(&w, "/dev/full", &e) == HEED_OK, "%s", e.text);
    CHECK(file_write(w, block, sizeof block, &e) == HEED_INVALID && place_says(&e, "No space"), "%s", e.text);
    CHECK(file_write(w, "x", 1, &e) == HEED_INVALID && place_says(&e, "earlier"), "%s", e.text);
    CHECK(file_finish(w, &e) == HEED_INVALID, "a failed file is not finished well");
}

// A real file system of 64 KiB: the draft that does not fit fails and leaves the old folder and nothing else.
static void test_full_disk(void) {
    CHECK(folder_make(place_path("small"), &e) == HEED_OK, "%s", e.text);
    if (mount("none", place_path("small"), "tmpfs", 0, "size=64k") != 0) {
        SKIP("a full disk under a folder: no right to mount one");
        return;
    }
    write_step("small/run", "old");
    folder_draft *d;
    CHECK(folder_begin(&d, place_path("small/run"), &e) == HEED_OK, "%s", e.text);
    char *path = file_join(folder_draft_path(d), "big"), *draft = strdup(folder_draft_path(d)), block[4096] = {1};
    file_writer *w;
    heed_status status = file_create(&w, path, &e);
    for (int i = 0; i < 32 && status == HEED_OK; i++) status = file_write(w, block, sizeof block, &e);
    if (status == HEED_OK) status = file_finish(w, &e);
    else file_abandon(w);
    CHECK(status == HEED_INVALID && place_says(&e, "big|No space"), "%s", e.text);
    folder_abandon(d);
    CHECK(!file_exists(draft) && holds("small/run/a", "old"), "the old one is whole, the draft gone");
    CHECK(file_replace(place_path("small/run/a"), block, sizeof block, &e) == HEED_OK, "room is there again: %s", e.text);
    free(path);
    free(draft);
    CHECK(umount2(place_path("small"), MNT_DETACH) == 0, "umount");
}

static void test_lock(void) {
    folder_lock *lock, *second;
    CHECK(folder_make(place_path("run"), &e) == HEED_OK && folder_lock_take(&lock, place_path("run"), &e) == HEED_OK, "%s", e.text);
    CHECK(folder_lock_take(&second, place_path("run"), &e) == HEED_INVALID && place_says(&e, "run|in use"), "%s", e.text);
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) _exit(folder_lock_take(&second, place_path("run"), NULL) == HEED_OK ? 0 : 7);
    int status;
    waitpid(child, &status, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7, "another process must not get the lock");
    folder_lock_drop(lock);
    CHECK(folder_lock_take(&lock, place_path("run"), &e) == HEED_OK, "free again: %s", e.text);
    folder_lock_drop(lock);
    folder_lock_drop(NULL);
    CHECK(folder_lock_take(&lock, place_path("none"), &e) == HEED_INVALID && place_says(&e, "none"), "%s", e.text);
}

// ---- cache_dir ----------------------------------------------------------------------------------------------------

static void expect_found(const char *name, const char *path) {
    char *folder;
    CHECK(cache_dir_find(&folder, name, &e) == HEED_OK, "%s: %s", name, e.text);
    CHECK(folder != NULL && strcmp(folder, path) == 0, "%s: %s, not %s", name, folder, path);
    free(folder);
}

static void expect_missing(const char *name, const char *words) {
    char *folder;
    CHECK(cache_dir_find(&folder, name, &e) == HEED_INVALID && place_says(&e, words), "%s: %s", name, e.text);
}

static void put_model(const char *cache, const char *model, const char *revision) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s/refs", cache, model);
    CHECK(folder_make(place_path(path), &e) == HEED_OK, "%s", e.text);
    snprintf(path, sizeof path, "%s/%s/snapshots/%s", cache, model, revision);
    CHECK(folder_make(place_path(path), &e) == HEED_OK, "%s", e.text);
    snprintf(path, sizeof path, "%s/%s/refs/main", cache, model);
    place_put_text(path, revision);
}

static void test_cache(void) {
    static const char *const names[] = {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"};
    for (int i = 0; i < 4; i++) unsetenv(names[i]);
    setenv("HOME", place_path("home"), 1);
    put_model("home/.cache/huggingface/hub", "models--gpt2", "abc123");
    put_model("home/xdg/huggingface/hub", "models--gpt2", "f0");
    put_model("home/hf/hub", "models--gpt2", "f1");
    put_model("home/legacy", "models--gpt2", "f2");
    put_model("home/hub", "models--org--my.model", "f3");
    expect_found(place, place);
    expect_found("gpt2", place_path("home/.cache/huggingface/hub/models--gpt2/snapshots/abc123"));
    setenv("XDG_CACHE_HOME", place_path("home/xdg"), 1);
    expect_found("gpt2", place_path("home/xdg/huggingface/hub/models--gpt2/snapshots/f0"));
    setenv("HF_HOME", "~/hf", 1);
    expect_found("gpt2", place_path("home/hf/hub/models--gpt2/snapshots/f1"));
    setenv("HUGGINGFACE_HUB_CACHE", place_path("home/legacy"), 1);
    expect_found("gpt2", place_path("home/legacy/models--gpt2/snapshots/f2"));
    setenv("HF_HUB_CACHE", place_path("home/hub"), 1);
    expect_found("org/my.model", place_path("home/hub/models--org--my.model/snapshots/f3"));
    expect_missing("gpt2", "hf download gpt2");
    expect_missing("openai-community/gpt2", "hf download openai-community/gpt2");
    place_put_text("home/hub/models--org--my.model/refs/main", "../../../legacy");
    expect_missing("org/my.model", "hf download");
    place_put_text("home/hub/models--org--my.model/refs/main", "gone");
    expect_missing("org/my.model", "hf download");
    place_put_text("home/hub/models--org--my.model/refs/main", "");
    expect_missing("org/my.model", "hf download");
    static const char *const bad[] = {"", "a/b/c", "../x", "/none", "a b", "a--b", "-a", "a/", "a..b", "./none", "a;b"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) expect_missing(bad[i], "not a model's name");
    expect_missing(place_path("kept.txt"), "is a file");
}

// A folder that is dropped has lost its name before the first of its files, and what a killed drop leaves is cleaned.
static void test_drop(void) {
    CHECK(folder_drop(place_path("none"), &e) == HEED_OK, "%s", e.text);
    CHECK(folder_make(place_path("drop/in"), &e) == HEED_OK, "%s", e.text);
    place_put_text("drop/in/a", "a");
    CHECK(folder_drop(place_path("drop"), &e) == HEED_OK && !file_exists(place_path("drop")), "%s", e.text);
    CHECK(folder_drop(place_path("none/at/all"), &e) == HEED_OK, "%s", e.text);
}

int main(void) {
    place_begin();
    test_drafts();
    test_killed();
    test_remove();
    test_drop();
    test_replace();
    test_full_device();
    test_full_disk();
    test_lock();
    test_cache();
    return place_end();
}
