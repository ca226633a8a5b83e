// SPDX-License-Identifier: Apache-2.0
// huggingface_hub's layout, models-- being datasets-- for a data set: CACHE/models--ORG--NAME/refs/main holds a revision R; the
// files are in .../snapshots/R.
#include "io/cache_dir.h"

#include "base/text.h"
#include "io/file.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

// NAME or ORG/NAME of letters, digits and ._- where neither starts or ends with . or -, and there is no -- or .. in them:
// huggingface_hub's own rule, which also keeps a name inside the cache folder.
static bool is_repository_name(const char *name) {
    const size_t n = strlen(name);
    int slashes = 0;
    if (n == 0 || n > 96) return false;
    for (size_t i = 0; i < n; i++) {
        const char c = name[i];
        const bool at_edge = i == 0 || i + 1 == n || name[i - 1] == '/' || name[i + 1] == '/';
        if (c == '/') slashes++;
        else if (!isalnum((unsigned char)c) && strchr("._-", c) == NULL) return false;
        if (at_edge && (c == '.' || c == '-' || c == '/')) return false;
        if ((c == '.' || c == '-') && i > 0 && name[i - 1] == c) return false;
    }
    return slashes <= 1;
}

static const char *variable(const char *name) {
    const char *value = getenv(name);
    return value != NULL && *value != 0 ? value : NULL;
}

// A leading ~ is the home folder, as Python's expanduser has it.
static void append_home(text_string *s, const char *path) {
    const char *home = variable("HOME");
    const bool is_home = path[0] == '~' && (path[1] == 0 || path[1] == '/') && home != NULL;
    text_format(s, "%s%s", is_home ? home : "", is_home ? path + 1 : path);
}

static void append_cache(text_string *s) {
    const char *path;
    if ((path = variable("HF_HUB_CACHE")) != NULL || (path = variable("HUGGINGFACE_HUB_CACHE")) != NULL) append_home(s, path);
    else if ((path = variable("HF_HOME")) != NULL) {
        append_home(s, path);
        text_format(s, "/hub");
    } else {
        append_home(s, (path = variable("XDG_CACHE_HOME")) != NULL ? path : "~/.cache");
        text_format(s, "/huggingface/hub");
    }
}

// Appends what refs/main says to `folder`, then checks that the snapshot is there. A revision is a plain name.
static bool append_snapshot(text_string *folder) {
    text_string ref = {0};
    char *revision = NULL;
    size_t n = 0;
    text_format(&ref, "%s/refs/main", folder->text);
    bool found = !ref.failed && file_read(&revision, &n, ref.text, 256, NULL) == HEED_OK;
    free(ref.text);
    while (found && n > 0 && isspace((unsigned char)revision[n - 1])) revision[--n] = 0;
    for (size_t i = 0; i < n; i++) found = found && (isalnum((unsigned char)revision[i]) || strchr("_-", revision[i]) != NULL);
    if (found && n > 0) text_format(folder, "/snapshots/%s", revision);
    free(revision);
    return found && n > 0 && !folder->failed && file_is_folder(folder->text);
}

typedef struct { const char *noun, *prefix, *fetch; } repository_kind;

static heed_status find(char **folder, const char *name, const repository_kind *kind, heed_error *error) {
    *folder = NULL;
    if (file_is_folder(name)) {
        *folder = strdup(name);
        return *folder != NULL ? HEED_OK : error_set(error, HEED_NO_MEMORY, "no memory for the name of a folder");
    }
    if (file_exists(name)) return error_set(error, HEED_INVALID, "%s is a file; a folder with a %s is needed", file_shown(name),
                                               kind->noun);
    if (!is_repository_name(name))
        return error_set(error, HEED_INVALID, "there is no folder %s, and that is not a %s's name (NAME or ORGANISATION/NAME)",
                         file_shown(name), kind->noun);
    text_string path = {0};
    append_cache(&path);
    text_format(&path, "/%s--", kind->prefix);
    for (const char *c = name; *c != 0; c++) text_format(&path, *c == '/' ? "--" : "%c", *c);
    if (!path.failed && append_snapshot(&path)) {
        *folder = path.text;
        return HEED_OK;
    }
    const bool failed = path.failed;
    free(path.text);
    if (failed) return error_set(error, HEED_NO_MEMORY, "no memory for the name of a folder");
    return error_set(error, HEED_INVALID, "%s is neither a folder nor in the Hugging Face cache; to fetch it: hf download %s%s",
                     name, kind->fetch, name);
}

heed_status cache_dir_find(char **folder, const char *name, heed_error *error) {
    return find(folder, name, &(repository_kind){"model", "models", ""}, error);
}

heed_status cache_dir_find_dataset(char **folder, const char *name, heed_error *error) {
    return find(folder, name, &(repository_kind){"data set", "datasets", "--repo-type dataset "}, error);
}
