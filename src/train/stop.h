// SPDX-License-Identifier: Apache-2.0
// SIGINT and SIGTERM as a request: the step is finished, a checkpoint is written, the run ends. A second signal half a
// second later or more ends the process at once, which a checkpoint survives (io/folder.h).
#pragma once

#include "base/error.h"

// From now on. Call it before the first parallel region: threads that exist already would still be interrupted.
heed_status stop_watch(heed_error *);
int stop_requested(void);    // the signal's number, or 0
