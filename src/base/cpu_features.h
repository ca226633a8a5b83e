// SPDX-License-Identifier: Apache-2.0
// What this CPU and its operating system can run.
#pragma once

#include <stdint.h>

enum {
    CPU_AVX2 = 1 << 0,
    CPU_FMA = 1 << 1,
    CPU_AVX512 = 1 << 2,    // F, BW, DQ, VL: what every AVX-512 server since 2017 has
    CPU_F16C = 1 << 3,      // conversions between f16 and f32: every processor with AVX2 has them
    CPU_BF16 = 1 << 4       // products of bf16 at twice the speed of f32 or more; every processor with AMX has them too
};

// A set of CPU_ bits: a feature counts only when the operating system saves its registers. Constant for a process.
uint32_t cpu_features(void);
