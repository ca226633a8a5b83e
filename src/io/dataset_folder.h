// SPDX-License-Identifier: Apache-2.0
// Which files of a folder are a split of a data set, by Hugging Face's naming. A file belongs to the split whose word stands in
// its name, else in the folders above it, between the ends or any of "-._ /" and digits:
//   train       train, training
//   validation  validation, valid, dev, val
//   test        test, testing, eval, evaluation
// Where no file says so, all are train. Files lie in the folder, in data/ and in folders named by a split; a configuration is a
// folder of its own.
#pragma once

#include "base/error.h"

typedef struct { char **path; int64_t count; } path_list;    // paths_free
void paths_free(path_list *);                                // a zeroed one is fine

// name: for sentences; config NULL: the folder itself.
typedef struct { const char *name, *folder, *config; } dataset_place;

// The files of `split`, sorted; count 0: the data set has none. HEED_INVALID: no data files at
// all, or several configurations of which none is named; HEED_REFUSED: the split is in a format that is not built.
heed_status dataset_folder_files(path_list *, const dataset_place *, const char *split, heed_error *);

// The splits there are, for a sentence: "train, validation".
void dataset_folder_splits(const dataset_place *, char *text, size_t bytes);

// The split a data set is evaluated on when nobody says which: "validation", else "test"; NULL: there is neither.
const char *dataset_folder_held_out(const dataset_place *);
