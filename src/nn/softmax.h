// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "nn/engine.h"

// p[j] = e^x[j] / sum of e^x, over one row; x of -inf gives 0. p may be x.
void softmax_forward(const engine *, int64_t n, const float *x, float *p);
