// SPDX-License-Identifier: Apache-2.0
// What this machine is, and what it can do at best: instruction sets and why some do not run, and the measured rates that
// `heed bench` and `heed doctor machine` hold times against.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cpu/kernels.h"

enum { MACHINE_TEXT = 96 };

// The CPU's model name as the system tells it, else "unknown".
void machine_cpu_name(char text[MACHINE_TEXT]);

// Row i of isa.def, false past the last. why: empty when it runs here, else what is missing, in words.
typedef struct { const char *name; const cpu_kernels *kernels; char why[MACHINE_TEXT]; } machine_isa;
bool machine_isa_row(int i, machine_isa *);

// Seconds by the calling thread's CPU time when it works alone, else by the wall.
double machine_seconds(int n_threads);

// Best of `repeats` short measurements on one thread. Zero when memory is missing.
double machine_product_rate(const cpu_kernels *, int64_t m, int64_t k, int64_t n, int repeats);    // flop/s, f32, cached tiles
double machine_exp_rate(const cpu_kernels *, int repeats);                                          // values/s, cached
double machine_read_rate(size_t bytes, int repeats);                                                // bytes/s, a plain sum
