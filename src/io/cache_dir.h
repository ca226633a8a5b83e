// SPDX-License-Identifier: Apache-2.0
// Where a model's or data set's files are: a local folder, or the Hugging Face cache as huggingface_hub lays it out. No network.
#pragma once

#include "base/error.h"

// *folder (free it) is `name` itself when it is a folder, else the snapshot of that model that refs/main names in HF_HUB_CACHE,
// HUGGINGFACE_HUB_CACHE, HF_HOME/hub, XDG_CACHE_HOME/huggingface/hub or ~/.cache/huggingface/hub: the first that is set.
// Not there: HEED_INVALID, and the sentence ends in the `hf download` command that fetches it.
heed_status cache_dir_find(char **folder, const char *name, heed_error *);
// The same for a data set.
heed_status cache_dir_find_dataset(char **folder, const char *name, heed_error *);
