// SPDX-License-Identifier: Apache-2.0
// The gradient of a bias, in a pass of its own, so that it costs nothing when it is not wanted and its sums over the axes that
// broadcast have one fixed order.
#pragma once

#include "core/impl.h"

size_t dbias_scratch_bytes(const heed_plan *);    // of a worker; 0 without a bias
void dbias_run(const heed_plan *, const heed_args *);
