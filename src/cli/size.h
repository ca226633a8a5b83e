// SPDX-License-Identifier: Apache-2.0
// Is a problem small enough to be computed here, before any memory is taken?
#pragma once

#include "base/error.h"

// Bytes of every array a run of the problem has; SIZE_MAX when that overflows. The problem is complete.
size_t size_arrays(const heed_problem *complete);

// HEED_REFUSED with a sentence when the arrays do not fit half of this machine's memory.
heed_status size_allow(const heed_problem *, heed_error *);

// The same for ref beside them, which is also slow: at most some minutes' work.
heed_status size_allow_reference(const heed_problem *, heed_error *);
