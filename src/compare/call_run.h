// SPDX-License-Identifier: Apache-2.0
// A call computed by an implementation of heed, under the call's claim or a foreign convention of it.
#pragma once

#include "compare/predict.h"

// out (batch, heads, queries, value_channels), lse (batch, heads, queries); gradients of a backward call beside them. Free
// with call_results_free, also after a failure.
typedef struct { ref_results of; void *memory; char implementation[64]; } call_results;

// choice: as heed_plan_create takes it; preset: NULL, or a convention that replaces the claim's own rules.
heed_status call_run(call_results *, const call *, const heed_choice *, const char *preset, heed_error *);
void call_results_free(call_results *);
observed call_results_observed(const call_results *);
