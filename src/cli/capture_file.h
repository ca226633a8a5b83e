// SPDX-License-Identifier: Apache-2.0
// Captures as files: .npz and .safetensors.
#pragma once

#include "compare/capture.h"
#include "io/npz.h"
#include "io/safetensors.h"

typedef struct { capture of; npz *zipped; safetensors *plain; char *problem; } capture_file;

bool capture_file_named(const char *path);    // does the name end in .npz or .safetensors?

// By the name's end, else by what it begins with. The path must outlive it. HEED_REFUSED: pickles and the like; else what is wrong
// is the file's or the system's.
heed_status capture_file_open(capture_file *, const char *path, heed_error *);
void capture_file_close(capture_file *);      // also after a failure

// Atomic; the name must end in .npz or .safetensors. results: NULL, or what to keep beside the inputs.
heed_status capture_file_write(const char *path, const call *, const call_results *, heed_error *);
