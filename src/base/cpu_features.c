// SPDX-License-Identifier: Apache-2.0
#include "base/cpu_features.h"

#if defined(__x86_64__)

// The compiler's own runtime reads CPUID and XGETBV once, and knows that a feature without its saved registers is none.
uint32_t cpu_features(void) {
    __builtin_cpu_init();
    uint32_t found = 0;
    if (__builtin_cpu_supports("avx2")) found |= CPU_AVX2;
    if (__builtin_cpu_supports("fma")) found |= CPU_FMA;
    if (__builtin_cpu_supports("f16c")) found |= CPU_F16C;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl")) found |= CPU_AVX512;
    return found;
}

#else

uint32_t cpu_features(void) { return 0; }

#endif
