// SPDX-License-Identifier: Apache-2.0
#include "base/cpu_features.h"

#if defined(__x86_64__)

#include <cpuid.h>
#include <stdbool.h>

// clang 14's __builtin_cpu_supports does not know the name. With avx2 the system saves the registers it needs.
static bool has_f16c(void) {
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}

// The compiler's own runtime reads CPUID and XGETBV once, and knows that a feature without its saved registers is none.
uint32_t cpu_features(void) {
    __builtin_cpu_init();
    uint32_t found = 0;
    if (__builtin_cpu_supports("avx2")) found |= CPU_AVX2;
    if (__builtin_cpu_supports("fma")) found |= CPU_FMA;
    if (has_f16c() && __builtin_cpu_supports("avx2")) found |= CPU_F16C;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl")) found |= CPU_AVX512;
    if (found & CPU_AVX512 && __builtin_cpu_supports("avx512bf16")) found |= CPU_BF16;
    return found;
}

#else

uint32_t cpu_features(void) { return 0; }

#endif
