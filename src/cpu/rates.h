// SPDX-License-Identifier: Apache-2.0
// What cost() is computed from: committed rates, never a clock, so that a choice is the same everywhere and every time.
#pragma once

#include "core/impl.h"
#include "cpu/kernels.h"

typedef struct { double product, softmax, edit, pack, call, eager; } rates;    // ns, as rates.def says

rates rates_of(const cpu_kernels *);

// Scores of one sequence that its masks show, as far as the problem tells; all of them; those among them edited one by one.
double rates_visible(const heed_problem *);
double rates_all(const heed_problem *);
double rates_edit_ns(const heed_problem *, const rates *);    // a score

// Floats of q, k, v (and in backward out, dout and the gradients) of one sequence, which are packed or unpacked once.
double rates_floats(const heed_problem *);
