// SPDX-License-Identifier: Apache-2.0
// Forward attention of so few query rows that packing K and V would cost more than reading them: eager's other half.
#pragma once

#include "core/impl.h"

bool eager_rows_suit(const heed_problem *);    // by the shape alone
size_t eager_rows_bytes(const heed_problem *);    // a worker's memory
void eager_rows_run(const heed_plan *, const heed_args *);
