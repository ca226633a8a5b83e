// SPDX-License-Identifier: Apache-2.0
// Folders that appear whole or not at all, and the lock that keeps a second run out. Failures are HEED_INVALID with a sentence.
#pragma once

#include "base/error.h"

// mkdir -p. No error when it exists and is a folder.
heed_status folder_make(const char *path, heed_error *);

// Removes a folder and all in it; links inside are removed, not followed. No error when there is none.
heed_status folder_remove(const char *path, heed_error *);

// Copies the files of one folder (not its folders) into another that exists.
heed_status folder_copy_files(const char *from, const char *to, heed_error *);

// The same for a folder that is whole as long as it has its name: it loses the name first, at once (to a draft's, beside it).
heed_status folder_drop(const char *path, heed_error *);

// Begin: makes an empty temporary folder beside `path` (its parent must exist) in which the caller writes. Commit: flushes every
// file and folder in it to the disk and renames it to `path`; a folder already there is replaced, and a kill at any moment leaves
// the old or the new one whole (folder_clean puts the old one back if needed). Commit frees `*`, also when it fails, and then
// nothing of it is left. Abandon: removes the temporary.
typedef struct folder_draft folder_draft;
heed_status folder_begin(folder_draft **, const char *path, heed_error *);
const char *folder_draft_path(const folder_draft *);
heed_status folder_commit(folder_draft *, heed_error *);
void folder_abandon(folder_draft *);    // NULL is fine

// Removes what killed runs left in `parent`: drafts, temporary files. Only while holding the lock of the run it belongs to.
heed_status folder_clean(const char *parent, heed_error *);

// An exclusive lock on a folder (flock on its file .lock), held until unlock or the end of the process, however it ends.
// When another process (or another lock in this one) holds it: an error that says so.
typedef struct folder_lock folder_lock;
heed_status folder_lock_take(folder_lock **, const char *folder, heed_error *);
void folder_lock_drop(folder_lock *);   // NULL is fine
